import type { Cancellation } from '../base/cancellation.ts';
import { messageOf } from '../base/errors.ts';
import type { Relayed } from '../protocol/input-requests.ts';
import type { JsonObject } from '../protocol/jsonrpc.ts';
import type { Implementation } from '../protocol/model.ts';
import type { Era } from '../protocol/revisions.ts';
import type { Isolation, ServerEntry, ServerSpec } from '../resources/spec.ts';
import type { Credential } from '../vendors/credential.ts';
import type { UpstreamReply, WantedLogs } from './calls.ts';
import { Catalogue } from './catalogue.ts';
import { Channels, type ChannelTransports, DIAL_TIMEOUT_MS } from './channels.ts';
import { type Circle, isSession } from './circle.ts';
import { Connection } from './connection.ts';
import { Connections } from './connections.ts';
import { type BeginHealthCall, HealthCheck } from './health-check.ts';
import { type Listing, readListing } from './listing.ts';
import type { Channel } from './peer.ts';
import { givenTo, secretHider } from './secret-hider.ts';
import type { ServerCredentials } from './server-credentials.ts';
import {
  type ConnectionStatus,
  connectionStatus,
  overallState,
  type ServerHealth,
  type UpstreamStatus,
} from './server-status.ts';
import { SharedSlot, type Slot, type Slots } from './slots.ts';
import { TaskFollowers } from './task-followers.ts';
import { type TaskListener, TaskSubscription } from './task-subscription.ts';
import { type TransportEvents, UpstreamFault } from './transport.ts';
import { ConnectionWatch, type Watcher, type WatchLease } from './watch.ts';

export type ServerCall = {
  method: string;
  params: JsonObject;
  paramHeaders?: Record<string, string>;
  logs?: WantedLogs;
  onProgress?: (params: JsonObject) => void;
  cancellation?: Cancellation;
  /** How long to wait for the answer when not as long as for a call, ms. */
  patienceMs?: number;
};

export type UpstreamServerOptions = {
  entry: ServerEntry & { spec: ServerSpec };
  self: Implementation;
  slots: Slots;
  /** Those that prove themselves with this. */
  transports(credential: Credential | undefined): ChannelTransports;
  /** Undefined: what every request proves itself with is in its configuration. */
  credentials?: ServerCredentials | undefined;
  onCatalogueChange(server: UpstreamServer): void;
  /** The server said something on the connection of this conversation alone, during none or several of its calls. */
  onSessionNotice(session: string, method: string, params: JsonObject): void;
  /** The server is about to keep state for a legacy session. False: another process has some already. */
  holdSession(session: string): Promise<boolean>;
  /** What the server kept for a legacy session is gone: the session cannot go on. */
  onSessionLost(session: string): void;
  beginHealthCall: BeginHealthCall;
};

/** What a server says to one conversation and not during a call. */
const SESSION_NOTICES = new Set(['notifications/message', 'notifications/elicitation/complete']);
const LIST_MAX_BYTES = 32 * 1024 * 1024;
const STDERR_KEPT = 50;
/** Key of what serves everybody alike. */
const EVERYBODY = '*';

/** One configured server: its connections, what is known of its era, and what it offers. */
export class UpstreamServer {
  readonly name: string;
  readonly spec: ServerSpec;
  readonly fingerprint: string;
  private readonly options: UpstreamServerOptions;
  private readonly slot: Slot;
  private readonly channels: Channels;
  private readonly connections: Connections;
  private readonly catalogues = new Map<string, Catalogue>();
  private readonly watches = new Map<Connection, ConnectionWatch>();
  private readonly health: HealthCheck | undefined;
  private readonly taskFollowers = new TaskFollowers();
  private lastError: string | undefined;
  private closing: Promise<void> | undefined;

  constructor(options: UpstreamServerOptions) {
    this.options = options;
    this.name = options.entry.name;
    this.spec = options.entry.spec;
    this.fingerprint = options.entry.fingerprint;
    this.slot = this.isStdio ? options.slots : new SharedSlot(options.slots);
    this.channels = new Channels({
      spec: this.spec,
      self: options.self,
      hide: secretHider(givenTo(options.entry), options.entry.confidential),
    });
    const { healthCheck, lifecycle } = this.spec;
    this.connections = new Connections({
      server: this.name,
      idleTimeoutMs: lifecycle.idleTimeoutMs,
      make: (key, base, circle) => this.newConnection(key, base, circle),
      onLeft: (connection) => this.unwatch(connection),
      onSessionLost: options.onSessionLost,
    });
    this.health = healthCheck && new HealthCheck(healthCheck, options.beginHealthCall);
  }

  get isStdio(): boolean {
    return this.spec.target.type === 'stdio';
  }

  get isolation(): Isolation {
    const shared = this.perUser ? 'user' : 'shared';
    const { isolation } = this.spec;
    if (isolation) return isolation === 'shared' ? shared : isolation;
    if (this.isStdio) return 'user';
    return this.era === 'modern' ? shared : 'session';
  }

  /** Each user proves themselves, so nothing that one sees is another's to see. */
  private get perUser(): boolean {
    return this.options.credentials?.perUser === true;
  }

  /** The era that it was last seen to speak. */
  get era(): Era | undefined {
    return this.channels.verdict?.era;
  }

  /** Sends one request on the connection that belongs to this circle. Throws or rejects with an UpstreamFault. */
  call(circle: Circle, call: ServerCall): Promise<UpstreamReply> {
    const { callTimeoutMs, maxResultBytes } = this.spec.lifecycle;
    return this.connectionFor(circle).request({
      ...call,
      relayed: circle.relayed,
      deadline: Date.now() + (call.patienceMs ?? callTimeoutMs),
      maxBytes: maxResultBytes,
    });
  }

  /** Has the server tell of a resource on this circle's connection. Undefined: it watches as much as it may. */
  watch(circle: Circle, uri: string, watcher: Watcher): WatchLease | undefined {
    if (this.closing) return undefined;
    return this.watches.get(this.connectionFor(circle))?.add(uri, watcher);
  }

  /** Keeps this circle's connection open for a task of a legacy server, and tells of its status, for so long. */
  followTask(circle: Circle, task: string, told: (params: JsonObject) => void, forMs: number): void {
    if (!this.closing) this.taskFollowers.follow(this.connectionFor(circle), task, told, forMs);
  }

  unfollowTask(circle: Circle, task: string): void {
    if (!this.closing) this.taskFollowers.forget(this.connectionFor(circle), task);
  }

  /** Has a modern server tell of tasks until that is ended. Undefined: it is none. */
  watchTasks(circle: Circle, tasks: readonly string[], listener: TaskListener): TaskSubscription | undefined {
    if (this.closing || this.era === 'legacy') return undefined;
    return new TaskSubscription(this.connectionFor(circle), tasks, listener);
  }

  /** Until when one stretch of a call may take. */
  get legDeadline(): number {
    return Date.now() + this.spec.lifecycle.callTimeoutMs;
  }

  catalogue(circle: Circle): Catalogue {
    const key = keyOf(this.catalogueBase(circle), circle);
    let catalogue = this.catalogues.get(key);
    if (!catalogue) {
      catalogue = new Catalogue({
        load: (deadline) => this.load(circle, deadline),
        onChange: () => this.options.onCatalogueChange(this),
      });
      this.catalogues.set(key, catalogue);
    }
    return catalogue;
  }

  /** Dials now; what `mcp connect` and `lifecycle.connect: eager` do. */
  async connect(circle: Circle, timeoutMs: number): Promise<void> {
    const deadline = Date.now() + timeoutMs;
    await this.catalogueConnection(circle).ready(deadline);
    this.catalogue(circle).retryNow();
    await this.catalogue(circle).settled(deadline, true);
  }

  /** What is connected goes, with what was remembered of failures; what is listed stays until it is read again. */
  credentialChanged(owner: string): void {
    this.options.credentials?.forget(owner);
    this.lastError = undefined;
    for (const one of this.connections) if (!this.perUser || one.owner === owner) void one.startOver();
    for (const catalogue of this.catalogues.values()) catalogue.retryNow();
  }

  /** A downstream session ended: what only it used is closed. */
  endSession(session: string): Promise<void> {
    return this.connections.endSession(session);
  }

  /** The same, but calls under way are left to end. */
  abandonSession(session: string): void {
    for (const one of this.connections) if (one.base === session) one.abandoned = true;
  }

  /** The server goes away, and with it what it keeps for anybody. */
  loseSessions(): void {
    for (const one of this.connections) if (one.holdsState) this.options.onSessionLost(one.base);
  }

  /** The roots of this session's client changed: told to the server where the connection is this session's alone. */
  rootsChanged(session: string): void {
    for (const one of this.connections) if (one.base === session) one.rootsChanged();
  }

  /** Closes what nobody uses any more, and asks whoever is in use what is due. */
  sweep(now: number): void {
    this.taskFollowers.sweep(now);
    const used = [...this.connections].some((one) => one.state === 'connected');
    if (used && this.channels.isEraCheckDue(now)) void this.checkEra(now);
    this.connections.sweep(now);
    this.health?.sweep(now, this.connections);
  }

  close(): Promise<void> {
    this.closing ??= this.shutdown();
    return this.closing;
  }

  private async shutdown(): Promise<void> {
    for (const catalogue of this.catalogues.values()) catalogue.close();
    await this.connections.close();
  }

  /** What each circle sees of it, as far as that is known. */
  listings(): Listing[] {
    return [...this.catalogues.values()].flatMap((catalogue) => catalogue.peekQuietly() ?? []);
  }

  status(): UpstreamStatus {
    const connections = [...this.connections].map(connectionStatus);
    const catalogue = this.catalogues.values().next().value;
    const { verdict } = this.channels;
    return {
      name: this.name,
      transport: verdict?.transport ?? (this.isStdio ? 'stdio' : 'http'),
      state: overallState(connections.map((one) => one.state)),
      revision: verdict?.revision,
      probedAt: verdict && new Date(verdict.probedAt).toISOString(),
      isolation: this.isolation,
      connections: connections.length,
      inFlight: connections.reduce((sum, one) => sum + one.inFlight, 0),
      tools: catalogue?.peekQuietly()?.tools.length,
      lastError:
        connections.find((one) => one.lastError)?.lastError ?? catalogue?.fault?.message ?? this.lastError,
      retryInMs: connections.find((one) => one.retryInMs)?.retryInMs,
    };
  }

  /** How it stands with this circle's own connection to it. */
  healthFor(circle: Circle): ServerHealth {
    const catalogue = this.catalogue(circle);
    const listed = catalogue.peekQuietly() !== undefined;
    const base = this.baseFor(circle);
    const connection = this.connections.of(base) ?? this.connections.of(this.catalogueBase(circle));
    const broken = connection?.state === 'failed' || connection?.state === 'needs_auth';
    const fault = catalogue.fault?.message ?? (broken ? connection.lastError : undefined);
    const wants = catalogue.fault?.kind;
    const needsLogin =
      connection?.state === 'needs_auth' || wants === 'needs_auth' || wants === 'needs_scope';
    return { listed, needsLogin, fault };
  }

  details(): { connections: ConnectionStatus[]; stderr: string[] } {
    const live = [...this.connections].flatMap((one) => one.diagnostics().stderr ?? []);
    const stderr = live.length > 0 ? live : this.channels.stderr;
    return {
      connections: [...this.connections].map(connectionStatus),
      stderr: stderr.slice(-STDERR_KEPT),
    };
  }

  private connectionFor(circle: Circle): Connection {
    return this.connection(this.baseFor(circle), circle);
  }

  private baseFor({ owner, session }: Circle): string {
    const { isolation } = this;
    return isolation === 'shared' ? EVERYBODY : isolation === 'user' ? owner : session;
  }

  /** Lists of a session-isolated server are the same for everybody; a session of our own reads them. */
  private catalogueBase({ owner }: Circle): string {
    return this.perUser || this.isolation === 'user' ? owner : EVERYBODY;
  }

  private catalogueConnection(circle: Circle): Connection {
    return this.connection(this.catalogueBase(circle), circle);
  }

  private connection(base: string, circle: Circle): Connection {
    // A modern server hears with every request what its caller can be asked, so all may share one connection: also the
    // one over which it turned out to be modern, which was made before anybody knew.
    const modern = this.era === 'modern';
    const key = modern ? base : keyOf(base, circle);
    const known = this.connections.get(key) ?? (modern ? this.connections.of(base) : undefined);
    if (known) return known;
    if (this.closing) throw new UpstreamFault('unreachable', `${this.name} is being stopped`);
    const connection = this.connections.add(key, base, circle);
    const lists = base === this.catalogueBase(circle);
    const onListsChanged = () => this.listsChanged();
    this.watches.set(connection, new ConnectionWatch({ connection, lists, onListsChanged }));
    return connection;
  }

  private newConnection(key: string, base: string, { owner, principal, relayed }: Circle): Connection {
    const credential = this.options.credentials?.of(owner);
    const transports = this.options.transports(credential);
    return new Connection({
      server: this.name,
      key,
      base,
      owner,
      principal,
      exclusive: isSession(base),
      self: this.options.self,
      slot: this.slot,
      credential,
      dialTimeoutMs: DIAL_TIMEOUT_MS,
      dial: (events, deadline, hangUp) => this.dial(base, relayed, transports, events, deadline, hangUp),
      onReopened: (one) => this.watches.get(one)?.reopened(),
      onForeign: () => {
        if (this.channels.mayCheckEra(Date.now())) void this.checkEra(Date.now());
      },
      onLost: (one) => this.options.onSessionLost(one.base),
      onNotification: (from, method, params) => this.noticed(from, method, params),
      onState: (one) => {
        if (one.lastError !== undefined) this.lastError = one.lastError;
        this.watches.get(one)?.channelChanged();
      },
    });
  }

  private async dial(
    base: string,
    relayed: Relayed,
    transports: ChannelTransports,
    events: TransportEvents,
    deadline: number,
    hangUp: Cancellation,
  ): Promise<Channel> {
    const capabilities = isSession(base) ? relayed.session : relayed.capabilities;
    let channel: Channel;
    try {
      channel = await this.channels.open(transports, capabilities, events, deadline, hangUp);
      this.lastError = undefined;
    } catch (error) {
      this.lastError = messageOf(error);
      throw error;
    }
    await this.hold(base, channel);
    return channel;
  }

  /** A server that speaks another era than it did is dialled anew. */
  private async checkEra(now: number): Promise<void> {
    if (this.closing || !(await this.channels.hasAnotherEra(now)) || this.closing) return;
    this.connections.retire();
    this.listsChanged();
  }

  /** From the first call on the server may keep something for the session: that has to be known before. */
  private async hold(base: string, { peer, transport }: Channel): Promise<void> {
    if (!isSession(base) || !peer.stateful) return;
    let held = false;
    try {
      held = await this.options.holdSession(base);
    } finally {
      if (!held) await transport.close();
    }
    if (!held) throw new UpstreamFault('session_lost', 'another process has the state of this session');
  }

  private async load(circle: Circle, deadline: number): Promise<Listing> {
    const connection = this.catalogueConnection(circle);
    const peer = await connection.ready(deadline);
    return readListing(peer, !this.isStdio, (method, params) =>
      connection.request({ method, params, deadline, maxBytes: LIST_MAX_BYTES }),
    );
  }

  private noticed(from: Connection, method: string, params: JsonObject): void {
    if (isSession(from.base) && SESSION_NOTICES.has(method)) {
      this.options.onSessionNotice(from.base, method, params);
    }
    this.taskFollowers.notice(from, method, params);
    this.watches.get(from)?.notice(method, params);
  }

  private unwatch(connection: Connection): void {
    this.watches.get(connection)?.close();
    this.watches.delete(connection);
    this.taskFollowers.drop(connection);
  }

  private listsChanged(): void {
    for (const catalogue of this.catalogues.values()) catalogue.invalidate();
  }
}

function keyOf(base: string, { relayed }: Circle): string {
  return relayed.signature === '' ? base : `${base}|${relayed.signature}`;
}
