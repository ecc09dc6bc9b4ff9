import { randomBytes } from 'node:crypto';
import { LRUCache } from 'lru-cache';
import { sha256Hex } from '../base/ids.ts';
import type { Sealer } from '../base/seal.ts';
import type { AuthenticatedCaller } from '../identity/caller.ts';
import { isObject, type JsonObject } from '../protocol/jsonrpc.ts';
import { isLogLevel, type McpLogLevel } from '../protocol/log-levels.ts';
import type { Envelope } from '../protocol/model.ts';
import type { Store } from '../store/database.ts';
import type { Scope } from './scope.ts';

/** A legacy session as its id carries it. */
export type LegacySession = {
  id: string;
  /** Names the session where the id itself would be too much: isolation keys, the row of an ended one. */
  handle: string;
  envelope: Envelope;
  principal: string;
  projectUid: string;
  surface: string;
  expiresAt: number;
  /** URIs of the resources whose changes it wants to hear of. */
  subscriptions: readonly string[];
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

/**
 * Legacy sessions without a table of open ones: the id is the sealed handshake, so that a restart or another replica
 * opens it too. Only a session that ended or asked for something leaves a row, until the id would have
 * expired anyway.
 */
export class LegacySessions {
  private readonly sealer: Sealer;
  private readonly store: Store;
  private readonly opened = new LRUCache<string, { session: LegacySession; checkedAt: number }>({
    max: MAX_CACHED,
  });

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
      p: caller.principal,
      j: scope.project.uid,
      s: scope.surface,
      v: client.revision,
      c: client.capabilities,
      i: client.clientInfo ?? null,
      e: expiresAt,
      n: randomBytes(12).toString('base64url'),
    };
    const text = JSON.stringify(sealed);
    if (text.length > MAX_SEALED) return undefined;
    const session = sessionOf(this.sealer.seal(PURPOSE, text), sealed);
    this.opened.set(session.id, { session, checkedAt: Date.now() });
    return session;
  }

  /** The session behind an id, if it is this caller's, on this surface, and has not ended. */
  async find(id: string, caller: AuthenticatedCaller, scope: Scope): Promise<LegacySession | undefined> {
    const session = this.peek(id, caller, scope);
    if (session) return session;
    const opened = this.open(id);
    if (!opened || !belongs(opened, caller, scope) || opened.expiresAt <= Date.now()) return undefined;
    const row = await this.store.db
      .selectFrom('sessions')
      .select(['ended_at', 'log_level', 'subscriptions'])
      .where('id_hash', '=', sha256Hex(id))
      .executeTakeFirst();
    if (row?.ended_at != null) {
      this.opened.delete(id);
      return undefined;
    }
    // Who holds the session already goes on with the same object, so that all see what it remembers.
    const found = this.opened.get(id)?.session ?? opened;
    if (row) recall(found, row.log_level, row.subscriptions);
    this.opened.set(id, { session: found, checkedAt: Date.now() });
    return found;
  }

  /** The same without waiting, when it was checked a moment ago. */
  peek(id: string, caller: AuthenticatedCaller, scope: Scope): LegacySession | undefined {
    const known = this.opened.get(id);
    const now = Date.now();
    if (!known || now - known.checkedAt > TRUST_MS || known.session.expiresAt <= now) return undefined;
    return belongs(known.session, caller, scope) ? known.session : undefined;
  }

  /** Keeps what the session asked for, for this process and for those after it. */
  async remember(
    session: LegacySession,
    { logLevel, subscriptions }: { logLevel?: McpLogLevel; subscriptions?: readonly string[] },
  ): Promise<void> {
    if (logLevel) session.envelope = { ...session.envelope, logLevel };
    if (subscriptions) session.subscriptions = subscriptions;
    const kept = {
      log_level: session.envelope.logLevel ?? null,
      subscriptions: JSON.stringify(session.subscriptions),
    };
    const row = { id_hash: sha256Hex(session.id), created_at: Date.now(), expires_at: session.expiresAt };
    await this.store.db
      .insertInto('sessions')
      .values({ ...row, ...kept, ended_at: null })
      .onConflict((conflict) => conflict.column('id_hash').doUpdateSet(kept))
      .execute();
  }

  /** Ends it for good. */
  async end(session: LegacySession): Promise<void> {
    this.opened.delete(session.id);
    const now = Date.now();
    const row = {
      id_hash: sha256Hex(session.id),
      created_at: now,
      ended_at: now,
      expires_at: session.expiresAt,
    };
    await this.store.db
      .insertInto('sessions')
      .values({ ...row, log_level: null, subscriptions: '[]' })
      .onConflict((conflict) => conflict.column('id_hash').doUpdateSet({ ended_at: now }))
      .execute();
  }

  /** Drops rows of ids that have expired by themselves. */
  async prune(): Promise<void> {
    await this.store.db.deleteFrom('sessions').where('expires_at', '<', Date.now()).execute();
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
    handle: `session:${sealed.n}`,
    principal: sealed.p,
    projectUid: sealed.j,
    surface: sealed.s,
    expiresAt: sealed.e,
    subscriptions: [],
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

function recall(session: LegacySession, logLevel: string | null, subscriptions: string): void {
  session.envelope = { ...session.envelope, logLevel: isLogLevel(logLevel) ? logLevel : undefined };
  const uris: unknown = JSON.parse(subscriptions);
  session.subscriptions = Array.isArray(uris) ? uris.filter((uri) => typeof uri === 'string') : [];
}

function belongs(session: LegacySession, caller: AuthenticatedCaller, scope: Scope): boolean {
  return (
    session.principal === caller.principal &&
    session.projectUid === scope.project.uid &&
    session.surface === scope.surface
  );
}
