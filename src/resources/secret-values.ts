import { type Kysely, sql, type Transaction } from 'kysely';
import { Refusal } from '../base/errors.ts';
import type { KeyRing } from '../store/key-ring.ts';
import type { Schema } from '../store/schema.ts';

/** The values of one secret at one version of its object. */
export type OpenedSecret = {
  version: number;
  /** Undefined: the value cannot be opened, for it was altered or its key retired. */
  values: ReadonlyMap<string, string | undefined>;
};

type StoredSecret = { kind: string; uid: string; version: number };
type SealedRow = { secret_uid: string; name: string; sealed: string };
type Db = Kysely<Schema> | Transaction<Schema>;

const PURPOSE = 'secret';
/** Sealed, of all secrets together: every process holds them in memory. */
const MAX_TOTAL = 32 * 1024 * 1024;
const UIDS_A_QUERY = 200;
const RESEALED_A_TRANSACTION = 50;

/** Sealed values as they lie in the database: each bound to the secret's uid and the name of its key. */
export class SecretValues {
  readonly #keys: KeyRing;

  constructor(keys: KeyRing) {
    this.#keys = keys;
  }

  /** Leaves the secret with `values` and with what it had under `names`. */
  async put(
    transaction: Transaction<Schema>,
    uid: string,
    names: readonly string[],
    values: Readonly<Record<string, string>>,
  ): Promise<void> {
    // A key that another process has just put in place seals this already.
    await this.#keys.refreshIn(transaction);
    const { sealer } = this.#keys;
    await transaction
      .deleteFrom('secret_values')
      .where('secret_uid', '=', uid)
      .where('name', 'not in', [...names])
      .execute();
    for (const [name, value] of Object.entries(values)) {
      const row = { key_id: sealer.keyId, sealed: sealer.seal(PURPOSE, value, contextOf(uid, name)) };
      await transaction
        .insertInto('secret_values')
        .values({ secret_uid: uid, name, ...row })
        .onConflict((conflict) => conflict.columns(['secret_uid', 'name']).doUpdateSet(row))
        .execute();
    }
    await refuseTooMuch(transaction);
  }

  async remove(transaction: Transaction<Schema>, uid: string): Promise<void> {
    await transaction.deleteFrom('secret_values').where('secret_uid', '=', uid).execute();
  }

  /** All values of the secrets among `objects`; those of `before` whose version is the same are not read again. */
  async load(
    db: Db,
    objects: Iterable<StoredSecret>,
    before: ReadonlyMap<string, OpenedSecret>,
  ): Promise<ReadonlyMap<string, OpenedSecret>> {
    const loaded = new Map<string, OpenedSecret>();
    const changed = new Map<string, number>();
    for (const { kind, uid, version } of objects) {
      if (kind !== 'Secret') continue;
      const known = before.get(uid);
      if (known?.version === version) loaded.set(uid, known);
      else changed.set(uid, version);
    }
    const uids = [...changed.keys()];
    for (let at = 0; at < uids.length; at += UIDS_A_QUERY) {
      const some = uids.slice(at, at + UIDS_A_QUERY);
      const rows = await db
        .selectFrom('secret_values')
        .select(['secret_uid', 'name', 'sealed'])
        .where('secret_uid', 'in', some)
        .execute();
      const values = new Map(some.map((uid) => [uid, new Map<string, string | undefined>()]));
      for (const row of rows) values.get(row.secret_uid)?.set(row.name, await this.#opened(db, row));
      for (const [uid, opened] of values) loaded.set(uid, { version: changed.get(uid)!, values: opened });
    }
    return loaded;
  }

  /**
   * Seals anew, under the key that seals now, what lies under others; a few rows a transaction, so that it can end
   * anywhere and go on later. A row that somebody changes meanwhile is left to the next round.
   * @returns how many were sealed anew, and which cannot be opened
   */
  async reseal(db: Kysely<Schema>): Promise<{ resealed: number; unreadable: string[] }> {
    const unreadable: string[] = [];
    let resealed = 0;
    let after = { secret_uid: '', name: '' };
    for (;;) {
      const rows = await this.#underOtherKeys(db, after);
      const last = rows.at(-1);
      if (!last) return { resealed, unreadable };
      after = last;
      await db.transaction().execute(async (transaction) => {
        for (const row of rows) {
          const value = await this.#opened(transaction, row);
          if (value === undefined) unreadable.push(contextOf(row.secret_uid, row.name));
          else resealed += await this.#resealRow(transaction, row, value);
        }
      });
    }
  }

  #underOtherKeys(db: Kysely<Schema>, after: { secret_uid: string; name: string }): Promise<SealedRow[]> {
    return db
      .selectFrom('secret_values')
      .select(['secret_uid', 'name', 'sealed'])
      .where('key_id', '!=', this.#keys.sealer.keyId)
      .where((row) =>
        row.or([
          row('secret_uid', '>', after.secret_uid),
          row.and([row('secret_uid', '=', after.secret_uid), row('name', '>', after.name)]),
        ]),
      )
      .orderBy('secret_uid')
      .orderBy('name')
      .limit(RESEALED_A_TRANSACTION)
      .execute();
  }

  async #resealRow(transaction: Transaction<Schema>, row: SealedRow, value: string): Promise<number> {
    const { sealer } = this.#keys;
    const sealed = sealer.seal(PURPOSE, value, contextOf(row.secret_uid, row.name));
    const { numUpdatedRows } = await transaction
      .updateTable('secret_values')
      .set({ key_id: sealer.keyId, sealed })
      .where('secret_uid', '=', row.secret_uid)
      .where('name', '=', row.name)
      .where('sealed', '=', row.sealed)
      .executeTakeFirst();
    return Number(numUpdatedRows);
  }

  async #opened(db: Db, { secret_uid: uid, name, sealed }: SealedRow): Promise<string | undefined> {
    const open = () => this.#keys.sealer.open(PURPOSE, sealed, contextOf(uid, name));
    let opened = open();
    if (!opened.ok && opened.error === 'unknown_key') {
      // Sealed by a process that knew a new key before this one did.
      await this.#keys.refreshIn(db);
      opened = open();
    }
    return opened.ok ? opened.value : undefined;
  }
}

const contextOf = (uid: string, name: string) => `${uid}/${name}`;

async function refuseTooMuch(transaction: Transaction<Schema>): Promise<void> {
  const row = await transaction
    .selectFrom('secret_values')
    .select(sql<number | string>`coalesce(sum(length(sealed)), 0)`.as('total'))
    .executeTakeFirstOrThrow();
  if (Number(row.total) <= MAX_TOTAL) return;
  throw new Refusal('conflict', 'all secrets together are larger than 32 MiB: delete some first');
}
