/**
 * One connection to one upstream server, for one isolation key.
 *
 * disconnected  no channel: at birth, after idleness, after the server went away while nobody used it
 * connecting    one dial is under way; every caller waits for it, each to its own deadline
 * connected     calls pass
 * needs_auth    the server answered 401 or 403 to the dial or to a call, or nobody has signed in for it; a 403 that
 *               wants more scopes for one call changes nothing for the others
 * failed        the last dial or channel broke; calls fail at once until the breaker lets a probe through
 * stopping      close() was called; terminal
 *
 * A call in disconnected, needs_auth or failed (when the breaker passes) starts a dial. A dial that ends after
 * close(), or after another one took its place, closes its own channel and changes nothing. A message or an end that
 * comes from a channel which is no longer the current one is ignored.
 *
 * A connection that is one client's alone does not dial again once a channel with the server's state behind it is gone:
 * every later call fails with `session_lost`, because going on would be going on with something else.
 */
import { Cancellation } from '../base/cancellation.ts';
import { messageOf } from '../base/errors.ts';
import { isInputMethod } from '../protocol/input-requests.ts';
import { isObject, type JsonObject, type JsonRpcMessage } from '../protocol/jsonrpc.ts';
import type { Implementation } from '../protocol/model.ts';
import { scopesWanted } from '../vendors/challenge.ts';
import type { Credential } from '../vendors/credential.ts';
import { afterFailure, type Breaker, CLOSED, tryPass } from './breaker.ts';
import { Calls, type UpstreamCall, type UpstreamReply } from './calls.ts';
import { asFault, sessionLost, stoppedWhileStarting, withDeadline } from './connection-faults.ts';
import { EarlyMessages } from './early-messages.ts';
import type { Channel, Peer } from './peer.ts';
import type { Slot, SlotHolder } from './slots.ts';
import type { Subscription } from './subscription.ts';
import { isAboutAccess, type TransportEvents, UpstreamFault } from './transport.ts';
import { Usage } from './usage.ts';

export type LinkState = 'disconnected' | 'connecting' | 'connected' | 'needs_auth' | 'failed' | 'stopping';

export type ConnectionOptions = {
  server: string;
  key: string;
  /** For whom it is, whatever they can be asked. */
  base: string;
  /** Whoever it was opened for. */
  owner: string;
  principal: string;
  /** It belongs to one legacy session of a client and ends with what the server keeps for that. */
  exclusive: boolean;
  self: Implementation;
  slot: Slot;
  /** Undefined: what every request proves itself with is in its configuration. */
  credential: Credential | undefined;
  /** `hangUp` ends the dial at once, whatever it waits for. */
  dial(events: TransportEvents, deadline: number, hangUp: Cancellation): Promise<Channel>;
  /** How long a dial may take when no caller sets an earlier deadline, ms. */
  dialTimeoutMs: number;
  onNotification(connection: Connection, method: string, params: JsonObject): void;
  onState(connection: Connection): void;
  /** The server may have said something unasked while nobody heard it. */
  onReopened(connection: Connection): void;
  /** The server answers as if it spoke another era. */
  onForeign(connection: Connection): void;
  /** What the server kept for an exclusive connection is lost. Called once. */
  onLost(connection: Connection): void;
};

const CALL_FAILURES_TO_OPEN = 5;

export class Connection implements SlotHolder {
  readonly server: string;
  readonly key: string;
  readonly base: string;
  readonly owner: string;
  readonly principal: string;
  /** Whoever it was for has gone: it is closed when its last call is over. */
  abandoned = false;
  private lost = false;
  private readonly options: ConnectionOptions;
  private readonly calls: Calls;
  private current: LinkState = 'disconnected';
  private channel: Channel | undefined;
  private dialling: Promise<Channel> | undefined;
  private dialNumber = 0;
  private hangUp: Cancellation | undefined;
  private breaker: Breaker = CLOSED;
  private ending: Promise<void> | undefined;
  private readonly usage: Usage;
  since = Date.now();
  lastError: string | undefined;

  constructor(options: ConnectionOptions) {
    this.options = options;
    this.server = options.server;
    this.key = options.key;
    this.base = options.base;
    this.owner = options.owner;
    this.principal = options.principal;
    this.usage = new Usage(() => options.slot.wake());
    this.calls = new Calls(options.self, (message, exchangeId) => this.receive(message, exchangeId));
  }

  get state(): LinkState {
    return this.current;
  }

  get peer(): Peer | undefined {
    return this.channel?.peer;
  }

  get inFlight(): number {
    return this.usage.inFlight;
  }

  get lastUsed(): number {
    return this.usage.lastAt;
  }

  get idleSince(): number | undefined {
    return this.unused && this.channel ? this.lastUsed : undefined;
  }

  /** Neither a call nor anybody who waits for news needs it. */
  get unused(): boolean {
    return this.usage.none;
  }

  /** The server keeps something on it that cannot be had again. */
  get holdsState(): boolean {
    return this.options.exclusive && this.channel?.peer.stateful === true;
  }

  get retryInMs(): number | undefined {
    const wait = this.breaker.openUntil - Date.now();
    return wait > 0 ? Math.ceil(wait) : undefined;
  }

  diagnostics(): { pid?: number; stderr?: string[] } {
    return this.channel?.transport.diagnostics() ?? {};
  }

  /** Runs one call. Rejects with an UpstreamFault; an error answer of the server is a reply. */
  async request(call: UpstreamCall): Promise<UpstreamReply> {
    this.usage.begin();
    let suspended = false;
    try {
      const renewal = this.authorize();
      if (renewal) await renewal;
      const channel = this.passingChannel() ?? (await this.connect(call.deadline));
      const version = this.options.credential?.version ?? 0;
      let reply: UpstreamReply;
      try {
        reply = await this.calls.run(channel, call);
        if (this.breaker !== CLOSED) this.breaker = CLOSED;
        if (reply.ok === false && reply.foreign) this.options.onForeign(this);
      } catch (error) {
        reply = await this.secondTry(channel, call, asFault(error), version);
      }
      if (reply.ok === 'suspended') {
        suspended = true;
        reply.call.whenSettled(() => this.usage.end());
      }
      return reply;
    } finally {
      if (!suspended) this.usage.end();
    }
  }

  /** Dials unless connected. Callers share one dial; each waits at most to its own deadline. */
  async ready(deadline: number): Promise<Peer> {
    this.usage.begin();
    try {
      await this.authorize();
      return (this.passingChannel() ?? (await this.connect(deadline))).peer;
    } finally {
      this.usage.end();
    }
  }

  /** Keeps the channel open although no call uses it; what is given back ends that. */
  hold(): () => void {
    return this.usage.hold();
  }

  /** Undefined unless a modern server is connected. */
  subscribe(
    notifications: JsonObject,
    onNotice: (method: string, params: JsonObject) => void,
  ): Subscription | undefined {
    const { channel } = this;
    if (channel?.peer.era !== 'modern') return undefined;
    return this.calls.subscribe(channel, notifications, onNotice);
  }

  /** Tells a legacy server that its client's roots are others now; it asks for them when it likes. */
  rootsChanged(): void {
    if (this.channel?.peer.era !== 'legacy') return;
    this.channel.transport
      .send({ jsonrpc: '2.0', method: 'notifications/roots/list_changed' })
      .catch(() => {});
  }

  /**
   * One request on the path that calls take, on the channel that is open now; undefined where none is. It counts as no
   * use, so it keeps no idle channel open.
   */
  async probe(call: UpstreamCall): Promise<UpstreamReply | undefined> {
    await this.authorize();
    return this.channel && this.calls.run(this.channel, call);
  }

  /** Gives up a channel that is open but does not do what it should. */
  async giveUp(fault: UpstreamFault): Promise<void> {
    this.recordFailure(fault, 1);
    await this.drop('failed', fault);
  }

  /** Closes the channel and stays usable: the next call dials again. */
  async evict(): Promise<void> {
    if (this.current === 'stopping') return this.ending;
    await this.drop('disconnected', undefined);
  }

  /** The same, and failures so far count no more. */
  startOver(): Promise<void> {
    this.breaker = CLOSED;
    this.lastError = undefined;
    return this.evict();
  }

  close(): Promise<void> {
    this.ending ??= this.shutdown();
    return this.ending;
  }

  private async shutdown(): Promise<void> {
    const dialling = this.dialling;
    await this.drop('stopping', undefined);
    await dialling?.catch(() => {});
  }

  private passingChannel(): Channel | undefined {
    if (!this.channel) return undefined;
    if (this.breaker.openUntil !== 0) this.passBreaker();
    return this.channel;
  }

  private passBreaker(): void {
    const { pass, next, retryAfterMs } = tryPass(this.breaker, Date.now());
    this.breaker = next;
    if (!pass) {
      throw new UpstreamFault('unreachable', this.lastError ?? `${this.server} is not answering`, {
        retryAfterMs,
      });
    }
  }

  /**
   * Has a token that can be used, where tokens are used. It is renewed here, before anything is dialled or sent.
   * Undefined: there is nothing to wait for.
   */
  private authorize(): Promise<void> | undefined {
    const { credential } = this.options;
    return !credential || credential.ready ? undefined : this.renew(credential);
  }

  private async renew(credential: Credential): Promise<void> {
    const token = await credential.prepare().catch(() => {
      const what = `the credential of ${this.server} cannot be read now`;
      throw new UpstreamFault('unreachable', what, { retryAfterMs: 1_000 });
    });
    if (token.ok) return;
    const { login, message, retryAfterMs } = token.error;
    const { page } = credential;
    const fault = new UpstreamFault(login ? 'needs_auth' : 'unreachable', message, { page, retryAfterMs });
    if (login) await this.drop('needs_auth', fault);
    else this.lastError = message;
    throw fault;
  }

  /**
   * Undefined: there is another token than that of this version, which was refused, so that the same may be tried again.
   */
  private async reauthorize(fault: UpstreamFault, version: number): Promise<UpstreamFault | undefined> {
    const { credential } = this.options;
    if (!credential || fault.kind !== 'needs_auth') return fault;
    const scopes = fault.status === 403 ? scopesWanted(fault.challenge) : undefined;
    if (scopes) {
      const wider = await credential.widen(scopes, version).catch(() => undefined);
      if (!wider) return fault;
      if (wider.ok) return undefined;
      const { login, message } = wider.error;
      return new UpstreamFault(login ? 'needs_scope' : 'forbidden', message, { page: credential.page });
    }
    if (fault.status !== 401) return fault;
    credential.refuse(version);
    const token = await credential.prepare().catch(() => undefined);
    if (token?.ok) return undefined;
    if (!token?.error.login) return fault;
    return new UpstreamFault('needs_auth', token.error.message, { page: credential.page });
  }

  private async connect(deadline: number): Promise<Channel> {
    if (this.current === 'stopping')
      throw new UpstreamFault('unreachable', `${this.server} is being stopped`);
    if (this.lost) throw sessionLost(this.server);
    if (!this.dialling) {
      this.passBreaker();
      this.dialling = this.dial();
      // Callers that gave up leave the dial to the others; its fault must not go unhandled.
      this.dialling.catch(() => {});
    }
    return withDeadline(this.dialling, deadline, this.server);
  }

  private async dial(): Promise<Channel> {
    this.dialNumber += 1;
    const mine = this.dialNumber;
    const deadline = Date.now() + this.options.dialTimeoutMs;
    const hangUp = new Cancellation();
    this.hangUp = hangUp;
    this.move('connecting');
    try {
      await this.options.slot.claim(this, deadline, hangUp);
      if (mine !== this.dialNumber) {
        this.options.slot.release(this);
        throw stoppedWhileStarting(this.server);
      }
      const { events, early } = this.eventsOf(mine);
      const version = this.options.credential?.version ?? 0;
      const channel = await this.options.dial(events, deadline, hangUp).catch(async (error) => {
        const fault = await this.reauthorize(asFault(error), version);
        if (fault) throw fault;
        return this.options.dial(events, deadline, hangUp);
      });
      if (mine !== this.dialNumber || this.current !== 'connecting') {
        await channel.transport.close();
        throw stoppedWhileStarting(this.server);
      }
      this.channel = channel;
      this.breaker = CLOSED;
      this.lastError = undefined;
      this.move('connected');
      early.deliver();
      return channel;
    } catch (error) {
      const fault = asFault(error);
      if (mine === this.dialNumber && this.current === 'connecting') {
        this.options.slot.release(this);
        this.recordFailure(fault, 1);
        this.move(isAboutAccess(fault) ? 'needs_auth' : 'failed');
      }
      throw fault;
    } finally {
      if (mine === this.dialNumber) this.dialling = undefined;
    }
  }

  private eventsOf(mine: number): { events: TransportEvents; early: EarlyMessages } {
    const early = new EarlyMessages((message) => {
      if (mine === this.dialNumber) this.receive(message);
    });
    const events: TransportEvents = {
      onMessage: (message) => early.take(message),
      onReopened: () => {
        if (mine === this.dialNumber) this.options.onReopened(this);
      },
      onClosed: (fault) => {
        if (mine !== this.dialNumber || this.current !== 'connected') return;
        const unused = this.inFlight === 0;
        void this.drop(unused ? 'disconnected' : 'failed', fault);
        if (!unused) this.recordFailure(fault, 1);
        else this.lastError = fault.message;
      },
    };
    return { events, early };
  }

  /**
   * Only for a session that the server no longer knows: it has not run the call, so a fresh session may, unless the old
   * one was more than a way to reach the server.
   */
  private async secondTry(
    channel: Channel,
    call: UpstreamCall,
    fault: UpstreamFault,
    version: number,
  ): Promise<UpstreamReply> {
    if (fault.kind !== 'session_lost') {
      const final = this.channel === channel ? await this.reauthorize(fault, version) : fault;
      if (!final) return this.tryWithNewToken(channel, call);
      this.judge(final, channel);
      throw final;
    }
    if (this.channel === channel) await this.drop('disconnected', undefined);
    if (this.lost) throw fault;
    return this.calls.run(await this.connect(call.deadline), call);
  }

  /** A refused token says that the call was not run, so another one may try. */
  private async tryWithNewToken(channel: Channel, call: UpstreamCall): Promise<UpstreamReply> {
    const version = this.options.credential?.version ?? 0;
    try {
      return await this.calls.run(channel, call);
    } catch (error) {
      const fault = asFault(error);
      const wants = `${this.server} wants more of every token, also of one that it was just given`;
      const final =
        fault.status === 403
          ? ((await this.reauthorize(fault, version)) ?? new UpstreamFault('forbidden', wants))
          : fault;
      this.judge(final, channel);
      throw final;
    }
  }

  /** What a failed call says about the connection, beside the call itself. */
  private judge(fault: UpstreamFault, channel: Channel): void {
    if (this.channel !== channel) return;
    const { status } = fault;
    if (fault.kind === 'http' && (status === 400 || status === 404 || status === 405)) {
      this.options.onForeign(this);
    }
    if (fault.kind === 'unreachable' || fault.kind === 'timeout') {
      this.recordFailure(fault, CALL_FAILURES_TO_OPEN);
      // A process that answers nobody is not asked again: the next probe starts a new one.
      const hung = this.breaker.openUntil !== 0 && channel.transport.kind === 'stdio';
      if (hung) void this.drop('failed', fault);
    } else if (fault.kind === 'needs_scope' || fault.kind === 'forbidden') {
      // The token is good for other calls.
      this.lastError = fault.message;
    } else if (fault.kind === 'needs_auth') {
      void this.drop('needs_auth', fault);
      this.recordFailure(fault, 1);
    }
  }

  private recordFailure(fault: UpstreamFault, threshold: number): void {
    this.lastError = fault.message;
    this.breaker = afterFailure(this.breaker, threshold, Date.now(), Math.random());
  }

  private async drop(next: LinkState, fault: UpstreamFault | undefined): Promise<void> {
    const { channel, hangUp } = this;
    const lost = this.holdsState && next !== 'stopping';
    this.channel = undefined;
    this.dialNumber += 1;
    this.dialling = undefined;
    this.hangUp = undefined;
    if (fault) this.lastError = fault.message;
    this.move(next);
    if (lost && !this.lost) {
      this.lost = true;
      this.options.onLost(this);
    }
    hangUp?.cancel(`${this.server} was stopped while it was starting`);
    await channel?.transport.close();
    // Room is made only once the process or the sockets are gone. A new dial of ours may have claimed it again.
    if (!this.dialling && !this.channel) this.options.slot.release(this);
  }

  private move(next: LinkState): void {
    if (this.current === next || this.current === 'stopping') return;
    this.current = next;
    this.since = Date.now();
    this.options.onState(this);
  }

  private receive(message: JsonRpcMessage, exchangeId?: number): void {
    if (!('method' in message)) return;
    if ('id' in message) {
      if (isInputMethod(message.method) && this.calls.attribute(message, exchangeId, this.channel)) return;
      const reply = this.calls.answerTo(message);
      void this.channel?.transport.send(reply).catch((error: unknown) => {
        this.lastError = messageOf(error);
      });
      return;
    }
    const params = isObject(message.params) ? message.params : {};
    if (this.calls.progress(message.method, params)) return;
    if (this.calls.notice(message, params)) return;
    if (message.method === 'notifications/message' && this.calls.log(params, exchangeId)) return;
    this.options.onNotification(this, message.method, params);
  }
}
