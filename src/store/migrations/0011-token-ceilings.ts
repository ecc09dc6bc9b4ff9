import type { Kysely } from 'kysely';

/** A token knows who acted as its owner when its secret was made. */
export async function up(db: Kysely<unknown>): Promise<void> {
  await db.schema
    .alterTable('mcp_tokens')
    .addColumn('behind', 'text', (column) => column.notNull().defaultTo('[]'))
    .execute();
}
