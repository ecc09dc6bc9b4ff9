import type { Kysely } from 'kysely';

/** When a session said what its task is, and so is shown all tools. */
export async function up(db: Kysely<unknown>): Promise<void> {
  await db.schema.alterTable('sessions').addColumn('begun_at', 'bigint').execute();
}
