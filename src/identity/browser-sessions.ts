import { timingSafeEqual } from 'node:crypto';
import type { Kysely, Selectable } from 'kysely';
import type { Audit } from '../audit/audit.ts';
import { credentialKind, mintCredential, newId, sha256Hex } from '../base/ids.ts';
import { bindingText } from '../resources/bindings.ts';
import type { UserEntry } from '../resources/spec.ts';
import type { Store } from '../store/database.ts';
import type { Schema } from '../store/schema.ts';
import type { BrowserSessionsTable } from '../store/schema-people.ts';
import type { Authorizer } from './authorizer.ts';
import { type AuthenticatedCaller, authenticatedCaller } from './caller.ts';
import { userOfUid } from './token-record.ts';

export type ProofMethod = 'password' | 'link' | 'sso';
/** `at` is when the person was proven, ms since 1970. */
export type Proof = { method: ProofMethod; at: number };

/** Somebody who is signed in in a browser. Times are milliseconds since 1970. */
export type BrowserSession = {
  /** Names the session without opening it. */
  id: string;
  email: string;
  user: UserEntry;
  /** The person, with all of their rights. */
  caller: AuthenticatedCaller;
  method: ProofMethod;
  createdAt: number;
  /** When the person was last proven. */
  provenAt: number;
  seenAt: number;
  expiresAt: number;
  address: string;
  agent: string;
  /** The cookie no longer fits the rights: `rotate` it. */
  outdated: boolean;
};

export type Opened = { cookie: string; session: BrowserSession };

const IDLE_MS = 12 * 3_600_000;
const LIFE_MS = 7 * 24 * 3_600_000;
const SEEN_EVERY_MS = 60_000;
const MAX_OF_USER = 50;
const MAX_AGENT = 200;
const MAC_LENGTH = 32;

/**
 * Browsers in which people are signed in. A cookie is a random secret and a signature, so that a made-up one costs no
 * look-up; the database has the secret's hash alone. Every read checks the user and both expiries anew.
 */
export class BrowserSessions {
  readonly #store: Pick<Store, 'db' | 'keys'>;
  readonly #audit: Pick<Audit, 'append'>;
  readonly #authorizer: Authorizer;
  readonly #now: () => number;

  constructor(options: {
    store: Pick<Store, 'db' | 'keys'>;
    audit: Pick<Audit, 'append'>;
    authorizer: Authorizer;
    now?: () => number;
  }) {
    this.#store = options.store;
    this.#audit = options.audit;
    this.#authorizer = options.authorizer;
    this.#now = options.now ?? Date.now;
  }

  /** Begins a session of somebody who was proven; the oldest beyond the limit ends. */
  async open(
    user: UserEntry,
    { method, at }: Proof,
    from: { address: string; agent: string },
  ): Promise<Opened> {
    const now = this.#now();
    const secret = mintCredential('ses');
    const row = {
      id: newId('bse'),
      secret_hash: sha256Hex(secret),
      user_uid: user.uid,
      method,
      rights: this.#rightsOf(user),
      address: from.address,
      agent: from.agent.slice(0, MAX_AGENT),
      created_at: now,
      proven_at: at,
      seen_at: now,
      expires_at: now + LIFE_MS,
    };
    await this.#store.db.transaction().execute(async (transaction) => {
      await this.#makeRoom(transaction, user.uid, now);
      await transaction.insertInto('browser_sessions').values(row).execute();
      await this.#audit.append(transaction, {
        ...about('browser.signed_in', user.name),
        detail: { session: row.id, method },
      });
    });
    return { cookie: this.#signed(secret), session: this.#session(row, user) };
  }

  /** Whose session the cookie opens; undefined when it opens none any more. */
  async find(cookie: string): Promise<BrowserSession | undefined> {
    const secret = this.#verified(cookie);
    if (secret === undefined) return undefined;
    const now = this.#now();
    const row = await this.#store.db
      .selectFrom('browser_sessions')
      .selectAll()
      .where('secret_hash', '=', sha256Hex(secret))
      .where('expires_at', '>', now)
      .where('seen_at', '>', now - IDLE_MS)
      .executeTakeFirst();
    const user = row && userOfUid(this.#authorizer.rights().access, row.user_uid);
    if (!user || user.disabled) return undefined;
    if (now - row.seen_at > SEEN_EVERY_MS) {
      await this.#store.db
        .updateTable('browser_sessions')
        .set({ seen_at: now })
        .where('id', '=', row.id)
        .execute();
      row.seen_at = now;
    }
    return this.#session(row, user);
  }

  /**
   * Gives the session another secret. With `proof`, the person was proven anew. Of two at once the later one
   * counts; undefined when the session has ended.
   */
  async rotate(session: BrowserSession, proof?: Proof): Promise<Opened | undefined> {
    const now = this.#now();
    const secret = mintCredential('ses');
    const row = await this.#store.db.transaction().execute(async (transaction) => {
      const changed = await transaction
        .updateTable('browser_sessions')
        .set({
          secret_hash: sha256Hex(secret),
          rights: this.#rightsOf(session.user),
          seen_at: now,
          ...(proof && { proven_at: proof.at, method: proof.method }),
        })
        .where('id', '=', session.id)
        .returningAll()
        .executeTakeFirst();
      if (changed && proof) {
        const told = about('browser.proven', session.email);
        await this.#audit.append(transaction, {
          ...told,
          detail: { session: session.id, method: proof.method },
        });
      }
      return changed;
    });
    return row && { cookie: this.#signed(secret), session: this.#session(row, session.user) };
  }

  /** Those of a user that still open something, the one used last first. */
  async list(user: UserEntry): Promise<BrowserSession[]> {
    const now = this.#now();
    const rows = await this.#store.db
      .selectFrom('browser_sessions')
      .selectAll()
      .where('user_uid', '=', user.uid)
      .where('expires_at', '>', now)
      .where('seen_at', '>', now - IDLE_MS)
      .orderBy('seen_at', 'desc')
      .execute();
    return rows.map((row) => this.#session(row, user));
  }

  /** Ends one session of a user. False: there was none of that id. */
  async end(user: UserEntry, id: string): Promise<boolean> {
    return this.#store.db.transaction().execute(async (transaction) => {
      const gone = await transaction
        .deleteFrom('browser_sessions')
        .where('user_uid', '=', user.uid)
        .where('id', '=', id)
        .returning('id')
        .executeTakeFirst();
      if (gone) {
        const row = about('browser.signed_out', user.name);
        await this.#audit.append(transaction, { ...row, detail: { session: id } });
      }
      return gone !== undefined;
    });
  }

  /** What forms on pages for this session, or for this visit of nobody yet, send back to prove that they are ours. */
  formToken(sessionOrVisit: string): string {
    return this.#store.keys.mac('form', sessionOrVisit).slice(0, MAC_LENGTH);
  }

  /**
   * A cookie that says that this user signed in in this browser before, and nothing else: whoever guesses passwords
   * elsewhere cannot keep them out here.
   */
  knownBrowser(user: UserEntry): string {
    const browser = newId('brw');
    return `${browser}.${this.#familiarity(browser, user)}`;
  }

  /** Names the browser, if that user signed in there before. */
  familiar(cookie: string, email: string): string | undefined {
    const user = this.#authorizer.rights().access.users.get(email);
    const [browser = '', signature = ''] = cookie.length > 200 ? [] : cookie.split('.');
    return user && isSame(signature, this.#familiarity(browser, user)) ? browser : undefined;
  }

  async #makeRoom(db: Kysely<Schema>, uid: string, now: number): Promise<void> {
    await db
      .deleteFrom('browser_sessions')
      .where((where) => where.or([where('expires_at', '<=', now), where('seen_at', '<=', now - IDLE_MS)]))
      .execute();
    const kept = await db
      .selectFrom('browser_sessions')
      .select('id')
      .where('user_uid', '=', uid)
      .orderBy('seen_at', 'desc')
      .execute();
    const beyond = kept.slice(MAX_OF_USER - 1).map(({ id }) => id);
    if (beyond.length > 0) await db.deleteFrom('browser_sessions').where('id', 'in', beyond).execute();
  }

  #session(row: Selectable<BrowserSessionsTable>, user: UserEntry): BrowserSession {
    return {
      id: row.id,
      email: user.name,
      user,
      caller: authenticatedCaller({
        principal: `User:${user.name}`,
        owner: user.name,
        ceilings: [],
        project: '*',
        surfaces: new Set(['consumer', 'operator'] as const),
      }),
      method: row.method as ProofMethod,
      createdAt: row.created_at,
      provenAt: row.proven_at,
      seenAt: row.seen_at,
      expiresAt: row.expires_at,
      address: row.address,
      agent: row.agent,
      outdated: row.rights !== this.#rightsOf(user),
    };
  }

  #rightsOf(user: UserEntry): string {
    const rights = this.#authorizer.rights().of(`User:${user.name}`);
    return sha256Hex(JSON.stringify([...new Set(rights.map(({ binding }) => bindingText(binding)))].sort()));
  }

  #signed(secret: string): string {
    return `${secret}.${this.#signature(secret)}`;
  }

  #verified(cookie: string): string | undefined {
    const [secret = '', signature = '', ...more] = cookie.length > 200 ? [] : cookie.split('.');
    if (more.length > 0 || credentialKind(secret) !== 'ses') return undefined;
    return isSame(signature, this.#signature(secret)) ? secret : undefined;
  }

  #familiarity(browser: string, { uid }: UserEntry): string {
    return this.#store.keys.mac('known-browser', `${browser} ${uid}`).slice(0, MAC_LENGTH);
  }

  #signature(secret: string): string {
    return this.#store.keys.mac('browser-session', secret).slice(0, MAC_LENGTH);
  }
}

/** Ends every session of a user but `keep`, in the transaction of what ends them. */
export async function endSessionsOf(
  db: Kysely<Schema>,
  uid: string,
  keep: string | undefined,
): Promise<void> {
  let ended = db.deleteFrom('browser_sessions').where('user_uid', '=', uid);
  if (keep !== undefined) ended = ended.where('id', '!=', keep);
  await ended.execute();
}

function about(event: 'browser.signed_in' | 'browser.proven' | 'browser.signed_out', email: string) {
  const actor = { kind: 'user', user: email } as const;
  return { event, outcome: 'ok', actor, target: `User/${email}` } as const;
}

function isSame(given: string, expected: string): boolean {
  const [one, other] = [Buffer.from(given), Buffer.from(expected)];
  return one.length === other.length && timingSafeEqual(one, other);
}
