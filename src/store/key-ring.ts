/**
 * The keys that seal. The master key wraps them and never leaves the process; they lie wrapped in the database, so
 * that every process on it has the same ring. Number 0 is the master key itself, which sealed before the first
 * rotation. A key's life, each step one statement:
 *
 *   announced  the row is there; whoever polls can open with it, nobody seals with it yet
 *   active     SETTLE_MS later, when every process must have seen it (at once on SQLite, which has one process).
 *              The highest active number seals. A kill in between leaves the step to whichever process polls next
 *   retired    the wrapped key is gone: what was sealed under it opens no more
 */
import { createHmac, randomBytes } from 'node:crypto';
import type { Kysely, Transaction } from 'kysely';
import { messageOf, Refusal } from '../base/errors.ts';
import type { Logger } from '../base/logger.ts';
import { deriveKey, keyIdOf, type MasterKey, Sealer } from '../base/seal.ts';
import type { Dialect } from './migrator.ts';
import type { Schema } from './schema.ts';

const PURPOSE = 'data-key';
const KEY_BYTES = 32;
const POLL_MS = 2_000;
/** More than two polls: by then every process that lives has read the row. */
const SETTLE_MS = 5_000;
const ACTIVATION_POLL_MS = 200;
const MAX_KEYS = 32;

/** A key that opens. */
export type RingKey = {
  number: number;
  id: string;
  /** When a later key took its place, ms since 1970; undefined for the one that seals and for an announced one. */
  supersededAt: number | undefined;
};

type Row = {
  number: number;
  key_id: string;
  wrapped: string | null;
  active_at: number | null;
  retired_at: number | null;
};

type Alongside = (transaction: Transaction<Schema>, key: string) => Promise<void>;

export type KeyRingOptions = {
  db: Kysely<Schema>;
  dialect: Dialect;
  masterKey: MasterKey;
  sealer: Sealer;
  logger: Logger;
};

export class KeyRing {
  /** Always with the keys of the ring. */
  readonly sealer: Sealer;
  readonly #options: KeyRingOptions;
  readonly #wrapping: Sealer;
  readonly #macKeys = new Map<string, Buffer>();
  readonly #masters = new Map<string, MasterKey>();
  /** Announced keys, and when this process first saw them (monotonic ms). */
  readonly #seen = new Map<number, number>();
  readonly #listeners = new Set<() => void>();
  #keys: readonly RingKey[] = [];
  #progress = 0;
  #poll: NodeJS.Timeout | undefined;
  #polling: Promise<void> | undefined;
  #fault: string | undefined;

  private constructor(options: KeyRingOptions) {
    this.#options = options;
    this.sealer = options.sealer;
    this.#wrapping = new Sealer(options.masterKey);
  }

  /** @throws Refusal `invalid` when a wrapped key was altered */
  static async open(options: KeyRingOptions): Promise<KeyRing> {
    const ring = new KeyRing(options);
    const now = Date.now();
    await options.db
      .insertInto('data_keys')
      .values({ number: 0, key_id: keyIdOf(options.masterKey), created_at: now, active_at: now })
      .onConflict((conflict) => conflict.column('number').doNothing())
      .execute();
    await ring.refresh();
    if (options.dialect === 'postgres') {
      ring.#poll = setInterval(() => void ring.#pollOnce(), POLL_MS);
      ring.#poll.unref();
    }
    return ring;
  }

  /** Those that open, oldest first. */
  get keys(): readonly RingKey[] {
    return this.#keys;
  }

  /** Calls `listener` whenever another key has begun to seal. */
  onCurrent(listener: () => void): void {
    this.#listeners.add(listener);
  }

  /** A keyed digest that stays the same across rotations: equal inputs show, and nothing can be guessed from it. */
  mac(purpose: string, text: string): string {
    let key = this.#macKeys.get(purpose);
    if (!key) {
      key = deriveKey(this.#options.masterKey, `mac/${purpose}`);
      this.#macKeys.set(purpose, key);
    }
    return createHmac('sha256', key).update(text).digest('hex');
  }

  /** Takes over what other processes did, and activates what was announced long enough ago. */
  async refresh(): Promise<void> {
    const { db, dialect } = this.#options;
    let rows = await readRows(db);
    const due = rows.filter((row) => row.active_at === null && this.#isSettled(row.number));
    if (dialect === 'postgres' && due.length > 0) {
      for (const { number } of due) await activate(db, number);
      rows = await readRows(db);
    }
    this.#adopt(rows);
  }

  /** As `refresh`, with what this transaction sees: what it seals is then sealed with the key that counts. */
  async refreshIn(transaction: Kysely<Schema>): Promise<void> {
    this.#adopt(await readRows(transaction));
  }

  /**
   * Makes a new key and resolves once it seals. A rotation that is under way is joined.
   * @param alongside runs in the transaction that announces the key, as its last act
   * @throws Refusal `conflict` when there are too many keys
   */
  async rotate(alongside?: Alongside): Promise<void> {
    const { db, dialect } = this.#options;
    await this.refresh();
    if (this.#keys.length >= MAX_KEYS) {
      throw new Refusal(
        'conflict',
        `there are ${MAX_KEYS} keys already: forget old ones with --retire-old 7d`,
      );
    }
    const rows = await readRows(db);
    const underWay = rows.find((row) => row.active_at === null);
    const number = underWay?.number ?? (await this.#announce(rows, dialect === 'sqlite', alongside));
    const deadline = Date.now() + 4 * SETTLE_MS;
    for (;;) {
      await this.refresh();
      if (this.#keys.some((key) => key.number >= number && key.id === this.sealer.keyId)) return;
      if (Date.now() > deadline) throw new Refusal('unavailable', 'the new key is not active yet; try again');
      await new Promise((resolve) => setTimeout(resolve, ACTIVATION_POLL_MS));
    }
  }

  /** Forgets keys. The caller has made sure that nothing is sealed under them that somebody needs. */
  async retireIn(transaction: Transaction<Schema>, keys: readonly RingKey[]): Promise<void> {
    if (keys.length === 0) return;
    await transaction
      .updateTable('data_keys')
      .set({ retired_at: Date.now(), wrapped: null })
      .where(
        'number',
        'in',
        keys.map(({ number }) => number),
      )
      .execute();
  }

  async close(): Promise<void> {
    clearInterval(this.#poll);
    this.#listeners.clear();
    await this.#polling;
  }

  async #announce(rows: readonly Row[], activeAtOnce: boolean, alongside?: Alongside): Promise<number> {
    const { db } = this.#options;
    const key: MasterKey = { bytes: randomBytes(KEY_BYTES) };
    const number = Math.max(...rows.map((row) => row.number)) + 1;
    const now = Date.now();
    const wrapped = this.#wrapping.seal(PURPOSE, key.bytes.toString('base64url'), String(number));
    // Of two that saw the same rows one makes the key, and the other joins it.
    const row = {
      number,
      key_id: keyIdOf(key),
      wrapped,
      created_at: now,
      active_at: activeAtOnce ? now : null,
    };
    await db.transaction().execute(async (transaction) => {
      const { numInsertedOrUpdatedRows: made } = await transaction
        .insertInto('data_keys')
        .values(row)
        .onConflict((conflict) => conflict.column('number').doNothing())
        .executeTakeFirstOrThrow();
      if (made === 1n) await alongside?.(transaction, row.key_id);
    });
    return number;
  }

  #isSettled(number: number): boolean {
    const now = performance.now();
    const since = this.#seen.get(number);
    if (since === undefined) this.#seen.set(number, now);
    return since !== undefined && now - since >= SETTLE_MS;
  }

  #adopt(rows: readonly Row[]): void {
    // Rows only ever step forward; a read that was overtaken by another must not take the ring back.
    const progress = rows.reduce((sum, row) => sum + stepsOf(row), 0);
    if (progress < this.#progress) return;
    const live = rows.filter((row) => row.retired_at === null);
    const active = live.filter((row) => row.active_at !== null);
    const current = active.at(-1);
    if (!current)
      throw new Refusal('invalid', 'the database has no key that seals; restore it from a backup');
    const masters = live.map((row) => this.#masterOf(row));
    this.#progress = progress;
    const before = this.sealer.keyId;
    const seals = masters[live.indexOf(current)]!;
    this.sealer.use(
      seals,
      masters.filter((master) => master !== seals),
    );
    this.#keys = live.map((row) => {
      const next = rows.find((later) => later.number > row.number && later.active_at !== null);
      return { number: row.number, id: row.key_id, supersededAt: next?.active_at ?? undefined };
    });
    if (this.sealer.keyId === before) return;
    this.#options.logger.info({ key: current.key_id }, 'another key seals from now on');
    for (const listener of this.#listeners) listener();
  }

  #masterOf({ number, key_id: id, wrapped }: Row): MasterKey {
    if (number === 0) return this.#options.masterKey;
    const known = this.#masters.get(id);
    if (known) return known;
    const opened = this.#wrapping.open(PURPOSE, wrapped ?? '', String(number));
    const master = opened.ok ? { bytes: Buffer.from(opened.value, 'base64url') } : undefined;
    if (!master || keyIdOf(master) !== id) {
      throw new Refusal('invalid', `key ${number} in the database was altered; restore it from a backup`);
    }
    this.#masters.set(id, master);
    return master;
  }

  async #pollOnce(): Promise<void> {
    this.#polling ??= this.refresh()
      .then(() => {
        this.#fault = undefined;
      })
      .catch((error) => {
        const fault = messageOf(error);
        if (fault !== this.#fault) this.#options.logger.warn({ error }, 'the keys cannot be read');
        this.#fault = fault;
      })
      .finally(() => {
        this.#polling = undefined;
      });
    await this.#polling;
  }
}

const stepsOf = (row: Row) => 1 + (row.active_at === null ? 0 : 1) + (row.retired_at === null ? 0 : 1);

async function readRows(db: Kysely<Schema>): Promise<Row[]> {
  const rows = await db
    .selectFrom('data_keys')
    .select(['number', 'key_id', 'wrapped', 'active_at', 'retired_at'])
    .orderBy('number')
    .execute();
  return rows.map((row) => ({
    ...row,
    number: Number(row.number),
    active_at: row.active_at === null ? null : Number(row.active_at),
    retired_at: row.retired_at === null ? null : Number(row.retired_at),
  }));
}

async function activate(db: Kysely<Schema>, number: number): Promise<void> {
  await db
    .updateTable('data_keys')
    .set({ active_at: Date.now() })
    .where('number', '=', number)
    .where('active_at', 'is', null)
    .execute();
}
