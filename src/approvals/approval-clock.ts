import { sql } from 'kysely';
import type { Store } from '../store/database.ts';

/**
 * The time by which approvals expire, milliseconds since 1970. On PostgreSQL the database's own, the same for every
 * process; on SQLite one that goes on evenly, whatever happens to the clock of the machine, and that a new start does
 * not set back.
 */
export class ApprovalClock {
  readonly #store: Pick<Store, 'db' | 'dialect'>;
  readonly #origin: number;
  readonly #startedAt = performance.now();

  private constructor(store: Pick<Store, 'db' | 'dialect'>, origin: number) {
    this.#store = store;
    this.#origin = origin;
  }

  static async open(store: Pick<Store, 'db' | 'dialect'>): Promise<ApprovalClock> {
    const { last } = await store.db
      .selectFrom('approvals')
      .select(({ fn }) => fn.max('changed_at').as('last'))
      .executeTakeFirstOrThrow();
    return new ApprovalClock(store, Math.max(Date.now(), Number(last ?? 0)));
  }

  async now(): Promise<number> {
    if (this.#store.dialect === 'sqlite')
      return Math.floor(this.#origin + performance.now() - this.#startedAt);
    const { rows } = await sql<{ now: number }>`
      select (extract(epoch from clock_timestamp()) * 1000)::bigint as now`.execute(this.#store.db);
    return rows[0]!.now;
  }
}
