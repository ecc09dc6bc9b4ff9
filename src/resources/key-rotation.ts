import type { Kysely } from 'kysely';
import type { Audit } from '../audit/audit.ts';
import { messageOf, Refusal } from '../base/errors.ts';
import type { Logger } from '../base/logger.ts';
import type { Store } from '../store/database.ts';
import type { RingKey } from '../store/key-ring.ts';
import type { Schema } from '../store/schema.ts';
import type { Resources } from './registry.ts';
import { SecretValues } from './secret-values.ts';

export type Rotation = {
  /** Id of the key that seals now. */
  key: string;
  /** How many keys open, that one included. */
  keys: number;
  /** How many values were sealed anew. */
  resealed: number;
  /** How many keys were forgotten. */
  retired: number;
};

/** Sealed texts that another room keeps. */
type OtherSealed = {
  reseal(db: Kysely<Schema>): Promise<{ resealed: number; unreadable: string[] }>;
  /** How many lie under these keys. */
  sealedUnder(db: Kysely<Schema>, keys: readonly RingKey[]): Promise<number>;
};

export type KeyRotationDeps = {
  store: Pick<Store, 'db' | 'keys'>;
  resources: Resources;
  others: readonly OtherSealed[];
  audit: Pick<Audit, 'append'>;
  logger: Logger;
};

const ROUNDS = 5;

/**
 * Changes the key that seals, under load: what is sealed under an older one opens until that key is retired. Sealing
 * anew goes on by itself wherever it stopped, for it starts from the values that lie under another key than the one
 * that seals: when the process starts, and whenever another key begins to seal.
 */
export class KeyRotation {
  readonly #store: Pick<Store, 'db' | 'keys'>;
  readonly #resources: Resources;
  readonly #others: readonly OtherSealed[];
  readonly #audit: Pick<Audit, 'append'>;
  readonly #logger: Logger;
  readonly #values: SecretValues;
  /** By this process so far. */
  #resealed = 0;
  #turn: Promise<unknown> = Promise.resolve();

  constructor(deps: KeyRotationDeps) {
    this.#store = deps.store;
    this.#resources = deps.resources;
    this.#others = deps.others;
    this.#audit = deps.audit;
    this.#logger = deps.logger;
    this.#values = new SecretValues(deps.store.keys);
    this.#store.keys.onCurrent(() => this.#goOn());
    this.#goOn();
  }

  /**
   * Resolves when the new key seals and nothing that is stored lies under another.
   * @param retireAfterMs forgets the keys that ceased to seal so long ago; undefined forgets none
   * @throws Refusal `conflict` when a value that has to be sealed anew cannot be opened, or there are too many keys
   */
  async rotate(retireAfterMs: number | undefined): Promise<Rotation> {
    const { keys } = this.#store;
    const before = this.#resealed;
    await keys.rotate((transaction, key) =>
      this.#audit.append(transaction, { event: 'keys.rotated', outcome: 'ok', detail: { key } }),
    );
    const { unreadable } = await this.#reseal();
    const retired = retireAfterMs === undefined ? 0 : await this.#retire(retireAfterMs, unreadable);
    const resealed = this.#resealed - before;
    return { key: keys.sealer.keyId, keys: keys.keys.length, resealed, retired };
  }

  async close(): Promise<void> {
    await this.#turn;
  }

  #goOn(): void {
    this.#reseal().then(
      ({ resealed, unreadable }) => {
        if (resealed > 0) this.#logger.info({ resealed }, 'secrets were sealed under the current key');
        if (unreadable.length > 0)
          this.#logger.error({ values: unreadable.length }, 'there are secrets that cannot be opened');
      },
      (error) => this.#logger.warn({ error: messageOf(error) }, 'secrets are not all sealed anew yet'),
    );
  }

  #reseal(): Promise<{ resealed: number; unreadable: string[] }> {
    const outcome = this.#turn.then(() => this.#resealAll());
    this.#turn = outcome.then(
      ({ resealed }) => {
        this.#resealed += resealed;
      },
      () => undefined,
    );
    return outcome;
  }

  async #resealAll(): Promise<{ resealed: number; unreadable: string[] }> {
    const { db } = this.#store;
    const all = await this.#values.reseal(db);
    for (const other of this.#others) {
      const { resealed, unreadable } = await other.reseal(db);
      all.resealed += resealed;
      all.unreadable.push(...unreadable);
    }
    return all;
  }

  async #sealedUnder(db: Kysely<Schema>, keys: readonly RingKey[]): Promise<number> {
    let count = await valuesUnder(db, keys);
    for (const other of this.#others) count += await other.sealedUnder(db, keys);
    return count;
  }

  /** Alone among the writers of every process: whoever stores a value waits, and then seals with the current key. */
  async #retire(afterMs: number, unreadable: readonly string[]): Promise<number> {
    const { keys } = this.#store;
    const due = keys.keys.filter(
      ({ supersededAt }) => supersededAt !== undefined && supersededAt <= Date.now() - afterMs,
    );
    if (due.length === 0) return 0;
    for (let round = 0; round < ROUNDS; round += 1) {
      const retired = await this.#resources.edit(async ({ transaction }) => {
        if (!transaction || (await this.#sealedUnder(transaction, due)) > 0) return false;
        await keys.retireIn(transaction, due);
        const detail = { keys: due.map(({ id }) => id) };
        await this.#audit.append(transaction, { event: 'keys.retired', outcome: 'ok', detail });
        return true;
      });
      if (retired) {
        await keys.refresh();
        return due.length;
      }
      await this.#reseal();
    }
    const first = unreadable[0] === undefined ? '' : `, ${unreadable[0]} first`;
    throw new Refusal(
      'conflict',
      `no key was forgotten: some secrets cannot be opened${first}; give their values again, or delete them`,
    );
  }
}

async function valuesUnder(db: Kysely<Schema>, keys: readonly RingKey[]): Promise<number> {
  const row = await db
    .selectFrom('secret_values')
    .select((select) => select.fn.countAll<number | string>().as('count'))
    .where(
      'key_id',
      'in',
      keys.map(({ id }) => id),
    )
    .executeTakeFirstOrThrow();
  return Number(row.count);
}
