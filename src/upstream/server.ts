import { Cancellation } from '../base/cancellation.ts';
import { messageOf } from '../base/errors.ts';
import type { Relayed } from '../protocol/input-requests.ts';
import type { JsonObject } from '../protocol/jsonrpc.ts';
import type { Implementation } from '../protocol/model.ts';
import type { Era } from '../protocol/revisions.ts';
import type { Isolation, ServerEntry, ServerSpec } from '../resources/spec.ts';
import type { UpstreamReply, WantedLogs } from './calls.ts';
import { Catalogue } from './catalogue.ts';
import { type Circle, isSession } from './circle.ts';
import { Connection, type LinkState } from './connection.ts';
import { type Dialler, dial, probeEra } from './dial.ts';
import { EraCheck } from './era-check.ts';
import { type BeginHealthCall, HealthCheck } from './health-check.ts';
import { type Listing, readListing } from './listing.ts';
import { type Channel, VERDICT_MAX_AGE_MS, type Verdict } from './peer.ts';
import { givenTo, secretHider } from './secret-hider.ts';
import { SharedSlot, type Slot, type Slots } from './slots.ts';
import { TaskFollowers } from './task-followers.ts';
import { type TaskListener, TaskSubscription } from './task-subscription.ts';
import { type Transport, type TransportEvents, UpstreamFault } from './transport.ts';
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
  transports: Pick<Dialler, 'stdio' | 'http' | 'sse'>;
  onCatalogueChange(server: UpstreamServer): void;
  /** The server said something on the connection of this conversation alone, during none or several of its calls. */
  onSessionNotice(session: string, method: string, params: JsonObject): void;
  /** The server is about to keep state for a legacy session. False: another process has some already. */
  holdSession(session: string): Promise<boolean>;
  /** What the server kept for a legacy session is gone: the session cannot go on. */
  onSessionLost(session: string): void;
  beginHealthCall: BeginHealthCall;
};

/** What is known of a server, from memory. */
export type UpstreamStatus = {
  name: string;
  /** Undefined when its configuration does not resolve. */
  transport: Transport['kind'] | undefined;
  state: LinkState;
  revision?: string;
  /** When the era was last probed, ISO 8601. */
  probedAt?: string;
  isolation?: Isolation;
  connections: number;
  inFlight: number;
  /** In the last list; undefined before the first. */
  tools?: number;
  lastError?: string;
  retryInMs?: number;
};

export type ConnectionStatus = {
  key: string;
  state: LinkState;
  since: string;
  inFlight: number;
  pid?: number;
  lastError?: string;
  retryInMs?: number;
};

/** Connections of one server, one an isolation key; beyond this the one idle longest is closed. */
const MAX_CONNECTIONS = 1_000;
/** Legacy sessions of one principal that one server keeps state for; one more ends that which is idle longest. */
const MAX_SESSIONS = 64;
/** State behind a session is worth more than the connection: it is kept longer than `idleTimeout`, ms. */
const SESSION_IDLE_MS = 24 * 3_600_000;
/** What a server says to one conversation and not during a call. */
const SESSION_NOTICES = new Set(['notifications/message', 'notifications/elicitation/complete']);
const DIAL_TIMEOUT_MS = 60_000;
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
  private readonly hide: (text: string) => string;
  private readonly slot: Slot;
  private readonly connections = new Map<string, Connection>();
  private readonly catalogues = new Map<string, Catalogue>();
  private readonly watches = new Map<Connection, ConnectionWatch>();
  private readonly eraCheck = new EraCheck();
  private readonly health: HealthCheck | undefined;
  /** They carry their calls to the end and take no new ones. */
  private readonly retired = new Set<Connection>();
  private readonly taskFollowers = new TaskFollowers();
  private verdict: Verdict | undefined;
  /** Of the last dial, so that a process that did not live long enough to serve can still say why. */
  private lastDialled: Transport | undefined;
  private lastError: string | undefined;
  private closing: Promise<void> | undefined;

  constructor(options: UpstreamServerOptions) {
    this.options = options;
    this.name = options.entry.name;
    this.spec = options.entry.spec;
    this.fingerprint = options.entry.fingerprint;
    this.hide = secretHider(givenTo(options.entry), options.entry.confidential);
    const { healthCheck } = this.spec;
    this.health = healthCheck && new HealthCheck(healthCheck, options.beginHealthCall);
    this.slot = this.isStdio ? options.slots : new SharedSlot(options.slots);
  }

  get isStdio(): boolean {
    return this.spec.target.type === 'stdio';
  }

  get isolation(): Isolation {
    if (this.spec.isolation) return this.spec.isolation;
    if (this.isStdio) return 'user';
    return this.verdict?.era === 'modern' ? 'shared' : 'session';
  }

  /** The era that it was last seen to speak. */
  get era(): Era | undefined {
    return this.verdict?.era;
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
    const key = keyOf(this.isolation === 'user' ? circle.owner : EVERYBODY, circle);
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

  /** A downstream session ended: what only it used is closed. */
  async endSession(session: string): Promise<void> {
    const ended = [...this.connections.values()].filter((one) => one.base === session);
    await Promise.all(ended.map((connection) => this.discard(connection)));
  }

  /** The same, but calls under way are left to end. */
  abandonSession(session: string): void {
    for (const one of this.connections.values()) if (one.base === session) one.abandoned = true;
  }

  /** The server goes away, and with it what it keeps for anybody. */
  loseSessions(): void {
    for (const one of this.connections.values()) if (one.holdsState) this.options.onSessionLost(one.base);
  }

  /** The roots of this session's client changed: told to the server where the connection is this session's alone. */
  rootsChanged(session: string): void {
    for (const one of this.connections.values()) if (one.base === session) one.rootsChanged();
  }

  /** Closes channels that nobody used for the idle time; forgets connections that hold nothing. */
  sweep(now: number): void {
    this.taskFollowers.sweep(now);
    for (const connection of this.retired) if (connection.unused) void this.discard(connection);
    const used = [...this.connections.values()].some((one) => one.state === 'connected');
    if (used && this.eraCheck.isDue(this.verdict, now)) void this.checkEra(now);
    const { idleTimeoutMs } = this.spec.lifecycle;
    for (const connection of this.connections.values()) {
      if (!connection.unused) continue;
      const patience = connection.holdsState ? Math.max(idleTimeoutMs, SESSION_IDLE_MS) : idleTimeoutMs;
      if (connection.abandoned) void this.discard(connection);
      else if (now - connection.lastUsed <= patience) continue;
      else if (connection.state === 'connected') void connection.evict();
      else if (connection.state === 'disconnected') void this.discard(connection);
    }
    this.health?.sweep(now, this.connections.values());
  }

  private discard(connection: Connection): Promise<void> {
    if (this.connections.get(connection.key) === connection) this.connections.delete(connection.key);
    this.retired.delete(connection);
    this.unwatch(connection);
    return connection.close();
  }

  close(): Promise<void> {
    this.closing ??= this.shutdown();
    return this.closing;
  }

  private async shutdown(): Promise<void> {
    for (const catalogue of this.catalogues.values()) catalogue.close();
    for (const connection of [...this.watches.keys()]) this.unwatch(connection);
    const all = [...this.connections.values(), ...this.retired];
    await Promise.all(all.map((connection) => connection.close()));
  }

  /** What each circle sees of it, as far as that is known. */
  listings(): Listing[] {
    return [...this.catalogues.values()].flatMap((catalogue) => catalogue.peekQuietly() ?? []);
  }

  status(): UpstreamStatus {
    const connections = this.connectionStatus();
    const catalogue = this.catalogues.values().next().value;
    return {
      name: this.name,
      transport: this.verdict?.transport ?? (this.isStdio ? 'stdio' : 'http'),
      state: overallState(connections.map((one) => one.state)),
      revision: this.verdict?.revision,
      probedAt: this.verdict ? new Date(this.verdict.probedAt).toISOString() : undefined,
      isolation: this.isolation,
      connections: connections.length,
      inFlight: connections.reduce((sum, one) => sum + one.inFlight, 0),
      tools: catalogue?.peekQuietly()?.tools.length,
      lastError:
        connections.find((one) => one.lastError)?.lastError ?? catalogue?.fault?.message ?? this.lastError,
      retryInMs: connections.find((one) => one.retryInMs)?.retryInMs,
    };
  }

  details(): { connections: ConnectionStatus[]; stderr: string[] } {
    const live = [...this.connections.values()].flatMap((one) => one.diagnostics().stderr ?? []);
    const stderr = live.length > 0 ? live : (this.lastDialled?.diagnostics().stderr ?? []);
    return { connections: this.connectionStatus(), stderr: stderr.slice(-STDERR_KEPT) };
  }

  private connectionStatus(): ConnectionStatus[] {
    return [...this.connections.values()].map((one) => ({
      key: one.key,
      state: one.state,
      since: new Date(one.since).toISOString(),
      inFlight: one.inFlight,
      pid: one.diagnostics().pid,
      lastError: one.lastError,
      retryInMs: one.retryInMs,
    }));
  }

  private connectionFor(circle: Circle): Connection {
    const { isolation } = this;
    const base = isolation === 'shared' ? EVERYBODY : isolation === 'user' ? circle.owner : circle.session;
    return this.connection(base, circle);
  }

  /** Lists of a session-isolated server are the same for everybody; a session of our own reads them. */
  private catalogueConnection(circle: Circle): Connection {
    return this.connection(this.isolation === 'user' ? circle.owner : EVERYBODY, circle);
  }

  private connection(base: string, circle: Circle): Connection {
    // A modern server hears with every request what its caller can be asked, so all may share one connection.
    const key = this.verdict?.era === 'modern' ? base : keyOf(base, circle);
    const known = this.connections.get(key) ?? this.sharable(base);
    if (known) return known;
    if (this.closing) throw new UpstreamFault('unreachable', `${this.name} is being stopped`);
    const exclusive = isSession(base);
    if (exclusive) this.makeRoomFor(circle.principal);
    this.makeRoom();
    const connection: Connection = new Connection({
      server: this.name,
      key,
      base,
      principal: circle.principal,
      exclusive,
      self: this.options.self,
      slot: this.slot,
      dialTimeoutMs: DIAL_TIMEOUT_MS,
      dial: (events, deadline, hangUp) => this.dial(connection, circle.relayed, events, deadline, hangUp),
      onReopened: (one) => this.watches.get(one)?.reopened(),
      onForeign: () => {
        if (this.eraCheck.mayRun(Date.now())) void this.checkEra(Date.now());
      },
      onLost: (one) => this.options.onSessionLost(one.base),
      onNotification: (from, method, params) => this.noticed(from, method, params),
      onState: (one) => {
        if (one.lastError !== undefined) this.lastError = one.lastError;
        this.watches.get(one)?.channelChanged();
      },
    });
    this.connections.set(key, connection);
    const lists = this.isolation === 'user' || base === EVERYBODY;
    const onListsChanged = () => this.listsChanged();
    this.watches.set(connection, new ConnectionWatch({ connection, lists, onListsChanged }));
    return connection;
  }

  /** The connection over which a server turned out to be modern was made before anybody knew. */
  private sharable(base: string): Connection | undefined {
    if (this.verdict?.era !== 'modern') return undefined;
    for (const one of this.connections.values()) if (one.base === base) return one;
    return undefined;
  }

  private makeRoom(): void {
    if (this.connections.size < MAX_CONNECTIONS) return;
    this.sacrifice([...this.connections.values()], `${this.name} has ${MAX_CONNECTIONS} busy connections`);
  }

  /** Whoever opens many sessions pushes out their own, and nobody else's. */
  private makeRoomFor(principal: string): void {
    const own = [...this.connections.values()].filter(
      (one) => isSession(one.base) && one.principal === principal,
    );
    if (own.length >= MAX_SESSIONS) this.sacrifice(own, `${MAX_SESSIONS} sessions of yours are busy on it`);
  }

  /** Closes the one idle longest. @throws UpstreamFault when all are busy */
  private sacrifice(connections: readonly Connection[], allBusy: string): void {
    let oldest: Connection | undefined;
    for (const one of connections) {
      if (one.unused && (!oldest || one.lastUsed < oldest.lastUsed)) oldest = one;
    }
    if (!oldest) throw new UpstreamFault('capacity', allBusy);
    if (oldest.holdsState) this.options.onSessionLost(oldest.base);
    void this.discard(oldest);
  }

  private async dial(
    connection: Connection,
    relayed: Relayed,
    events: TransportEvents,
    deadline: number,
    hangUp: Cancellation,
  ): Promise<Channel> {
    const known = this.verdict;
    const hint = known && Date.now() - known.probedAt < VERDICT_MAX_AGE_MS ? known : undefined;
    const { stdio, ...others } = this.options.transports;
    const dialler: Dialler = {
      ...others,
      self: this.options.self,
      capabilities: isSession(connection.base) ? relayed.session : relayed.capabilities,
      spec: this.spec,
      hide: this.hide,
      hangUp,
      stdio: (opened) => {
        const transport = stdio(opened);
        this.lastDialled = transport;
        return transport;
      },
    };
    let channel: Channel;
    try {
      channel = await dial(dialler, hint, events, deadline);
    } catch (error) {
      // Whatever was known of the server may no longer be true.
      this.verdict = undefined;
      this.lastError = messageOf(error);
      throw error;
    }
    const { era, revision } = channel.peer;
    const probedAt =
      hint?.era === era && hint.transport === channel.transport.kind ? hint.probedAt : Date.now();
    this.verdict = { era, revision, transport: channel.transport.kind, probedAt };
    this.lastError = undefined;
    await this.hold(connection, channel);
    return channel;
  }

  /** Asks an HTTP server which era it speaks; a process speaks the same for as long as it lives. */
  private async checkEra(now: number): Promise<void> {
    if (this.isStdio || this.spec.protocol !== 'auto' || this.closing) return;
    const { http } = this.options.transports;
    const dialler = { http, self: this.options.self, hide: this.hide, hangUp: new Cancellation() };
    const era = await this.eraCheck.run(now, () => probeEra(dialler, DIAL_TIMEOUT_MS));
    if (!this.verdict || this.closing || era === undefined) return;
    if (era === this.verdict.era) this.verdict = { ...this.verdict, probedAt: now };
    else this.startAnew();
  }

  /** The server speaks another era now: new calls dial, those under way end where they are. */
  private startAnew(): void {
    this.verdict = undefined;
    for (const [key, connection] of this.connections) {
      if (connection.holdsState) continue;
      this.connections.delete(key);
      this.unwatch(connection);
      if (connection.unused) void connection.close();
      else this.retired.add(connection);
    }
    this.listsChanged();
  }

  /** From the first call on the server may keep something for the session: that has to be known before. */
  private async hold(connection: Connection, { peer, transport }: Channel): Promise<void> {
    if (!isSession(connection.base) || !peer.stateful) return;
    let held = false;
    try {
      held = await this.options.holdSession(connection.base);
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

function overallState(states: LinkState[]): LinkState {
  for (const state of ['connected', 'connecting', 'needs_auth', 'failed'] as const) {
    if (states.includes(state)) return state;
  }
  return 'disconnected';
}
