import type { JsonObject } from '../protocol/jsonrpc.ts';
import type { Implementation } from '../protocol/model.ts';
import { MODERN_REVISION } from '../protocol/revisions.ts';
import type { ServerEntry, ServerSpec } from '../resources/spec.ts';
import { Catalogue } from './catalogue.ts';
import type { Listing, UpstreamTool } from './listing.ts';
import type { Peer } from './peer.ts';
import type { UpstreamServer } from './server.ts';
import type { ServerHealth, UpstreamStatus } from './server-status.ts';
import { UpstreamFault } from './transport.ts';

/** What a built-in toolset shows of itself. */
export type BuiltinOffer = {
  instructions: string;
  tools: readonly UpstreamTool[];
  templates: readonly JsonObject[];
};

/** One configured server, wherever it is. */
export type ConfiguredServer = Pick<UpstreamServer, Exclude<keyof UpstreamServer, 'credentialChanged'>>;

const ONE_HOUR_MS = 3_600_000;
const LOADING_MS = 10_000;

/**
 * A server that is a toolset of this process: no process of its own, no connection, and a list that never changes. Its
 * calls are answered before anything would be sent.
 */
export class BuiltinServer implements ConfiguredServer {
  readonly name: string;
  readonly spec: ServerSpec;
  readonly fingerprint: string;
  readonly isStdio = false;
  readonly isolation = 'shared';
  readonly era = 'modern';
  readonly #offer: BuiltinOffer;
  readonly #self: Implementation;
  readonly #catalogue: Catalogue;

  constructor(
    entry: ServerEntry & { spec: ServerSpec },
    offer: BuiltinOffer,
    self: Implementation,
    onChange: () => void,
  ) {
    this.name = entry.name;
    this.spec = entry.spec;
    this.fingerprint = entry.fingerprint;
    this.#offer = offer;
    this.#self = self;
    this.#catalogue = new Catalogue({ load: () => Promise.resolve(this.#listing()), onChange });
    void this.connect();
  }

  get legDeadline(): number {
    return Date.now() + this.spec.lifecycle.callTimeoutMs;
  }

  call(): never {
    throw new UpstreamFault('protocol', `${this.name} is built in: nothing can be sent to it`);
  }

  catalogue(): Catalogue {
    return this.#catalogue;
  }

  listings(): Listing[] {
    return [this.#listing()];
  }

  async connect(): Promise<void> {
    await this.#catalogue.settled(Date.now() + LOADING_MS, true);
  }

  status(): UpstreamStatus {
    const { length: tools } = this.#offer.tools;
    const nothing = { connections: 0, inFlight: 0 };
    return { name: this.name, transport: 'builtin', state: 'connected', tools, ...nothing };
  }

  healthFor(): ServerHealth {
    return { listed: true, needsLogin: false, fault: undefined };
  }

  details(): ReturnType<UpstreamServer['details']> {
    return { connections: [], stderr: [] };
  }

  async close(): Promise<void> {
    this.#catalogue.close();
  }

  // What belongs to connections and sessions, of which there are none.
  watch(): undefined {}
  watchTasks(): undefined {}
  followTask(): void {}
  unfollowTask(): void {}
  async endSession(): Promise<void> {}
  abandonSession(): void {}
  loseSessions(): void {}
  rootsChanged(): void {}
  sweep(): void {}

  #listing(): Listing {
    const { tools, templates } = this.#offer;
    return {
      tools,
      templates,
      resources: [],
      prompts: [],
      dropped: [],
      peer: this.#peer(),
      ttlMs: ONE_HOUR_MS,
      signature: JSON.stringify([tools, templates]),
    };
  }

  #peer(): Peer {
    const { instructions, templates } = this.#offer;
    return {
      era: 'modern',
      revision: MODERN_REVISION,
      capabilities: { tools: {}, ...(templates.length > 0 && { resources: { subscribe: true } }) },
      serverInfo: { ...this.#self },
      instructions,
      stateful: false,
    };
  }
}
