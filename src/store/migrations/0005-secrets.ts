import type { Kysely } from 'kysely';

/** Keys that can rotate, and the sealed values of secrets. */
export async function up(db: Kysely<unknown>): Promise<void> {
  await db.schema
    .createTable('data_keys')
    .addColumn('number', 'bigint', (column) => column.primaryKey().notNull())
    .addColumn('key_id', 'text', (column) => column.notNull().unique())
    .addColumn('wrapped', 'text')
    .addColumn('created_at', 'bigint', (column) => column.notNull())
    .addColumn('active_at', 'bigint')
    .addColumn('retired_at', 'bigint')
    .execute();

  await db.schema
    .createTable('secret_values')
    .addColumn('secret_uid', 'text', (column) => column.notNull())
    .addColumn('name', 'text', (column) => column.notNull())
    .addColumn('key_id', 'text', (column) => column.notNull())
    .addColumn('sealed', 'text', (column) => column.notNull())
    .addPrimaryKeyConstraint('secret_values_key', ['secret_uid', 'name'])
    .execute();

  await db.schema.createIndex('secret_values_key_id').on('secret_values').column('key_id').execute();
}
