import type { Audit } from '../audit/audit.ts';
import { Refusal } from '../base/errors.ts';
import { newId } from '../base/ids.ts';
import { userOfUid } from '../identity/token-record.ts';
import type { Resources } from '../resources/registry.ts';
import type { Snapshot } from '../resources/spec.ts';
import type { Store } from '../store/database.ts';
import type { OauthGrantsTable } from '../store/schema-people.ts';
import type { Artifacts } from './artifacts.ts';
import { coversScopes } from './requested-access.ts';

/** What a user allowed a client. Times are milliseconds since 1970. */
export type GrantRecord = {
  id: string;
  /** E-mail; undefined when that user is gone. */
  user: string | undefined;
  clientId: string;
  clientName: string;
  /** Undefined: everything, or, where `projectUid` is given, a project that is gone. */
  project: string | undefined;
  projectUid: string | undefined;
  scopes: string[];
  createdAt: number;
  updatedAt: number;
  /** When a token was last issued under it. */
  lastUsedAt: number | null;
};

/** Who allows what to whom. */
export type Consent = {
  userUid: string;
  clientId: string;
  clientName: string;
  /** Empty: everything. */
  projectUid: string;
  scopes: readonly string[];
};

const MAX_LISTED = 10_000;

/** The consents of users, remembered for each user, client and project until they are withdrawn. */
export class Grants {
  readonly #store: Pick<Store, 'db'>;
  readonly #resources: Pick<Resources, 'snapshot'>;
  readonly #artifacts: Artifacts;
  readonly #audit: Audit;
  readonly #now: () => number;

  constructor(options: {
    store: Pick<Store, 'db'>;
    resources: Pick<Resources, 'snapshot'>;
    artifacts: Artifacts;
    audit: Audit;
    now?: () => number;
  }) {
    this.#store = options.store;
    this.#resources = options.resources;
    this.#artifacts = options.artifacts;
    this.#audit = options.audit;
    this.#now = options.now ?? Date.now;
  }

  /** Remembers a consent, beside what was allowed before. */
  async allow(consent: Consent): Promise<void> {
    const now = this.#now();
    await this.#store.db.transaction().execute(async (transaction) => {
      const before = await this.#find(consent, transaction);
      const scopes = [...new Set([...(before ? before.scopes.split(' ') : []), ...consent.scopes])].join(' ');
      const row = { scopes, client_name: consent.clientName, updated_at: now };
      const id = before?.id ?? newId('grn');
      await transaction
        .insertInto('oauth_grants')
        .values({
          id,
          user_uid: consent.userUid,
          client_id: consent.clientId,
          project_uid: consent.projectUid,
          created_at: now,
          ...row,
        })
        .onConflict((conflict) => conflict.columns(['user_uid', 'client_id', 'project_uid']).doUpdateSet(row))
        .execute();
      await this.#audit.append(transaction, {
        event: 'grant.created',
        outcome: 'ok',
        target: `Grant/${id}`,
        ...this.#projectNamed(consent.projectUid),
        detail: { client: consent.clientId, scopes: [...consent.scopes] },
      });
    });
  }

  /** Whether the user allowed all of this before. */
  async covers(consent: Omit<Consent, 'clientName'>): Promise<boolean> {
    const row = await this.#find(consent, this.#store.db);
    return row !== undefined && coversScopes(row.scopes.split(' '), consent.scopes);
  }

  /** A token was issued under it. */
  async used(consent: Pick<Consent, 'userUid' | 'clientId' | 'projectUid'>): Promise<void> {
    await this.#store.db
      .updateTable('oauth_grants')
      .set({ last_used_at: this.#now() })
      .where('user_uid', '=', consent.userUid)
      .where('client_id', '=', consent.clientId)
      .where('project_uid', '=', consent.projectUid)
      .execute();
  }

  /** Newest first; of one user, or of all. */
  async list(userUid?: string): Promise<GrantRecord[]> {
    let query = this.#store.db.selectFrom('oauth_grants').selectAll();
    if (userUid !== undefined) query = query.where('user_uid', '=', userUid);
    const rows = await query.orderBy('created_at', 'desc').orderBy('id').limit(MAX_LISTED).execute();
    const snapshot = this.#resources.snapshot();
    return rows.map((row) => recordOf(row, snapshot));
  }

  async find(id: string): Promise<GrantRecord | undefined> {
    const row = await this.#store.db
      .selectFrom('oauth_grants')
      .selectAll()
      .where('id', '=', id)
      .executeTakeFirst();
    return row && recordOf(row, this.#resources.snapshot());
  }

  /** Forgets the consent and ends every token under it. @throws Refusal `not_found` */
  async withdraw(id: string): Promise<void> {
    const row = await this.#store.db.transaction().execute(async (transaction) => {
      const gone = await transaction
        .deleteFrom('oauth_grants')
        .where('id', '=', id)
        .returningAll()
        .executeTakeFirst();
      if (!gone) throw new Refusal('not_found', `there is no grant ${id}`);
      await this.#audit.append(transaction, {
        event: 'grant.deleted',
        outcome: 'ok',
        target: `Grant/${id}`,
        ...this.#projectNamed(gone.project_uid),
        detail: { client: gone.client_id },
      });
      return gone;
    });
    await this.#artifacts.endParty({
      clientId: row.client_id,
      userUid: row.user_uid,
      projectUid: row.project_uid,
    });
  }

  /** The clients that have something: consents, or tokens. */
  async clientIds(): Promise<string[]> {
    const { db } = this.#store;
    const rows = await db
      .selectFrom('oauth_grants')
      .select('client_id')
      .union(
        db
          .selectFrom('oauth_artifacts')
          .select('client_id')
          .where('client_id', 'is not', null)
          .$narrowType<{ client_id: string }>(),
      )
      .execute();
    return rows.map((row) => row.client_id);
  }

  /** A user or a project is gone: ends all tokens and forgets all consents of it. */
  async endAll(of: { userUid: string } | { projectUid: string }): Promise<void> {
    const gone = this.#store.db.deleteFrom('oauth_grants');
    await ('userUid' in of
      ? gone.where('user_uid', '=', of.userUid)
      : gone.where('project_uid', '=', of.projectUid)
    ).execute();
    await this.#artifacts.endParty(of);
  }

  /** A client is gone, or nothing that it was given may be used any more: ends its tokens and forgets its consents. */
  async endClient(clientId: string): Promise<void> {
    await this.#store.db.deleteFrom('oauth_grants').where('client_id', '=', clientId).execute();
    await this.#artifacts.endParty({ clientId });
  }

  #find(consent: Pick<Consent, 'userUid' | 'clientId' | 'projectUid'>, db: Store['db']) {
    return db
      .selectFrom('oauth_grants')
      .select(['id', 'scopes'])
      .where('user_uid', '=', consent.userUid)
      .where('client_id', '=', consent.clientId)
      .where('project_uid', '=', consent.projectUid)
      .executeTakeFirst();
  }

  #projectNamed(uid: string): { project?: string } {
    const name = projectOfUid(this.#resources.snapshot(), uid)?.name;
    return name === undefined ? {} : { project: name };
  }
}

export function projectOfUid({ projects }: Pick<Snapshot, 'projects'>, uid: string) {
  for (const project of projects.values()) if (project.uid === uid) return project;
  return undefined;
}

function recordOf(
  row: { [Column in keyof OauthGrantsTable]: OauthGrantsTable[Column] },
  snapshot: Snapshot,
): GrantRecord {
  return {
    id: row.id,
    user: userOfUid(snapshot.access, row.user_uid)?.name,
    clientId: row.client_id,
    clientName: row.client_name,
    project: projectOfUid(snapshot, row.project_uid)?.name,
    projectUid: row.project_uid || undefined,
    scopes: row.scopes.split(' '),
    createdAt: row.created_at,
    updatedAt: row.updated_at,
    lastUsedAt: row.last_used_at,
  };
}
