import type { Kysely } from 'kysely';

/** Several sign-ins for one server may be under way at once. Those of before live for half an hour and begin anew. */
export async function up(db: Kysely<unknown>): Promise<void> {
  await db.schema.dropTable('upstream_logins').execute();
  await db.schema
    .createTable('upstream_logins')
    .addColumn('id', 'text', (column) => column.primaryKey())
    .addColumn('server_uid', 'text', (column) => column.notNull())
    .addColumn('owner', 'text', (column) => column.notNull())
    .addColumn('key_id', 'text', (column) => column.notNull())
    .addColumn('sealed', 'text', (column) => column.notNull())
    .addColumn('flow', 'text', (column) => column.notNull())
    .addColumn('begun_at', 'bigint', (column) => column.notNull())
    .addColumn('poll_at', 'bigint', (column) => column.notNull())
    .addColumn('expires_at', 'bigint', (column) => column.notNull())
    .execute();
  await db.schema
    .createIndex('upstream_logins_of_grant')
    .on('upstream_logins')
    .columns(['server_uid', 'owner'])
    .execute();
}
