import { type Kysely, sql, type Transaction } from 'kysely';
import type { Resources } from '../resources/registry.ts';
import type { Store } from '../store/database.ts';
import type { RingKey } from '../store/key-ring.ts';
import type { Schema } from '../store/schema.ts';
import type { VendorClient } from './client-proof.ts';
import type { Tokens } from './tokens.ts';

/** A grant of a vendor, with all that its next refresh needs. */
export type Grant = {
  tokens: Tokens;
  issuer: string;
  /** Of the server, when somebody signed in: the tokens go nowhere else. */
  url: string;
  /** For whom the tokens are. */
  resource: string | undefined;
  tokenEndpoint: string;
  client: VendorClient;
};

export type KeptGrant = {
  grant: Grant;
  version: number;
  /** Why it is of no use any more. */
  lost: string | undefined;
  leaseUntil: number;
  retryAt: number;
  failures: number;
};

export type Flow = 'device' | 'paste';
export type KeptLogin<T> = { id: string; flow: Flow; details: T; pollAt: number; expiresAt: number };

type Db = Kysely<Schema> | Transaction<Schema>;
type Table = 'upstream_credentials' | 'upstream_logins';
type SealedRow = { server_uid: string; owner: string; part: string; sealed: string };

const PURPOSE = { upstream_credentials: 'upstream-credential', upstream_logins: 'upstream-login' } as const;
/** Which column, beside server and owner, a sealed text is bound to. */
const PART = { upstream_credentials: 'issuer', upstream_logins: 'id' } as const;
/** Nobody's in particular. */
const EVERYBODY = '';
const RESEALED_AT_ONCE = 50;

/**
 * Grants of vendors and sign-ins under way, sealed. Every write happens alone among the writers of all processes, so
 * that no key is forgotten between sealing and storing; a grant is changed only by whoever holds its lease.
 */
export class Vault {
  readonly #store: Pick<Store, 'db' | 'keys'>;
  readonly #resources: Pick<Resources, 'edit'>;

  constructor(store: Pick<Store, 'db' | 'keys'>, resources: Pick<Resources, 'edit'>) {
    this.#store = store;
    this.#resources = resources;
  }

  /** The grant of a server; undefined: nobody signed in. One that cannot be opened is lost. */
  async read(server: string): Promise<KeptGrant | undefined> {
    const row = await this.#store.db
      .selectFrom('upstream_credentials')
      .selectAll()
      .where('server_uid', '=', server)
      .where('owner', '=', EVERYBODY)
      .orderBy('updated_at', 'desc')
      .executeTakeFirst();
    if (!row) return undefined;
    const text = await this.#open('upstream_credentials', { ...row, part: row.issuer });
    const unreadable = 'it cannot be opened with the keys at hand';
    return {
      grant: (text === undefined ? {} : JSON.parse(text)) as Grant,
      version: Number(row.version),
      lost: text === undefined ? unreadable : (row.lost ?? undefined),
      leaseUntil: Number(row.lease_until),
      retryAt: Number(row.retry_at),
      failures: Number(row.failures),
    };
  }

  /** Keeps what a sign-in brought, instead of whatever was there, and ends the sign-in. False: another one began. */
  async settle(server: string, login: string, grant: Grant): Promise<boolean> {
    return this.#write(async (transaction) => {
      const ended = await transaction
        .deleteFrom('upstream_logins')
        .where('server_uid', '=', server)
        .where('owner', '=', EVERYBODY)
        .where('id', '=', login)
        .executeTakeFirst();
      if (Number(ended.numDeletedRows) === 0) return false;
      const before = await transaction
        .selectFrom('upstream_credentials')
        .select((row) => row.fn.max('version').as('version'))
        .where('server_uid', '=', server)
        .where('owner', '=', EVERYBODY)
        .executeTakeFirst();
      await this.#forget(transaction, server);
      await transaction
        .insertInto('upstream_credentials')
        .values({
          server_uid: server,
          issuer: grant.issuer,
          owner: EVERYBODY,
          ...this.#sealed('upstream_credentials', server, grant.issuer, grant),
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

  /** Takes the right to refresh this version; whoever dies with it is waited for until `until`. */
  async lease(server: string, { version, grant }: KeptGrant, lease: string, until: number): Promise<boolean> {
    const { numUpdatedRows } = await this.#store.db
      .updateTable('upstream_credentials')
      .set({ lease, lease_until: until })
      .where('server_uid', '=', server)
      .where('owner', '=', EVERYBODY)
      .where('issuer', '=', grant.issuer)
      .where('version', '=', version)
      .where('lease_until', '<=', Date.now())
      .executeTakeFirst();
    return Number(numUpdatedRows) === 1;
  }

  /** Keeps the tokens of a refresh under the lease that it was made with. False: a newer grant is there. */
  async renew(server: string, { version }: KeptGrant, lease: string, grant: Grant): Promise<boolean> {
    return this.#write(async (transaction) => {
      const { numUpdatedRows } = await transaction
        .updateTable('upstream_credentials')
        .set({
          ...this.#sealed('upstream_credentials', server, grant.issuer, grant),
          ...{ version: version + 1, lost: null, lease: null, lease_until: 0, retry_at: 0, failures: 0 },
          updated_at: Date.now(),
        })
        .where('server_uid', '=', server)
        .where('owner', '=', EVERYBODY)
        .where('version', '=', version)
        .where('lease', '=', lease)
        .executeTakeFirst();
      return Number(numUpdatedRows) === 1;
    });
  }

  /** Gives a lease back without new tokens. */
  async release(
    server: string,
    { version }: KeptGrant,
    lease: string,
    change: { lost?: string; retryAt?: number; failures?: number },
  ): Promise<void> {
    await this.#store.db
      .updateTable('upstream_credentials')
      .set({
        lost: change.lost ?? null,
        ...{ retry_at: change.retryAt ?? 0, failures: change.failures ?? 0 },
        ...{ lease: null, lease_until: 0 },
      })
      .where('server_uid', '=', server)
      .where('owner', '=', EVERYBODY)
      .where('version', '=', version)
      .where('lease', '=', lease)
      .execute();
  }

  /** Removes the grant of a server and a sign-in under way. False: there was neither. */
  async remove(server: string): Promise<boolean> {
    return this.#write(async (transaction) => {
      const grants = await this.#forget(transaction, server);
      const logins = await transaction
        .deleteFrom('upstream_logins')
        .where('server_uid', '=', server)
        .where('owner', '=', EVERYBODY)
        .executeTakeFirst();
      return grants + Number(logins.numDeletedRows) > 0;
    });
  }

  /** The sign-in that was begun last replaces any other. */
  async begin<T>(server: string, login: KeptLogin<T>): Promise<void> {
    await this.#write(async (transaction) => {
      await transaction.deleteFrom('upstream_logins').where('expires_at', '<=', Date.now()).execute();
      const row = {
        id: login.id,
        ...this.#sealed('upstream_logins', server, login.id, login.details),
        flow: login.flow,
        ...{ poll_at: login.pollAt, expires_at: login.expiresAt },
      };
      await transaction
        .insertInto('upstream_logins')
        .values({ server_uid: server, owner: EVERYBODY, ...row })
        .onConflict((conflict) => conflict.columns(['server_uid', 'owner']).doUpdateSet(row))
        .execute();
    });
  }

  async login<T>(server: string): Promise<KeptLogin<T> | undefined> {
    const row = await this.#store.db
      .selectFrom('upstream_logins')
      .selectAll()
      .where('server_uid', '=', server)
      .where('owner', '=', EVERYBODY)
      .where('expires_at', '>', Date.now())
      .executeTakeFirst();
    const text = row && (await this.#open('upstream_logins', { ...row, part: row.id }));
    if (!row || text === undefined) return undefined;
    const details = JSON.parse(text) as T;
    const { id, poll_at, expires_at } = row;
    return { id, flow: row.flow as Flow, details, pollAt: Number(poll_at), expiresAt: Number(expires_at) };
  }

  /** Which servers have a sign-in under way. */
  async logins(): Promise<ReadonlyMap<string, { flow: Flow; expiresAt: number }>> {
    const rows = await this.#store.db
      .selectFrom('upstream_logins')
      .select(['server_uid', 'flow', 'expires_at'])
      .where('owner', '=', EVERYBODY)
      .where('expires_at', '>', Date.now())
      .execute();
    return new Map(
      rows.map((row) => [row.server_uid, { flow: row.flow as Flow, expiresAt: Number(row.expires_at) }]),
    );
  }

  /** Takes the turn to ask the vendor about a device. False: it is too early, or somebody else asks. */
  async takePoll(server: string, { id, pollAt }: KeptLogin<unknown>, next: number): Promise<boolean> {
    const { numUpdatedRows } = await this.#store.db
      .updateTable('upstream_logins')
      .set({ poll_at: next })
      .where('server_uid', '=', server)
      .where('id', '=', id)
      .where('poll_at', '=', pollAt)
      .executeTakeFirst();
    return Number(numUpdatedRows) === 1;
  }

  /** Keeps what a vendor has changed about a sign-in under way. */
  async slowDown<T>(server: string, { id }: KeptLogin<T>, details: T, next: number): Promise<void> {
    await this.#write(async (transaction) => {
      await transaction
        .updateTable('upstream_logins')
        .set({ ...this.#sealed('upstream_logins', server, id, details), poll_at: next })
        .where('server_uid', '=', server)
        .where('id', '=', id)
        .execute();
    });
  }

  /** Ends one sign-in, and no other that began since. */
  async endLogin(server: string, id: string): Promise<void> {
    await this.#store.db
      .deleteFrom('upstream_logins')
      .where('server_uid', '=', server)
      .where('id', '=', id)
      .execute();
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

  #write<T>(work: (transaction: Transaction<Schema>) => Promise<T>): Promise<T> {
    return this.#resources.edit(async ({ transaction }) => {
      if (!transaction) throw new Error('a write of the vault has no transaction');
      // A key that another process has just put in place seals this already.
      await this.#store.keys.refreshIn(transaction);
      return work(transaction);
    });
  }

  async #forget(transaction: Transaction<Schema>, server: string): Promise<number> {
    const { numDeletedRows } = await transaction
      .deleteFrom('upstream_credentials')
      .where('server_uid', '=', server)
      .where('owner', '=', EVERYBODY)
      .executeTakeFirst();
    return Number(numDeletedRows);
  }

  #sealed(table: Table, server: string, part: string, value: unknown): { key_id: string; sealed: string } {
    const { sealer } = this.#store.keys;
    const context = contextOf({ server_uid: server, owner: EVERYBODY, part });
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

const contextOf = ({ server_uid, owner, part }: Omit<SealedRow, 'sealed'>) =>
  `${server_uid}/${owner}/${part}`;
