import { randomBytes } from 'node:crypto';
import { boundedCache } from '../base/bounded-cache.ts';
import type { Sealer } from '../base/seal.ts';
import { type AuthenticatedCaller, callerKey } from '../identity/caller.ts';
import { isObject, type JsonObject } from '../protocol/jsonrpc.ts';
import { isLogLevel, type McpLogLevel } from '../protocol/log-levels.ts';
import type { Envelope } from '../protocol/model.ts';
import type { Store } from '../store/database.ts';
import { SESSION } from '../upstream/circle.ts';
import type { Scope } from './scope.ts';
import { boundRows, floorOf, rowOf, tagOf } from './session-rows.ts';

/** A legacy session as its id carries it. */
export type LegacySession = {
  id: string;
  /** Names the session where the id itself would be too much: isolation keys, the row of an ended one. */
  handle: string;
  envelope: Envelope;
  /** As `callerKey` names whom it belongs to. */
  principal: string;
  projectUid: string;
  surface: string;
  startedAt: number;
  expiresAt: number;
  /** URIs of the resources whose changes it wants to hear of. */
  subscriptions: readonly string[];
  /** How often it asked for something in this process. */
  asked: number;
};

/** A session as this process knows it. */
export type SeenSession = {
  session: LegacySession;
  caller: AuthenticatedCaller;
  project: string;
  /** Its last use, give or take five seconds, ms since 1970. */
  lastSeenAt: number;
};

type Sealed = {
  p: string;
  j: string;
  s: string;
  v: string;
  c: JsonObject;
  i: JsonObject | null;
  e: number;
  n: string;
};

const PURPOSE = 'legacy-session';
const LIFETIME_MS = 7 * 24 * 3_600_000;
const MAX_CACHED = 5_000;
/** An end on another replica is seen after this long at the latest. */
const TRUST_MS = 5_000;
/** A client says in its handshake who it is; more than this is no longer an introduction. */
const MAX_SEALED = 3_072;
/** Sessions that ended here of late: a look into the database that began before must not bring one back. */
const MAX_ENDED = 10_000;

/**
 * Legacy sessions without a table of open ones: the id is the sealed handshake, so that a restart or another replica
 * opens it too. Only a session that ended, asked for something or has a server's state behind it leaves a row, until
 * the id would have expired anyway. State lives in one process: elsewhere, and after it, such a session is over.
 */
export class LegacySessions {
  private readonly sealer: Sealer;
  private readonly store: Store;
  private readonly opened = boundedCache<string, SeenSession & { checkedAt: number }>(MAX_CACHED);
  /** Handles. */
  private readonly ended = boundedCache<string, true>(MAX_ENDED);
  /** What is being written of a session, so that the last wish is also the last to arrive. */
  private readonly writing = new Map<string, Promise<void>>();
  /** Names this process in rows, until it ends. */
  private readonly process = randomBytes(12).toString('base64url');

  constructor(sealer: Sealer, store: Store) {
    this.sealer = sealer;
    this.store = store;
  }

  /** A new session for this caller; undefined when the client's introduction is too long to carry around. */
  begin(
    caller: AuthenticatedCaller,
    scope: Scope,
    client: { revision: string; capabilities: JsonObject; clientInfo: JsonObject | undefined },
  ): LegacySession | undefined {
    const expiresAt = Date.now() + LIFETIME_MS;
    const sealed: Sealed = {
      p: callerKey(caller),
      j: scope.project.uid,
      s: scope.surface,
      v: client.revision,
      c: client.capabilities,
      i: client.clientInfo ?? null,
      e: expiresAt,
      n: `${tagOf(callerKey(caller))}.${randomBytes(12).toString('base64url')}`,
    };
    const text = JSON.stringify(sealed);
    if (text.length > MAX_SEALED) return undefined;
    // Kept from its first use on: a flood of handshakes pushes out nobody's session.
    return sessionOf(this.sealer.seal(PURPOSE, text), sealed);
  }

  /** The session behind an id, if it is this caller's, on this surface, and has not ended. */
  async find(id: string, caller: AuthenticatedCaller, scope: Scope): Promise<LegacySession | undefined> {
    const session = this.peek(id, caller, scope);
    if (session) return session;
    const opened = this.open(id);
    if (!opened || !belongs(opened, caller, scope) || opened.expiresAt <= Date.now()) return undefined;
    const before = this.opened.get(id)?.session.asked ?? 0;
    const key = rowOf(opened.handle);
    const rows = await this.store.db
      .selectFrom('sessions')
      .select(['id_hash', 'ended_at', 'log_level', 'subscriptions', 'holder'])
      .where('id_hash', 'in', [key, floorOf(opened.handle)])
      .execute();
    const row = rows.find(({ id_hash }) => id_hash === key);
    const floor = rows.find(({ id_hash }) => id_hash !== key);
    const elsewhere = row?.holder != null && row.holder !== this.process;
    const forgotten = !row && floor && opened.startedAt <= Number(floor.ended_at);
    if (row?.ended_at != null || elsewhere || forgotten || this.isOver(opened)) {
      this.opened.delete(id);
      return undefined;
    }
    // Who holds the session already goes on with the same object, so that all see what it remembers.
    const found = this.opened.get(id)?.session ?? opened;
    // What it asked for since the row was read counts more than the row.
    if (row && before === found.asked && !this.writing.has(found.handle)) {
      recall(found, row.log_level, row.subscriptions);
    }
    const checkedAt = Date.now();
    const { name } = scope.project;
    this.opened.set(id, { session: found, caller, project: name, lastSeenAt: checkedAt, checkedAt });
    return found;
  }

  /** The same without waiting, when it was checked a moment ago. */
  peek(id: string, caller: AuthenticatedCaller, scope: Scope): LegacySession | undefined {
    const known = this.opened.get(id);
    const now = Date.now();
    if (!known || now - known.checkedAt > TRUST_MS || known.session.expiresAt <= now) return undefined;
    if (this.isOver(known.session)) return undefined;
    return belongs(known.session, caller, scope) ? known.session : undefined;
  }

  /** Keeps what the session asked for, for this process and for those after it. */
  async remember(
    session: LegacySession,
    { logLevel, subscriptions }: { logLevel?: McpLogLevel; subscriptions?: readonly string[] },
  ): Promise<void> {
    if (logLevel) session.envelope = { ...session.envelope, logLevel };
    if (subscriptions) session.subscriptions = subscriptions;
    session.asked += 1;
    const { handle } = session;
    const before = this.writing.get(handle)?.catch(() => {});
    const write = before ? before.then(() => this.write(session)) : this.write(session);
    this.writing.set(handle, write);
    try {
      await write;
    } finally {
      if (this.writing.get(handle) === write) this.writing.delete(handle);
    }
  }

  private async write(session: LegacySession): Promise<void> {
    const kept = {
      log_level: session.envelope.logLevel ?? null,
      subscriptions: JSON.stringify(session.subscriptions),
    };
    await this.store.db
      .insertInto('sessions')
      .values({ ...newRow(session.handle), ...kept })
      .onConflict((conflict) => conflict.column('id_hash').doUpdateSet(kept))
      .execute();
  }

  /**
   * A server is about to keep state for this session. False: another process has some already, which this one cannot
   * go on with. Called once for a session and a server, before the server's first call.
   */
  async hold(handle: string): Promise<boolean> {
    const mine = { holder: this.process };
    const { numInsertedOrUpdatedRows } = await this.store.db
      .insertInto('sessions')
      .values({ ...newRow(handle), ...mine })
      .onConflict((conflict) =>
        conflict
          .column('id_hash')
          .doUpdateSet(mine)
          .where((row) =>
            row.or([row('sessions.holder', 'is', null), row('sessions.holder', '=', this.process)]),
          ),
      )
      .executeTakeFirst();
    return numInsertedOrUpdatedRows === 1n;
  }

  /** It has said what its task is: from now on, and for all processes. */
  async beginTask({ handle }: LegacySession): Promise<void> {
    const begun = { begun_at: Date.now() };
    await this.store.db
      .insertInto('sessions')
      .values({ ...newRow(handle), ...begun })
      .onConflict((conflict) => conflict.column('id_hash').doUpdateSet(begun))
      .execute();
  }

  async hasBegunTask({ handle }: LegacySession): Promise<boolean> {
    const row = await this.store.db
      .selectFrom('sessions')
      .select('begun_at')
      .where('id_hash', '=', rowOf(handle))
      .executeTakeFirst();
    return row?.begun_at != null;
  }

  /** Those that were used at this process not long ago, and go on. */
  seen(): SeenSession[] {
    const now = Date.now();
    return [...this.opened.values()].filter(
      ({ session }) => session.expiresAt > now && !this.isOver(session),
    );
  }

  /** Ends it for good; here at once, for others when this resolves. */
  async end(handle: string): Promise<void> {
    this.ended.set(handle, true);
    const ended = { ended_at: Date.now() };
    await this.store.db
      .insertInto('sessions')
      .values({ ...newRow(handle), ...ended })
      .onConflict((conflict) => conflict.column('id_hash').doUpdateSet(ended))
      .execute();
  }

  /** It ended in this process not long ago. */
  isOver({ handle }: LegacySession): boolean {
    return this.ended.has(handle);
  }

  /** Drops rows of ids that have expired by themselves, and the oldest of whoever has left too many. */
  async prune(): Promise<void> {
    await this.store.db.deleteFrom('sessions').where('expires_at', '<', Date.now()).execute();
    await boundRows(this.store.db, LIFETIME_MS);
  }

  private open(id: string): LegacySession | undefined {
    const opened = this.sealer.open(PURPOSE, id);
    if (!opened.ok) return undefined;
    const sealed: unknown = JSON.parse(opened.value);
    return isObject(sealed) ? sessionOf(id, sealed as Sealed) : undefined;
  }
}

function sessionOf(id: string, sealed: Sealed): LegacySession {
  return {
    id,
    handle: SESSION + sealed.n,
    principal: sealed.p,
    projectUid: sealed.j,
    surface: sealed.s,
    startedAt: sealed.e - LIFETIME_MS,
    expiresAt: sealed.e,
    subscriptions: [],
    asked: 0,
    envelope: {
      era: 'legacy',
      revision: sealed.v,
      clientCapabilities: sealed.c,
      clientInfo: sealed.i ?? undefined,
      logLevel: undefined,
      progressToken: undefined,
    },
  };
}

function newRow(handle: string) {
  const now = Date.now();
  const asked = { log_level: null, subscriptions: '[]', holder: null, begun_at: null };
  return { id_hash: rowOf(handle), created_at: now, expires_at: now + LIFETIME_MS, ended_at: null, ...asked };
}

function recall(session: LegacySession, logLevel: string | null, subscriptions: string): void {
  session.envelope = { ...session.envelope, logLevel: isLogLevel(logLevel) ? logLevel : undefined };
  const uris: unknown = JSON.parse(subscriptions);
  session.subscriptions = Array.isArray(uris) ? uris.filter((uri) => typeof uri === 'string') : [];
}

function belongs(session: LegacySession, caller: AuthenticatedCaller, scope: Scope): boolean {
  return (
    session.principal === callerKey(caller) &&
    session.projectUid === scope.project.uid &&
    session.surface === scope.surface
  );
}
