import type { Kysely } from 'kysely';

/** Objects and tokens carry labels, by which they are picked. */
export async function up(db: Kysely<unknown>): Promise<void> {
  for (const table of ['resources', 'mcp_tokens']) {
    await db.schema
      .alterTable(table)
      .addColumn('labels', 'text', (column) => column.notNull().defaultTo('{}'))
      .execute();
  }
}
