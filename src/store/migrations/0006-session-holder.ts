import type { Kysely } from 'kysely';

/** Which process has what servers keep for a session. */
export async function up(db: Kysely<unknown>): Promise<void> {
  await db.schema.alterTable('sessions').addColumn('holder', 'text').execute();
}
