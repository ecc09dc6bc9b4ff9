import { messageOf } from '../base/errors.ts';
import { NOTHING_RELAYED } from '../protocol/input-requests.ts';
import type { Implementation } from '../protocol/model.ts';
import type { ServerEntry, Snapshot } from '../resources/spec.ts';
import type { Credential } from '../vendors/credential.ts';
import type { CredentialTarget } from '../vendors/credentials.ts';
import { type BuiltinOffer, BuiltinServer, type ConfiguredServer } from './builtin-server.ts';
import type { ChannelTransports } from './channels.ts';
import type { Circle } from './circle.ts';
import type { SessionTransport } from './dial.ts';
import type { BeginHealthCall } from './health-check.ts';
import { UpstreamServer, type UpstreamServerOptions } from './server.ts';
import { ServerCredentials } from './server-credentials.ts';
import type { UpstreamStatus } from './server-status.ts';
import { Slots } from './slots.ts';
import type { Transport, TransportEvents } from './transport.ts';

/** How to open a channel to a server of each kind; the composition root knows the transports. */
export type TransportFactory = {
  stdio(entry: ServerEntry, events: TransportEvents): Transport;
  http(entry: ServerEntry, events: TransportEvents, credential: Credential | undefined): SessionTransport;
  sse(entry: ServerEntry, events: TransportEvents, credential: Credential | undefined): Transport;
};

export type UpstreamsOptions = {
  self: Implementation;
  transports: TransportFactory;
  /** What the built-in toolset of this name offers; undefined where this process has none. */
  toolset(name: string): BuiltinOffer | undefined;
  /** What to prove ourselves with to a server that takes tokens of its authorization server. */
  credential: ((target: CredentialTarget) => Credential) | undefined;
  maxHttpServers: number;
  maxStdioServers: number;
  onCatalogueChange(server: string): void;
  onSessionNotice: UpstreamServerOptions['onSessionNotice'];
  holdSession: UpstreamServerOptions['holdSession'];
  onSessionLost: UpstreamServerOptions['onSessionLost'];
  /** See BeginHealthCall. */
  beginHealthCall(server: string, tool: string): ReturnType<BeginHealthCall>;
  onFault(server: string, message: string): void;
};

const SWEEP_MS = 2_000;
const EAGER_TIMEOUT_MS = 60_000;

/** Every configured server, reconciled with the configuration whenever that changes. */
export class Upstreams implements AsyncDisposable {
  private readonly options: UpstreamsOptions;
  private readonly servers = new Map<string, ConfiguredServer>();
  private readonly broken = new Map<string, string>();
  private readonly leaving = new Set<Promise<void>>();
  private readonly httpSlots: Slots;
  private readonly stdioSlots: Slots;
  private readonly sweeper: NodeJS.Timeout;

  constructor(options: UpstreamsOptions) {
    this.options = options;
    this.httpSlots = new Slots(options.maxHttpServers);
    this.stdioSlots = new Slots(options.maxStdioServers);
    this.sweeper = setInterval(() => this.sweep(Date.now()), SWEEP_MS);
    this.sweeper.unref();
  }

  get(name: string): ConfiguredServer | undefined {
    return this.servers.get(name);
  }

  /** Why a configured server cannot run at all. */
  configurationError(name: string): string | undefined {
    return this.broken.get(name);
  }

  /** Brings the running servers in line: new ones are added, changed ones replaced, absent ones stopped. */
  reconcile(snapshot: Snapshot): void {
    this.broken.clear();
    for (const [name, server] of this.servers) {
      const entry = snapshot.servers.get(name);
      if (entry?.spec && entry.fingerprint === server.fingerprint) continue;
      this.servers.delete(name);
      server.loseSessions();
      const leaving = server.close().finally(() => this.leaving.delete(leaving));
      this.leaving.add(leaving);
    }
    for (const entry of snapshot.servers.values()) {
      if (!entry.spec) {
        this.broken.set(entry.name, entry.error ?? 'its configuration is invalid');
      } else if (!this.servers.has(entry.name)) {
        this.add({ ...entry, spec: entry.spec });
      }
    }
  }

  /** Somebody signed in to this server, or out, for a user or for everybody: the next call dials. */
  credentialChanged(name: string, owner: string): void {
    const server = this.servers.get(name);
    if (server instanceof UpstreamServer) server.credentialChanged(owner);
  }

  /** What these users signed in with counts no more. */
  usersGone(users: readonly string[]): void {
    for (const server of this.servers.values())
      if (server instanceof UpstreamServer && server.spec.auth?.perUser)
        for (const user of users) server.credentialChanged(user);
  }

  /** One line a server, from memory alone: it answers at once whatever is dialling. */
  status(): UpstreamStatus[] {
    const live = [...this.servers.values()].map((server) => server.status());
    const broken = [...this.broken].map(([name, reason]) => ({
      name,
      transport: undefined,
      state: 'failed' as const,
      connections: 0,
      inFlight: 0,
      lastError: reason,
    }));
    return [...live, ...broken].sort((a, b) => (a.name < b.name ? -1 : 1));
  }

  async endSession(session: string): Promise<void> {
    await Promise.all([...this.servers.values()].map((server) => server.endSession(session)));
  }

  rootsChanged(session: string): void {
    for (const server of this.servers.values()) server.rootsChanged(session);
  }

  /** A downstream session is over for what one server lost: what it has on others is closed when it is not in use. */
  abandonSession(session: string): void {
    for (const server of this.servers.values()) server.abandonSession(session);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    clearInterval(this.sweeper);
    await Promise.all([...[...this.servers.values()].map((server) => server.close()), ...this.leaving]);
  }

  private add(entry: ServerEntry & { spec: NonNullable<ServerEntry['spec']> }): void {
    if (entry.spec.target.type === 'builtin') {
      this.addBuiltin(entry, entry.spec.target.toolset);
      return;
    }
    const { target, auth } = entry.spec;
    const { credential: make, transports: factory } = this.options;
    let credentials: ServerCredentials | undefined;
    if (auth && target.type === 'http') {
      if (!make) {
        this.broken.set(entry.name, 'its sign-in is kept by castellan serve, and not at hand here');
        return;
      }
      const { name, uid } = entry;
      credentials = new ServerCredentials(auth.perUser, (owner) =>
        make({ name, uid, owner, url: target.url, auth }),
      );
    }
    const transports = (credential: Credential | undefined): ChannelTransports => ({
      stdio: (events) => factory.stdio(entry, events),
      http: (events) => factory.http(entry, events, credential),
      sse: (events) => factory.sse(entry, events, credential),
    });
    const stdio = entry.spec.target.type === 'stdio';
    const server = new UpstreamServer({
      entry,
      self: this.options.self,
      slots: stdio ? this.stdioSlots : this.httpSlots,
      transports,
      credentials,
      onCatalogueChange: (changed) => this.options.onCatalogueChange(changed.name),
      onSessionNotice: this.options.onSessionNotice,
      holdSession: this.options.holdSession,
      onSessionLost: this.options.onSessionLost,
      beginHealthCall: (tool) => this.options.beginHealthCall(entry.name, tool),
    });
    this.servers.set(entry.name, server);
    // Nobody's user yet: a shared server can be started ahead, one that belongs to a user waits for them.
    if (entry.spec.lifecycle.connect === 'eager' && server.isolation !== 'user' && !auth?.perUser) {
      const nobody: Circle = { owner: '', principal: '', session: '', relayed: NOTHING_RELAYED };
      server.connect(nobody, EAGER_TIMEOUT_MS).catch((error: unknown) => {
        this.options.onFault(entry.name, messageOf(error));
      });
    }
  }

  private addBuiltin(entry: ServerEntry & { spec: NonNullable<ServerEntry['spec']> }, toolset: string): void {
    const offer = this.options.toolset(toolset);
    if (!offer) {
      this.broken.set(
        entry.name,
        `its toolset ${toolset} is built into castellan serve, and not at hand here`,
      );
      return;
    }
    const onChange = () => this.options.onCatalogueChange(entry.name);
    this.servers.set(entry.name, new BuiltinServer(entry, offer, this.options.self, onChange));
  }

  private sweep(now: number): void {
    for (const server of this.servers.values()) server.sweep(now);
  }
}
