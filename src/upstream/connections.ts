import { type Circle, isSession } from './circle.ts';
import type { Connection } from './connection.ts';
import { UpstreamFault } from './transport.ts';

export type ConnectionsOptions = {
  server: string;
  idleTimeoutMs: number;
  make(key: string, base: string, circle: Circle): Connection;
  /** It takes no new calls from now on; most are closed at once. */
  onLeft(connection: Connection): void;
  onSessionLost(session: string): void;
};

/** Beyond this the one idle longest is closed. */
const MAX_CONNECTIONS = 1_000;
/** Legacy sessions of one principal that one server keeps state for; one more ends that which is idle longest. */
const MAX_SESSIONS = 64;
/** State behind a session is worth more than the connection: it is kept longer than `idleTimeout`, ms. */
const SESSION_IDLE_MS = 24 * 3_600_000;

/** The connections of one server, one an isolation key: who makes room for whom, and who is kept for how long. */
export class Connections implements Iterable<Connection> {
  private readonly options: ConnectionsOptions;
  private readonly open = new Map<string, Connection>();
  /** They carry their calls to the end and take no new ones. */
  private readonly retired = new Set<Connection>();

  constructor(options: ConnectionsOptions) {
    this.options = options;
  }

  [Symbol.iterator](): Iterator<Connection> {
    return this.open.values();
  }

  get(key: string): Connection | undefined {
    return this.open.get(key);
  }

  /** One that is for `base`, whatever those can be asked for whom it was made. */
  of(base: string): Connection | undefined {
    for (const one of this.open.values()) if (one.base === base) return one;
    return undefined;
  }

  /** A new one. @throws UpstreamFault `capacity` when there is no room and all are busy */
  add(key: string, base: string, circle: Circle): Connection {
    if (isSession(base)) this.makeRoomFor(circle.principal);
    this.makeRoom();
    const connection = this.options.make(key, base, circle);
    this.open.set(key, connection);
    return connection;
  }

  /** A downstream session ended: what only it used is closed. */
  async endSession(session: string): Promise<void> {
    const ended = [...this].filter((one) => one.base === session);
    await Promise.all(ended.map((connection) => this.discard(connection)));
  }

  /** Closes channels that nobody used for the idle time; forgets connections that hold nothing. */
  sweep(now: number): void {
    for (const connection of this.retired) if (connection.unused) void this.discard(connection);
    const { idleTimeoutMs } = this.options;
    for (const connection of this) {
      if (!connection.unused) continue;
      const patience = connection.holdsState ? Math.max(idleTimeoutMs, SESSION_IDLE_MS) : idleTimeoutMs;
      if (connection.abandoned) void this.discard(connection);
      else if (now - connection.lastUsed <= patience) continue;
      else if (connection.state === 'connected') void connection.evict();
      else if (connection.state === 'disconnected') void this.discard(connection);
    }
  }

  /** New calls dial, those under way end where they are. What holds state goes on. */
  retire(): void {
    for (const [key, connection] of this.open) {
      if (connection.holdsState) continue;
      this.open.delete(key);
      this.options.onLeft(connection);
      if (connection.unused) void connection.close();
      else this.retired.add(connection);
    }
  }

  async close(): Promise<void> {
    for (const connection of this) this.options.onLeft(connection);
    await Promise.all([...this, ...this.retired].map((connection) => connection.close()));
  }

  private discard(connection: Connection): Promise<void> {
    if (this.open.get(connection.key) === connection) this.open.delete(connection.key);
    this.retired.delete(connection);
    this.options.onLeft(connection);
    return connection.close();
  }

  private makeRoom(): void {
    if (this.open.size < MAX_CONNECTIONS) return;
    this.sacrifice([...this], `${this.options.server} has ${MAX_CONNECTIONS} busy connections`);
  }

  /** Whoever opens many sessions pushes out their own, and nobody else's. */
  private makeRoomFor(principal: string): void {
    const own = [...this].filter((one) => isSession(one.base) && one.principal === principal);
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
}
