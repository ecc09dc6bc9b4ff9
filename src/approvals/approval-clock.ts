import { uptime } from 'node:os';
import { type RawBuilder, sql } from 'kysely';
import type { Store } from '../store/database.ts';

/** How often it is kept, ms; after a kill it may be so far behind, and no further. */
const KEPT_EVERY_MS = 10_000;
const DATABASE_NOW = sql<number>`(extract(epoch from clock_timestamp()) * 1000)::bigint`;

/**
 * The time by which approvals expire, milliseconds since 1970. On PostgreSQL the database's own, the same for every
 * process; on SQLite one that goes on evenly, whatever happens to the clock of the machine, also while the machine
 * sleeps, and that a new start does not set back.
 */
export class ApprovalClock {
  readonly #store: Pick<Store, 'db' | 'dialect'>;
  readonly #origin: number;
  readonly #startedAt = performance.now();
  readonly #upBefore = uptime();
  #keptAt = Number.NEGATIVE_INFINITY;

  private constructor(store: Pick<Store, 'db' | 'dialect'>, origin: number) {
    this.#store = store;
    this.#origin = origin;
  }

  static async open(store: Pick<Store, 'db' | 'dialect'>): Promise<ApprovalClock> {
    if (store.dialect === 'postgres') return new ApprovalClock(store, 0);
    const last = store.db.selectFrom('approvals').select(({ fn }) => fn.max('changed_at').as('at'));
    const kept = store.db.selectFrom('approval_clock').select('seen_at as at');
    const known = [await last.executeTakeFirst(), await kept.executeTakeFirst()];
    return new ApprovalClock(store, Math.max(Date.now(), ...known.map((row) => Number(row?.at ?? 0))));
  }

  async now(): Promise<number> {
    if (this.#store.dialect === 'sqlite') return this.#evenly();
    const { rows } = await sql<{ now: number }>`select ${DATABASE_NOW} as now`.execute(this.#store.db);
    return rows[0]!.now;
  }

  /** The time at which a statement is carried out, to stand in it; to be taken where nobody has to be waited for any more. */
  moment(): RawBuilder<number> {
    return this.#store.dialect === 'sqlite' ? sql`${this.#evenly()}` : DATABASE_NOW;
  }

  /** Sees to it that the next start does not begin earlier. */
  async keep({ always = false } = {}): Promise<void> {
    const elapsed = performance.now();
    if (this.#store.dialect !== 'sqlite' || (!always && elapsed - this.#keptAt < KEPT_EVERY_MS)) return;
    this.#keptAt = elapsed;
    const seen_at = this.#evenly();
    await this.#store.db
      .insertInto('approval_clock')
      .values({ id: 'clock', seen_at })
      .onConflict((conflict) => conflict.column('id').doUpdateSet({ seen_at }))
      .execute();
  }

  /** The one counts finely, the other also the time that the machine slept. */
  #evenly(): number {
    const elapsed = performance.now() - this.#startedAt;
    return Math.floor(this.#origin + Math.max(elapsed, (uptime() - this.#upBefore) * 1_000));
  }
}
