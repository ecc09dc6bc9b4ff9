import { messageOf, Refusal } from '../base/errors.ts';
import { credentialKind, sha256Hex } from '../base/ids.ts';
import type { Logger } from '../base/logger.ts';
import { OneAtATime } from '../base/one-at-a-time.ts';
import { ok, type Result, refused } from '../base/result.ts';
import type { LayerEdit } from '../resources/layer-edit.ts';
import type { Resources } from '../resources/registry.ts';
import type { Store } from '../store/database.ts';
import { isUniqueViolation } from '../store/fault.ts';
import type { Authorizer } from './authorizer.ts';
import { type AuthenticatedCaller, authenticatedCaller, type Principal } from './caller.ts';
import { CallerCache } from './caller-cache.ts';
import { CredentialWatch } from './credential-watch.ts';
import { LastUsed } from './last-used.ts';
import { checkNewToken, grantedBindings, type NewToken, nameTaken } from './new-token.ts';
import {
  deleteTokens,
  insertToken,
  MAX_GENERATIONS,
  type Made,
  revokeTokens,
  rotateToken,
} from './token-changes.ts';
import {
  ceilingsBehind,
  rbacNameOf,
  recordOf,
  statusOf,
  surfacesOf,
  type TokenRecord,
  type TokenRow,
  tokenRows,
  userOfUid,
} from './token-record.ts';

/** malformed: no token of ours, or a typo · the others: well-formed, and this is why it opens nothing */
export type AuthenticationError = 'malformed' | 'unknown' | 'expired' | 'revoked';

/** The project tokens: made, listed, ended, and recognised on every call. */
export class Tokens {
  readonly #store: Store;
  readonly #resources: Resources;
  readonly #authorizer: Authorizer;
  readonly #logger: Logger;
  readonly #now: () => number;
  readonly #cache = new CallerCache();
  readonly #lastUsed: LastUsed;
  readonly #watch: CredentialWatch;
  readonly #lookUps = new OneAtATime<Result<AuthenticatedCaller, AuthenticationError>>();
  readonly #listeners = new Set<(tokenId: string) => void>();

  constructor(options: {
    store: Store;
    resources: Resources;
    authorizer: Authorizer;
    logger: Logger;
    now?: () => number;
  }) {
    this.#store = options.store;
    this.#resources = options.resources;
    this.#authorizer = options.authorizer;
    this.#logger = options.logger;
    this.#now = options.now ?? Date.now;
    this.#lastUsed = new LastUsed(options.store, options.logger);
    this.#watch = new CredentialWatch(
      (ids) => this.#livingOf(ids),
      options.logger,
      (id) => this.#tell(id),
    );
  }

  /**
   * Makes a token; `raw` is shown once and kept nowhere.
   * @throws Refusal `conflict` when an active token has the name, `forbidden` naming a right above the ceiling,
   * `invalid` naming the field, `unavailable`
   */
  async create(wanted: NewToken): Promise<{ record: TokenRecord; raw: string }> {
    const now = this.#now();
    checkNewToken(wanted, now);
    try {
      return this.#made(await this.#resources.edit((edit) => insertToken(edit, wanted, now)));
    } catch (error) {
      throw isUniqueViolation(error) ? nameTaken(wanted) : error;
    }
  }

  /** Refuses what `create` would refuse; makes nothing. */
  async check(wanted: NewToken): Promise<void> {
    const now = this.#now();
    checkNewToken(wanted, now);
    grantedBindings(wanted, this.#authorizer.rights().layersOf(wanted.creator));
    if (wanted.force) return;
    const [held] = await this.#find(wanted.project.name, wanted.name);
    if (held && statusOf(held, now) === 'active') throw nameTaken(wanted);
  }

  /**
   * Gives the token a new secret; the old one goes on for `overlapMs`.
   * @throws Refusal `conflict` when it is not active, `forbidden` when it may do what `by` may not
   */
  async rotate(
    record: TokenRecord,
    by: AuthenticatedCaller,
    overlapMs: number,
  ): Promise<{ record: TokenRecord; raw: string }> {
    const made = await this.#resources.edit(async (edit) => {
      const [row] = await this.#find(undefined, record.id, edit);
      if (!row) throw noSuchToken(undefined, record.name);
      return rotateToken(edit, row, by, overlapMs, this.#now());
    });
    return this.#made(made);
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
    const record = await this.find(project, nameOrId);
    if (!record) throw noSuchToken(project, nameOrId);
    return record;
  }

  /** The same, undefined when there is none. */
  async find(project: string | undefined, nameOrId: string): Promise<TokenRecord | undefined> {
    const [row] = await this.#find(project, nameOrId);
    return row && this.#record(row);
  }

  /** The token that is presented, whatever became of it; undefined for a text that is none of ours. */
  async ofRaw(raw: string): Promise<TokenRecord | undefined> {
    if (credentialKind(raw) !== 'pat') return undefined;
    const row = await tokenRows(this.#store.db).where('hash', '=', sha256Hex(raw)).executeTakeFirst();
    return row && this.#record(row);
  }

  /** Ends the token and those made with it, and keeps the rows; one that is revoked already stays as it is. */
  async revoke(project: string | undefined, nameOrId: string): Promise<TokenRecord> {
    const [row] = await this.#find(project, nameOrId);
    if (!row) throw noSuchToken(project, nameOrId);
    this.end(await this.#resources.edit((edit) => revokeTokens(edit, [row], this.#now())));
    return this.get(undefined, row.id);
  }

  /** Ends and forgets every token of that name, or the one of that id. */
  async remove(project: string | undefined, nameOrId: string): Promise<void> {
    const rows = await this.#find(project, nameOrId);
    if (rows.length === 0) throw noSuchToken(project, nameOrId);
    this.end(await this.#resources.edit((edit) => deleteTokens(edit, rows, this.#now())));
  }

  /** Forgets all tokens of a project that is being deleted; `end` them when the change is made. */
  async removeProject(edit: LayerEdit, projectUid: string): Promise<TokenRow[]> {
    const rows = await tokenRows(edit.transaction ?? this.#store.db)
      .where('project_uid', '=', projectUid)
      .execute();
    return deleteTokens(edit, rows, this.#now());
  }

  /** Revokes all tokens of a user who is being deleted; `end` them when the change is made. */
  async revokeOwned(edit: LayerEdit, userUid: string): Promise<TokenRow[]> {
    const rows = await tokenRows(edit.transaction ?? this.#store.db)
      .where('owner_id', '=', userUid)
      .execute();
    return revokeTokens(edit, rows, this.#now());
  }

  /** Users changed: whoever is known by a token of a user that is not active any more is looked up anew. */
  usersChanged(): void {
    const rights = this.#authorizer.rights();
    this.#cache.dropWhere((caller) => !rights.isActive(caller.owner));
  }

  /** Lets nothing of these tokens be remembered, and tells whoever lives on them. */
  end(rows: readonly TokenRow[]): void {
    for (const row of rows) {
      this.#cache.drop(row.hash);
      this.#lookUps.forget(row.hash);
      this.#tell(row.id);
    }
  }

  /** The answer without a look-up, from the last seconds; undefined means: ask `authenticate`. */
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
    return this.#lookUps.join(hash, () => this.#lookUp(raw, hash));
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
    const caller = await this.#callerOf(row);
    if (!caller.ok) return caller;
    const expiresAt = row.expires_at ?? Number.POSITIVE_INFINITY;
    this.#cache.keep(raw, { caller: caller.value, hash, readAt, expiresAt }, epoch);
    this.#lastUsed.note(row.id, readAt);
    return caller;
  }

  /** The caller that a token of this SHA-256 makes, for somebody who may act as it; undefined when it is not active. */
  async callerOf(hash: string): Promise<AuthenticatedCaller | undefined> {
    const row = await tokenRows(this.#store.db).where('hash', '=', hash).executeTakeFirst();
    const caller = row && (await this.#callerOf(row));
    return caller?.ok ? caller.value : undefined;
  }

  async #callerOf(row: TokenRow): Promise<Result<AuthenticatedCaller, AuthenticationError>> {
    const status = statusOf(row, this.#now());
    if (status !== 'active') return refused(status);
    const parents = await this.#parents(row);
    const owner = await this.#ownerOf(row);
    if (!parents || owner === undefined) return refused('revoked');
    const caller = authenticatedCaller({
      principal: `McpToken:${row.hash}`,
      owner,
      ceilings: [...parents, `User:${owner}`, ...ceilingsBehind(this.#resources.snapshot().access, row)],
      tokenId: row.id,
      credentialId: row.id,
      tokenName: row.name,
      project: row.project_name,
      projectUid: row.project_uid,
      surfaces: new Set(surfacesOf(row)),
    });
    return ok(caller);
  }

  /** The tokens that this one was made with, nearest first; undefined when one of them has ended. */
  async #parents(row: TokenRow): Promise<Principal[] | undefined> {
    const parents: Principal[] = [];
    for (let id = row.parent_id; id !== null; ) {
      const parent = await tokenRows(this.#store.db).where('id', '=', id).executeTakeFirst();
      const broken =
        !parent || statusOf(parent, this.#now()) !== 'active' || parents.length >= MAX_GENERATIONS;
      if (broken) return undefined;
      parents.push(`McpToken:${parent.hash}`);
      id = parent.parent_id;
    }
    return parents;
  }

  /** The active user behind a token. What another process has just made is read before anybody is turned away. */
  async #ownerOf(row: TokenRow): Promise<string | undefined> {
    const known = ({ access } = this.#resources.snapshot()) =>
      userOfUid(access, row.owner_id) !== undefined && access.rbacs.has(rbacNameOf(row.hash));
    if (!known()) await this.#resources.refresh();
    const owner = userOfUid(this.#resources.snapshot().access, row.owner_id);
    return owner && !owner.disabled ? owner.name : undefined;
  }

  async #find(project: string | undefined, nameOrId: string, edit?: LayerEdit): Promise<TokenRow[]> {
    let query = tokenRows(edit?.transaction ?? this.#store.db);
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

  async #made({ row, raw, ended }: Made): Promise<{ record: TokenRecord; raw: string }> {
    this.end(ended);
    return { record: this.#record(row), raw };
  }

  async #livingOf(ids: readonly string[]): Promise<ReadonlySet<string>> {
    const rows = await this.#store.db
      .selectFrom('mcp_tokens')
      .select('id')
      .where('id', 'in', ids)
      .where('revoked_at', 'is', null)
      .where((where) => where.or([where('expires_at', 'is', null), where('expires_at', '>', this.#now())]))
      .execute();
    return new Set(rows.map((row) => row.id));
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
    const { access } = this.#resources.snapshot();
    const usedAt = this.#lastUsed.waiting(row.id);
    const bindings = this.#authorizer
      .rights()
      .granted(`McpToken:${row.hash}`)
      .map((right) => right.binding);
    return recordOf(row, this.#now(), usedAt, userOfUid(access, row.owner_id)?.name, bindings);
  }
}

function noSuchToken(project: string | undefined, nameOrId: string): Refusal {
  const where = project === undefined ? '' : ` in project ${project}`;
  return new Refusal('not_found', `there is no token ${nameOrId}${where}`);
}
