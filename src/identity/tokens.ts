import { messageOf, Refusal } from '../base/errors.ts';
import { credentialKind, displayedPart, mintCredential, newId, sha256Hex } from '../base/ids.ts';
import type { Logger } from '../base/logger.ts';
import { ok, type Result, refused } from '../base/result.ts';
import type { Store } from '../store/database.ts';
import { isUniqueViolation } from '../store/fault.ts';
import { type AuthenticatedCaller, authenticatedCaller } from './caller.ts';
import { CallerCache } from './caller-cache.ts';
import { LastUsed } from './last-used.ts';
import { checkNewToken, grantedBindings, type NewToken, nameTaken } from './new-token.ts';
import {
  recordOf,
  statusOf,
  surfacesOf,
  type TokenRecord,
  type TokenRow,
  tokenRows,
} from './token-record.ts';
import { TokenWatch } from './token-watch.ts';

/** malformed: no token of ours, or a typo · the others: well-formed, and this is why it opens nothing */
export type AuthenticationError = 'malformed' | 'unknown' | 'expired' | 'revoked';

/** The project tokens: made, listed, ended, and recognised on every call. */
export class Tokens {
  readonly #store: Store;
  readonly #logger: Logger;
  readonly #now: () => number;
  readonly #cache = new CallerCache();
  readonly #lastUsed: LastUsed;
  readonly #watch: TokenWatch;
  readonly #lookUps = new Map<string, Promise<Result<AuthenticatedCaller, AuthenticationError>>>();
  readonly #listeners = new Set<(tokenId: string) => void>();

  constructor(options: { store: Store; logger: Logger; now?: () => number }) {
    this.#store = options.store;
    this.#logger = options.logger;
    this.#now = options.now ?? Date.now;
    this.#lastUsed = new LastUsed(options.store, options.logger);
    this.#watch = new TokenWatch(options.store, options.logger, this.#now, (id) => this.#tell(id));
  }

  /**
   * Makes a token; `raw` is shown once and kept nowhere.
   * @throws Refusal `conflict` when an active token has the name, `forbidden` naming a right above the ceiling,
   * `invalid` naming the field, `unavailable`
   */
  async create(wanted: NewToken): Promise<{ record: TokenRecord; raw: string }> {
    const now = this.#now();
    checkNewToken(wanted, now);
    const bindings = grantedBindings(wanted);
    const raw = mintCredential('pat');
    const id = newId('mct');
    const hash = sha256Hex(raw);
    let replaced: TokenRow[] = [];
    try {
      await this.#store.db.transaction().execute(async (transaction) => {
        const owner = await transaction
          .selectFrom('users')
          .select('id')
          .where('email', '=', wanted.owner)
          .executeTakeFirst();
        if (!owner) throw new Refusal('invalid', `owner: there is no user ${wanted.owner}`);
        replaced = await tokenRows(transaction)
          .where('project_uid', '=', wanted.project.uid)
          .where('mcp_tokens.name', '=', wanted.name)
          .where('released_at', 'is', null)
          .execute();
        for (const row of replaced) {
          const active = statusOf(row, now) === 'active';
          if (active && !wanted.force) throw nameTaken(wanted);
          await transaction
            .updateTable('mcp_tokens')
            .set({ released_at: now, ...(active ? { revoked_at: now } : {}) })
            .where('id', '=', row.id)
            .execute();
        }
        await transaction
          .insertInto('mcp_tokens')
          .values({
            id,
            hash,
            prefix: displayedPart(raw),
            name: wanted.name,
            project_name: wanted.project.name,
            project_uid: wanted.project.uid,
            owner_id: owner.id,
            surfaces: JSON.stringify([...new Set(wanted.surfaces)].sort()),
            rbac: wanted.rbac,
            bindings: JSON.stringify(bindings),
            description: wanted.description ?? '',
            created_at: now,
            expires_at: wanted.expiresAt,
            revoked_at: null,
            released_at: null,
            last_used_at: null,
          })
          .execute();
      });
    } catch (error) {
      // Two at once: the index on held names lets one through.
      throw isUniqueViolation(error) ? nameTaken(wanted) : error;
    }
    this.#end(replaced);
    return { record: await this.get(wanted.project.name, id), raw };
  }

  /** By project, name, then age, newest first; revoked and expired ones too. */
  async list(project?: string): Promise<TokenRecord[]> {
    let query = tokenRows(this.#store.db);
    if (project !== undefined) query = query.where('project_name', '=', project);
    const rows = await query
      .orderBy('project_name')
      .orderBy('mcp_tokens.name')
      .orderBy('mcp_tokens.created_at', 'desc')
      .execute();
    return rows.map((row) => this.#record(row));
  }

  /**
   * The token of that name, the one that holds it before those that held it earlier; or the one of that id, for which
   * the project may be left out.
   * @throws Refusal `not_found`
   */
  async get(project: string | undefined, nameOrId: string): Promise<TokenRecord> {
    const [row] = await this.#find(project, nameOrId);
    if (!row) throw noSuchToken(project, nameOrId);
    return this.#record(row);
  }

  /** Ends the token now and keeps its row; a token that is revoked already stays as it is. */
  async revoke(project: string | undefined, nameOrId: string): Promise<TokenRecord> {
    const [row] = await this.#find(project, nameOrId);
    if (!row) throw noSuchToken(project, nameOrId);
    const now = this.#now();
    await this.#store.db
      .updateTable('mcp_tokens')
      .set((set) => ({ revoked_at: now, released_at: set.fn.coalesce('released_at', set.val(now)) }))
      .where('id', '=', row.id)
      .where('revoked_at', 'is', null)
      .execute();
    this.#end([row]);
    return this.get(undefined, row.id);
  }

  /** Ends and forgets every token of that name, or the one of that id. */
  async remove(project: string | undefined, nameOrId: string): Promise<void> {
    const rows = await this.#find(project, nameOrId);
    if (rows.length === 0) throw noSuchToken(project, nameOrId);
    await this.#delete(rows);
  }

  /** Ends and forgets all tokens of a project that is being deleted. */
  async removeProject(projectUid: string): Promise<void> {
    await this.#delete(await tokenRows(this.#store.db).where('project_uid', '=', projectUid).execute());
  }

  /** The answer without a look-up, from the last five seconds; undefined means: ask `authenticate`. */
  peek(raw: string): AuthenticatedCaller | undefined {
    if (raw.length > 256) return undefined;
    const now = this.#now();
    const caller = this.#cache.get(raw, now);
    if (caller?.tokenId !== undefined) this.#lastUsed.note(caller.tokenId, now);
    return caller;
  }

  /** Who presents this token. Rejects with a Refusal `unavailable` alone, when the database is away. */
  async authenticate(raw: string): Promise<Result<AuthenticatedCaller, AuthenticationError>> {
    if (credentialKind(raw) !== 'pat') return refused('malformed');
    const known = this.peek(raw);
    if (known) return ok(known);
    const hash = sha256Hex(raw);
    let lookUp = this.#lookUps.get(hash);
    if (!lookUp) {
      lookUp = this.#lookUp(raw, hash).finally(() => {
        if (this.#lookUps.get(hash) === lookUp) this.#lookUps.delete(hash);
      });
      this.#lookUps.set(hash, lookUp);
    }
    return lookUp;
  }

  /** Called with the id of a token that ended: revoked, deleted, or, while it is held, expired or ended elsewhere. */
  onEnded(listener: (tokenId: string) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /**
   * Something lives on this token (a stream, a session): its end is told within two seconds, whoever ended it. May be
   * told more than once until the returned release is called.
   */
  hold(tokenId: string): () => void {
    return this.#watch.hold(tokenId);
  }

  /** Writes what waits; the store stays open. */
  async close(): Promise<void> {
    await this.#watch.close();
    await this.#lastUsed.close();
  }

  async #lookUp(raw: string, hash: string): Promise<Result<AuthenticatedCaller, AuthenticationError>> {
    const epoch = this.#cache.epoch;
    const readAt = this.#now();
    const row = await tokenRows(this.#store.db).where('hash', '=', hash).executeTakeFirst();
    if (!row) return refused('unknown');
    const status = statusOf(row, this.#now());
    if (status !== 'active') return refused(status);
    const caller = authenticatedCaller({
      principal: `McpToken:${hash}`,
      owner: row.owner,
      tokenId: row.id,
      tokenName: row.name,
      project: row.project_name,
      projectUid: row.project_uid,
      surfaces: new Set(surfacesOf(row)),
    });
    const expiresAt = row.expires_at ?? Number.POSITIVE_INFINITY;
    this.#cache.keep(raw, { caller, hash, readAt, expiresAt }, epoch);
    this.#lastUsed.note(row.id, readAt);
    return ok(caller);
  }

  async #find(project: string | undefined, nameOrId: string): Promise<TokenRow[]> {
    let query = tokenRows(this.#store.db);
    if (project === undefined) query = query.where('mcp_tokens.id', '=', nameOrId);
    else {
      query = query
        .where('project_name', '=', project)
        .where((where) =>
          where.or([where('mcp_tokens.name', '=', nameOrId), where('mcp_tokens.id', '=', nameOrId)]),
        );
    }
    const rows = await query.orderBy('mcp_tokens.created_at', 'desc').execute();
    return rows.sort((a, b) => Number(a.released_at !== null) - Number(b.released_at !== null));
  }

  async #delete(rows: readonly TokenRow[]): Promise<void> {
    if (rows.length === 0) return;
    const ids = rows.map((row) => row.id);
    await this.#store.db.deleteFrom('mcp_tokens').where('id', 'in', ids).execute();
    this.#end(rows);
  }

  #end(rows: readonly TokenRow[]): void {
    for (const row of rows) {
      this.#cache.drop(row.hash);
      this.#lookUps.delete(row.hash);
      this.#tell(row.id);
    }
  }

  #tell(tokenId: string): void {
    for (const listener of this.#listeners) {
      try {
        listener(tokenId);
      } catch (error) {
        this.#logger.error({ error: messageOf(error) }, 'a listener to ended tokens failed');
      }
    }
  }

  #record(row: TokenRow): TokenRecord {
    return recordOf(row, this.#now(), this.#lastUsed.waiting(row.id));
  }
}

function noSuchToken(project: string | undefined, nameOrId: string): Refusal {
  const where = project === undefined ? '' : ` in project ${project}`;
  return new Refusal('not_found', `there is no token ${nameOrId}${where}`);
}
