import { credentialKind, sha256Hex } from '../base/ids.ts';
import type { Logger } from '../base/logger.ts';
import { OneAtATime } from '../base/one-at-a-time.ts';
import { ok, type Result, refused } from '../base/result.ts';
import type { AccessTokenVerifier } from '../identity/authenticator.ts';
import { type AuthenticatedCaller, authenticatedCaller, type Principal } from '../identity/caller.ts';
import { CallerCache } from '../identity/caller-cache.ts';
import { CredentialWatch } from '../identity/credential-watch.ts';
import { userOfUid } from '../identity/token-record.ts';
import type { AuthenticationError } from '../identity/tokens.ts';
import type { Resources } from '../resources/registry.ts';
import type { Store } from '../store/database.ts';
import type { OauthArtifactsTable } from '../store/schema-people.ts';
import { projectOfUid } from './grants.ts';
import type { RegisteredClients } from './registered-clients.ts';
import { surfacesOfScopes } from './scopes.ts';

/** Whose rights bound a token beside its user's; undefined when it opens nothing any more. */
type Answering = RegisteredClients['answering'];
type Outcome = Result<AuthenticatedCaller, AuthenticationError>;

/** What says who presents a token. */
const WHOSE = [
  'token.user_uid',
  'token.client_id',
  'token.project_uid',
  'token.payload',
  'token.kind',
] as const;

/** The access tokens of OAuth clients, recognised on every call; a look-up is remembered for five seconds. */
export class AccessTokens implements AccessTokenVerifier {
  readonly #store: Pick<Store, 'db'>;
  readonly #resources: Pick<Resources, 'snapshot' | 'refresh'>;
  readonly #answering: Answering;
  readonly #now: () => number;
  readonly #cache = new CallerCache();
  readonly #watch: CredentialWatch;
  readonly #lookUps = new OneAtATime<Outcome>();
  #onEnded: ((credentialId: string) => void) | undefined;

  constructor(options: {
    store: Pick<Store, 'db'>;
    resources: Pick<Resources, 'snapshot' | 'refresh'>;
    answering: Answering;
    logger: Logger;
    now?: () => number;
  }) {
    this.#store = options.store;
    this.#resources = options.resources;
    this.#answering = options.answering;
    this.#now = options.now ?? Date.now;
    this.#watch = new CredentialWatch(
      (hashes) => this.#livingOf(hashes),
      options.logger,
      (hash) => this.#onEnded?.(hash),
    );
  }

  /** The answer without a look-up, from the last five seconds; undefined means: ask `authenticate`. */
  peek(raw: string): AuthenticatedCaller | undefined {
    return raw.length > 256 ? undefined : this.#cache.get(raw, this.#now());
  }

  /** Who presents this token. Rejects with a Refusal `unavailable` alone, when the database is away. */
  async authenticate(raw: string): Promise<Outcome> {
    if (credentialKind(raw) !== 'at') return refused('malformed');
    const known = this.peek(raw);
    if (known) return ok(known);
    const hash = sha256Hex(raw);
    return this.#lookUps.join(hash, () => this.#lookUp(raw, hash));
  }

  /** Calls `listener` with the `credentialId` of a held token that ended. */
  onEnded(listener: (credentialId: string) => void): void {
    this.#onEnded = listener;
  }

  /** Something lives on this token: its end is told within two seconds, whoever ended it. */
  hold(credentialId: string): () => void {
    return this.#watch.hold(credentialId);
  }

  /** Tokens were ended, or users changed: nothing is remembered from before. */
  forget(): void {
    this.#lookUps.forgetAll();
    this.#cache.dropWhere(() => true);
    void this.#watch.look();
  }

  close(): Promise<void> {
    return this.#watch.close();
  }

  async #lookUp(raw: string, hash: string): Promise<Outcome> {
    const epoch = this.#cache.epoch;
    const readAt = this.#now();
    const row = await this.#rows()
      .select(['token.expires_at', ...WHOSE])
      .where('token.id_hash', '=', hash)
      .executeTakeFirst();
    if (!row) return refused('unknown');
    if (row.expires_at <= readAt) return refused('expired');
    const caller = await this.#callerOf(row, hash);
    if (!caller) return refused('revoked');
    this.#cache.keep(raw, { caller, hash, readAt, expiresAt: row.expires_at }, epoch);
    return ok(caller);
  }

  async #callerOf(
    row: Pick<OauthArtifactsTable, 'user_uid' | 'client_id' | 'project_uid' | 'payload' | 'kind'>,
    hash: string,
  ): Promise<AuthenticatedCaller | undefined> {
    const { user_uid: userUid, client_id: clientId, project_uid: projectUid } = row;
    if (userUid === null || clientId === null || projectUid === null) return undefined;
    // What another process has just made is read before anybody is turned away.
    const found = this.#named(userUid, projectUid);
    if (!found) await this.#resources.refresh();
    const named = found ?? this.#named(userUid, projectUid);
    if (!named) return undefined;
    const kind = row.kind === 'ClientCredentials' ? row.kind : 'AccessToken';
    const answering = await this.#answering(clientId, named.owner, kind);
    const { scope } = JSON.parse(row.payload) as { scope?: string };
    return (
      answering &&
      authenticatedCaller({
        principal: `OAuthClient:${clientId}`,
        owner: named.owner,
        ceilings: [...new Set<Principal>([`User:${named.owner}`, ...answering])],
        credentialId: hash,
        project: named.project,
        ...(projectUid !== '' && { projectUid }),
        surfaces: surfacesOfScopes(scope?.split(' ') ?? []),
      })
    );
  }

  /** The active user and the project behind a token; undefined where one of them is gone. */
  #named(userUid: string, projectUid: string): { owner: string; project: string } | undefined {
    const snapshot = this.#resources.snapshot();
    const owner = userOfUid(snapshot.access, userUid);
    const project = projectUid === '' ? '*' : projectOfUid(snapshot, projectUid)?.name;
    return owner && !owner.disabled && project !== undefined ? { owner: owner.name, project } : undefined;
  }

  /** Whether the access token of this hash still opens something. */
  async lives(hash: string): Promise<boolean> {
    return (await this.#livingOf([hash])).has(hash);
  }

  /** What lives on a token asks for the same as what comes with it. */
  async #livingOf(hashes: readonly string[]): Promise<ReadonlySet<string>> {
    const rows = await this.#rows()
      .select(['token.id_hash', ...WHOSE])
      .where('token.id_hash', 'in', hashes)
      .where('token.expires_at', '>', this.#now())
      .execute();
    const living = new Set<string>();
    for (const row of rows) if (await this.#callerOf(row, row.id_hash)) living.add(row.id_hash);
    return living;
  }

  /** Access tokens whose authorization is still there; those of client credentials need none. */
  #rows() {
    return this.#store.db
      .selectFrom('oauth_artifacts as token')
      .leftJoin('oauth_artifacts as authorization', (join) =>
        join.onRef('authorization.id_hash', '=', 'token.family').on('authorization.kind', '=', 'Grant'),
      )
      .where((where) =>
        where.or([
          where('token.kind', '=', 'ClientCredentials'),
          where.and([
            where('token.kind', '=', 'AccessToken'),
            where('authorization.id_hash', 'is not', null),
            where('authorization.expires_at', '>', this.#now()),
          ]),
        ]),
      );
  }
}
