import { Cancellation } from '../base/cancellation.ts';
import type { Implementation } from '../protocol/model.ts';
import type { ServerSpec } from '../resources/spec.ts';
import { type Dialler, dial, probeEra } from './dial.ts';
import { EraCheck } from './era-check.ts';
import { type Channel, VERDICT_MAX_AGE_MS, type Verdict } from './peer.ts';
import { isAboutAccess, type Transport, type TransportEvents, UpstreamFault } from './transport.ts';

export type ChannelTransports = Pick<Dialler, 'stdio' | 'http' | 'sse'>;

export const DIAL_TIMEOUT_MS = 60_000;

/** Opens the channels to one server, and remembers what they showed of it. */
export class Channels {
  private readonly spec: ServerSpec;
  private readonly self: Implementation;
  private readonly hide: Dialler['hide'];
  /** Those that the last channel was opened with. */
  private transports: ChannelTransports | undefined;
  private readonly eraCheck = new EraCheck();
  private known: Verdict | undefined;
  /** Of the last dial, so that a process that did not live long enough to serve can still say why. */
  private lastDialled: Transport | undefined;

  constructor({ spec, self, hide }: Pick<Dialler, 'spec' | 'self' | 'hide'>) {
    this.spec = spec;
    this.self = self;
    this.hide = hide;
  }

  /** How the server was last seen to speak; undefined before the first dial and after one that failed. */
  get verdict(): Verdict | undefined {
    return this.known;
  }

  /** The last lines of the process that was started last. */
  get stderr(): string[] {
    return this.lastDialled?.diagnostics().stderr ?? [];
  }

  /** Rejects with an UpstreamFault. `capabilities` are those that a legacy server is told. */
  async open(
    transports: ChannelTransports,
    capabilities: Dialler['capabilities'],
    events: TransportEvents,
    deadline: number,
    hangUp: Cancellation,
  ): Promise<Channel> {
    const { known } = this;
    const hint = known && Date.now() - known.probedAt < VERDICT_MAX_AGE_MS ? known : undefined;
    const { stdio, ...others } = transports;
    const dialler: Dialler = {
      ...others,
      self: this.self,
      capabilities,
      spec: this.spec,
      hide: this.hide,
      hangUp,
      stdio: (opened) => {
        this.lastDialled = stdio(opened);
        return this.lastDialled;
      },
    };
    let channel: Channel;
    try {
      channel = await dial(dialler, hint, events, deadline);
    } catch (error) {
      // Whatever was known of the server may no longer be true, unless it only does not know this user.
      if (!(error instanceof UpstreamFault && isAboutAccess(error))) this.known = undefined;
      throw error;
    }
    const { era, revision } = channel.peer;
    const { kind } = channel.transport;
    const probedAt = hint?.era === era && hint.transport === kind ? hint.probedAt : Date.now();
    this.known = { era, revision, transport: kind, probedAt };
    this.transports = transports;
    return channel;
  }

  /** What is known is old enough to be asked again. */
  isEraCheckDue(now: number): boolean {
    return this.eraCheck.isDue(this.known, now);
  }

  /** Somebody doubts what is known, and it was not asked for just now. */
  mayCheckEra(now: number): boolean {
    return this.eraCheck.mayRun(now);
  }

  /**
   * Asks an HTTP server which era it speaks; a process speaks the same for as long as it lives. True: another one than
   * it did, and nothing is known of it any more.
   */
  async hasAnotherEra(now: number): Promise<boolean> {
    if (this.spec.target.type === 'stdio' || this.spec.protocol !== 'auto') return false;
    const { http } = this.transports ?? {};
    if (!http) return false;
    const dialler = { http, self: this.self, hide: this.hide, hangUp: new Cancellation() };
    const era = await this.eraCheck.run(now, () => probeEra(dialler, DIAL_TIMEOUT_MS));
    if (!this.known || era === undefined) return false;
    const same = era === this.known.era;
    this.known = same ? { ...this.known, probedAt: now } : undefined;
    return !same;
  }
}
