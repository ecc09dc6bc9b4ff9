import { type Kysely, sql } from 'kysely';
import { sha256Hex } from '../base/ids.ts';
import type { Schema } from '../store/schema.ts';

/** Rows that the sessions of one principal may leave; of more, the older half goes. */
const MAX_ROWS = 10_000;
const TAG = 16;

/** Stands at the head of a principal's handles and rows, so that they can be told apart from those of others. */
export function tagOf(principal: string): string {
  return sha256Hex(principal).slice(0, TAG);
}

/** The key of a session's row. */
export function rowOf(handle: string): string {
  return `${tagIn(handle)}.${sha256Hex(handle)}`;
}

/** The key of the row that says from when on sessions without a row are over, for the principal of this session. */
export function floorOf(handle: string): string {
  return `${tagIn(handle)}.floor`;
}

function tagIn(handle: string): string {
  return /:([0-9a-f]{16})\./.exec(handle)?.[1] ?? '';
}

/**
 * Takes rows from principals that have too many. A row that says that its session has ended must not be missed, so
 * with the rows go all sessions of the principal that are as old and have none.
 */
export async function boundRows(db: Kysely<Schema>, lifetimeMs: number): Promise<void> {
  const tag = sql<string>`substr(id_hash, 1, ${sql.lit(TAG)})`;
  const crowded = await db
    .selectFrom('sessions')
    .select(tag.as('tag'))
    .groupBy(tag)
    .having(({ fn }) => fn.countAll(), '>', MAX_ROWS)
    .execute();
  for (const one of crowded) {
    await db.transaction().execute(async (transaction) => {
      const [edge] = await transaction
        .selectFrom('sessions')
        .select('created_at')
        .where(tag, '=', one.tag)
        .orderBy('created_at', 'desc')
        .offset(MAX_ROWS / 2)
        .limit(1)
        .execute();
      if (!edge) return;
      const at = Number(edge.created_at);
      await transaction
        .deleteFrom('sessions')
        .where(tag, '=', one.tag)
        .where('created_at', '<=', at)
        .execute();
      const floor = { created_at: at + lifetimeMs, expires_at: at + lifetimeMs, ended_at: at };
      const asked = { log_level: null, subscriptions: '[]', holder: null, begun_at: null };
      await transaction
        .insertInto('sessions')
        .values({ id_hash: `${one.tag}.floor`, ...floor, ...asked })
        .onConflict((conflict) => conflict.column('id_hash').doUpdateSet(floor))
        .execute();
    });
  }
}
