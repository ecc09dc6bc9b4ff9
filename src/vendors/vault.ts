import { randomUUID } from 'node:crypto';
import { type Kysely, sql, type Transaction } from 'kysely';
import type { LayerEdit } from '../resources/layer-edit.ts';
import type { Resources } from '../resources/registry.ts';
import type { Store } from '../store/database.ts';
import type { RingKey } from '../store/key-ring.ts';
import type { Schema } from '../store/schema.ts';
import {
  EVERYBODY,
  type Flow,
  type Grant,
  type GrantKey,
  type GrantStore,
  type KeptGrant,
  type KeptLogin,
  type LoginUnderWay,
  type Release,
} from './grants.ts';

type Db = Kysely<Schema> | Transaction<Schema>;
type Table = 'upstream_credentials' | 'upstream_logins';
type SealedRow = { server_uid: string; owner: string; part: string; sealed: string };

const PURPOSE = { upstream_credentials: 'upstream-credential', upstream_logins: 'upstream-login' } as const;
/** Which column, beside server and owner, a sealed text is bound to. */
const PART = { upstream_credentials: 'issuer', upstream_logins: 'id' } as const;
const RESEALED_AT_ONCE = 50;
const MAX_UNDER_WAY = 10;
/** Values that one statement lists. */
const MAX_LISTED = 500;

/**
 * Grants of vendors and sign-ins under way, sealed in the database. What is sealed is written alone among the writers of
 * all processes, so that no key is forgotten between sealing and storing.
 */
export class Vault implements GrantStore {
  readonly #store: Pick<Store, 'db' | 'keys' | 'dialect'>;
  readonly #resources: Pick<Resources, 'edit'>;

  readonly #instance = randomUUID();

  constructor(store: Pick<Store, 'db' | 'keys' | 'dialect'>, resources: Pick<Resources, 'edit'>) {
    this.#store = store;
    this.#resources = resources;
  }

  async read(key: GrantKey): Promise<KeptGrant | undefined> {
    const row = await this.#store.db
      .selectFrom('upstream_credentials')
      .selectAll()
      .where('server_uid', '=', key.server)
      .where('owner', '=', key.owner)
      .orderBy('updated_at', 'desc')
      .executeTakeFirst();
    if (!row) return undefined;
    const text = await this.#open('upstream_credentials', { ...row, part: row.issuer });
    const unreadable = 'it cannot be opened with the keys at hand';
    return {
      grant: (text === undefined ? {} : JSON.parse(text)) as Grant,
      version: Number(row.version),
      lost: text === undefined ? unreadable : (row.lost ?? undefined),
      lease: row.lease ?? undefined,
      leaseUntil: Number(row.lease_until),
      retryAt: Number(row.retry_at),
      failures: Number(row.failures),
    };
  }

  async settle(key: GrantKey, login: string, grant: Grant): Promise<boolean> {
    return this.#write(async (transaction) => {
      const ended = await transaction
        .deleteFrom('upstream_logins')
        .where('server_uid', '=', key.server)
        .where('owner', '=', key.owner)
        .where('id', '=', login)
        .executeTakeFirst();
      if (Number(ended.numDeletedRows) === 0) return false;
      const before = await transaction
        .selectFrom('upstream_credentials')
        .select((row) => row.fn.max('version').as('version'))
        .where('server_uid', '=', key.server)
        .where('owner', '=', key.owner)
        .executeTakeFirst();
      await forget(transaction, 'upstream_credentials', key);
      await transaction
        .insertInto('upstream_credentials')
        .values({
          server_uid: key.server,
          issuer: grant.issuer,
          owner: key.owner,
          ...this.#sealed('upstream_credentials', key, grant.issuer, grant),
          version: Number(before?.version ?? 0) + 1,
          lost: null,
          lease: null,
          lease_until: 0,
          retry_at: 0,
          failures: 0,
          updated_at: Date.now(),
        })
        .execute();
      return true;
    });
  }

  newLease(): string {
    return `${this.#instance}/${randomUUID()}`;
  }

  /** SQLite has one process, so what another one left is over. */
  isGone(lease: string): boolean {
    return this.#store.dialect === 'sqlite' && !lease.startsWith(this.#instance);
  }

  async lease(key: GrantKey, kept: KeptGrant, lease: string, until: number): Promise<boolean> {
    const { numUpdatedRows } = await this.#store.db
      .updateTable('upstream_credentials')
      .set({ lease, lease_until: until })
      .where('server_uid', '=', key.server)
      .where('owner', '=', key.owner)
      .where('issuer', '=', kept.grant.issuer)
      .where('version', '=', kept.version)
      .where('lease_until', '=', kept.leaseUntil)
      .executeTakeFirst();
    return Number(numUpdatedRows) === 1;
  }

  async extend(key: GrantKey, lease: string, until: number): Promise<void> {
    await this.#store.db
      .updateTable('upstream_credentials')
      .set({ lease_until: until })
      .where('server_uid', '=', key.server)
      .where('owner', '=', key.owner)
      .where('lease', '=', lease)
      .where('lease_until', '>', 0)
      .execute();
  }

  async renew(key: GrantKey, { version }: KeptGrant, grant: Grant): Promise<boolean> {
    return this.#write(async (transaction) => {
      const { numUpdatedRows } = await transaction
        .updateTable('upstream_credentials')
        .set({
          ...this.#sealed('upstream_credentials', key, grant.issuer, grant),
          ...{ version: version + 1, lost: null, lease: null, lease_until: 0, retry_at: 0, failures: 0 },
          updated_at: Date.now(),
        })
        .where('server_uid', '=', key.server)
        .where('owner', '=', key.owner)
        .where('issuer', '=', grant.issuer)
        .where('version', '=', version)
        .executeTakeFirst();
      return Number(numUpdatedRows) === 1;
    });
  }

  async release(key: GrantKey, { version }: KeptGrant, lease: string, change: Release): Promise<void> {
    await this.#store.db
      .updateTable('upstream_credentials')
      .set({
        lost: change.lost ?? null,
        ...{ retry_at: change.retryAt ?? 0, failures: change.failures ?? 0 },
        ...{ lease: change.unanswered ? lease : null, lease_until: 0 },
      })
      .where('server_uid', '=', key.server)
      .where('owner', '=', key.owner)
      .where('version', '=', version)
      .where('lease', '=', lease)
      .execute();
  }

  async remove(key: GrantKey): Promise<{ grant: Grant | undefined; any: boolean }> {
    const kept = await this.read(key);
    return this.#write(async (transaction) => {
      const grants = await forget(transaction, 'upstream_credentials', key);
      const logins = await forget(transaction, 'upstream_logins', key);
      const grant = kept?.lost === undefined ? kept?.grant : undefined;
      return { grant, any: grants + logins > 0 };
    });
  }

  async begin<T>(key: GrantKey, login: KeptLogin<T>): Promise<void> {
    await this.#write(async (transaction) => {
      await transaction.deleteFrom('upstream_logins').where('expires_at', '<=', Date.now()).execute();
      const others = await transaction
        .selectFrom('upstream_logins')
        .select(['id', 'flow'])
        .where('server_uid', '=', key.server)
        .where('owner', '=', key.owner)
        .orderBy('begun_at', 'desc')
        .execute();
      const over = others.filter(
        ({ flow }, at) => at >= MAX_UNDER_WAY - 1 || (flow === 'device' && login.flow === 'device'),
      );
      if (over.length > 0) {
        const ids = over.map(({ id }) => id);
        await transaction.deleteFrom('upstream_logins').where('id', 'in', ids).execute();
      }
      await transaction
        .insertInto('upstream_logins')
        .values({
          id: login.id,
          server_uid: key.server,
          owner: key.owner,
          ...this.#sealed('upstream_logins', key, login.id, login.details),
          flow: login.flow,
          ...{ begun_at: Date.now(), poll_at: login.pollAt, expires_at: login.expiresAt },
        })
        .execute();
    });
  }

  async logins<T>(key: GrantKey): Promise<KeptLogin<T>[]> {
    const rows = await this.#store.db
      .selectFrom('upstream_logins')
      .selectAll()
      .where('server_uid', '=', key.server)
      .where('owner', '=', key.owner)
      .where('expires_at', '>', Date.now())
      .orderBy('begun_at', 'desc')
      .execute();
    const logins: KeptLogin<T>[] = [];
    for (const row of rows) {
      const text = await this.#open('upstream_logins', { ...row, part: row.id });
      if (text === undefined) continue;
      const { id, flow, poll_at, expires_at } = row;
      const times = { pollAt: Number(poll_at), expiresAt: Number(expires_at) };
      logins.push({ id, flow: flow as Flow, details: JSON.parse(text) as T, ...times });
    }
    return logins;
  }

  async underWay(): Promise<LoginUnderWay[]> {
    const rows = await this.#store.db
      .selectFrom('upstream_logins')
      .select(['server_uid', 'owner', 'flow', 'expires_at'])
      .where('expires_at', '>', Date.now())
      .orderBy('begun_at', 'asc')
      .execute();
    return rows.map(({ server_uid: server, owner, flow, expires_at }) => ({
      ...{ server, owner, flow: flow as Flow, expiresAt: Number(expires_at) },
    }));
  }

  async takePoll(key: GrantKey, { id, pollAt }: KeptLogin<unknown>, next: number): Promise<boolean> {
    const { numUpdatedRows } = await this.#store.db
      .updateTable('upstream_logins')
      .set({ poll_at: next })
      .where('server_uid', '=', key.server)
      .where('owner', '=', key.owner)
      .where('id', '=', id)
      .where('poll_at', '=', pollAt)
      .executeTakeFirst();
    return Number(numUpdatedRows) === 1;
  }

  async slowDown<T>(key: GrantKey, { id }: KeptLogin<T>, details: T, next: number): Promise<void> {
    await this.#write(async (transaction) => {
      await transaction
        .updateTable('upstream_logins')
        .set({ ...this.#sealed('upstream_logins', key, id, details), poll_at: next })
        .where('server_uid', '=', key.server)
        .where('owner', '=', key.owner)
        .where('id', '=', id)
        .execute();
    });
  }

  async endLogin(key: GrantKey, id: string): Promise<void> {
    await this.#store.db
      .deleteFrom('upstream_logins')
      .where('server_uid', '=', key.server)
      .where('owner', '=', key.owner)
      .where('id', '=', id)
      .execute();
  }

  /** Forgets what belongs to these servers, and to users that are gone. */
  async prune(servers: readonly string[]): Promise<void> {
    await this.#write(async (transaction, edit) => {
      const { users } = edit.access();
      for (const table of ['upstream_credentials', 'upstream_logins', 'upstream_scopes'] as const) {
        const owners = await transaction
          .selectFrom(table)
          .select('owner')
          .distinct()
          .where('owner', '!=', EVERYBODY)
          .execute();
        const gone = owners.map(({ owner }) => owner).filter((owner) => !users.has(owner));
        for (const uids of inParts(servers))
          await transaction.deleteFrom(table).where('server_uid', 'in', uids).execute();
        for (const emails of inParts(gone))
          await transaction.deleteFrom(table).where('owner', 'in', emails).execute();
      }
    });
  }

  /** See SecretValues.reseal. */
  async reseal(db: Kysely<Schema>): Promise<{ resealed: number; unreadable: string[] }> {
    const one = await this.#resealTable(db, 'upstream_credentials');
    const other = await this.#resealTable(db, 'upstream_logins');
    return {
      resealed: one.resealed + other.resealed,
      unreadable: [...one.unreadable, ...other.unreadable],
    };
  }

  /** How many texts lie under these keys. */
  async sealedUnder(db: Db, keys: readonly RingKey[]): Promise<number> {
    const ids = sql.join(keys.map(({ id }) => sql.val(id)));
    const { rows } = await sql<{ count: number | string }>`
      select (select count(*) from upstream_credentials where key_id in (${ids}))
        + (select count(*) from upstream_logins where key_id in (${ids})) as count`.execute(db);
    return Number(rows[0]?.count ?? 0);
  }

  async #resealTable(db: Kysely<Schema>, table: Table): Promise<{ resealed: number; unreadable: string[] }> {
    const part = sql.ref(PART[table]);
    const unreadable: string[] = [];
    let resealed = 0;
    let after = '';
    for (;;) {
      const { rows } = await sql<SealedRow>`
        select server_uid, owner, ${part} as part, sealed from ${sql.table(table)}
        where key_id != ${this.#store.keys.sealer.keyId} and sealed > ${after}
        order by sealed limit ${sql.lit(RESEALED_AT_ONCE)}`.execute(db);
      const last = rows.at(-1);
      if (!last) return { resealed, unreadable };
      after = last.sealed;
      for (const row of rows) {
        const text = await this.#open(table, row);
        if (text === undefined) {
          unreadable.push(`the sign-in of server ${row.server_uid}`);
          continue;
        }
        const { sealer } = this.#store.keys;
        const sealed = sealer.seal(PURPOSE[table], text, contextOf(row));
        const { numAffectedRows } = await sql`
          update ${sql.table(table)} set key_id = ${sealer.keyId}, sealed = ${sealed}
          where server_uid = ${row.server_uid} and owner = ${row.owner} and sealed = ${row.sealed}`.execute(
          db,
        );
        resealed += Number(numAffectedRows ?? 0);
      }
    }
  }

  #write<T>(work: (transaction: Transaction<Schema>, edit: LayerEdit) => Promise<T>): Promise<T> {
    return this.#resources.edit(async (edit) => {
      const { transaction } = edit;
      if (!transaction) throw new Error('a write of the vault has no transaction');
      // A key that another process has just put in place seals this already.
      await this.#store.keys.refreshIn(transaction);
      return work(transaction, edit);
    });
  }

  #sealed(
    table: Table,
    { server, owner }: GrantKey,
    part: string,
    value: unknown,
  ): { key_id: string; sealed: string } {
    const { sealer } = this.#store.keys;
    const context = contextOf({ server_uid: server, owner, part });
    return { key_id: sealer.keyId, sealed: sealer.seal(PURPOSE[table], JSON.stringify(value), context) };
  }

  async #open(table: Table, row: SealedRow): Promise<string | undefined> {
    const { keys, db } = this.#store;
    const open = () => keys.sealer.open(PURPOSE[table], row.sealed, contextOf(row));
    let opened = open();
    if (!opened.ok && opened.error === 'unknown_key') {
      // Sealed by a process that knew a new key before this one did.
      await keys.refreshIn(db);
      opened = open();
    }
    return opened.ok ? opened.value : undefined;
  }
}

async function forget(
  transaction: Transaction<Schema>,
  table: Table,
  { server, owner }: GrantKey,
): Promise<number> {
  const { numDeletedRows } = await transaction
    .deleteFrom(table)
    .where('server_uid', '=', server)
    .where('owner', '=', owner)
    .executeTakeFirst();
  return Number(numDeletedRows);
}

function inParts(values: readonly string[]): string[][] {
  const count = Math.ceil(values.length / MAX_LISTED);
  return Array.from({ length: count }, (_, at) => values.slice(at * MAX_LISTED, (at + 1) * MAX_LISTED));
}

const contextOf = ({ server_uid, owner, part }: Omit<SealedRow, 'sealed'>) =>
  `${server_uid}/${owner}/${part}`;
