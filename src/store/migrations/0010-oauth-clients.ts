import type { Kysely } from 'kysely';

/** What OAuth clients prove themselves with, who answers for them, and those that nobody registered by hand. */
export async function up(db: Kysely<unknown>): Promise<void> {
  await db.schema
    .createTable('oauth_client_secrets')
    .addColumn('hash', 'text', (column) => column.primaryKey().notNull())
    .addColumn('client_uid', 'text', (column) => column.notNull())
    .addColumn('prefix', 'text', (column) => column.notNull())
    .addColumn('created_at', 'bigint', (column) => column.notNull())
    .addColumn('expires_at', 'bigint')
    .execute();
  await db.schema
    .createIndex('oauth_client_secrets_client')
    .on('oauth_client_secrets')
    .column('client_uid')
    .execute();

  await db.schema
    .createTable('oauth_client_sponsors')
    .addColumn('client_uid', 'text', (column) => column.primaryKey().notNull())
    .addColumn('sponsors', 'text', (column) => column.notNull())
    .addColumn('since', 'bigint', (column) => column.notNull())
    .execute();

  await db.schema
    .createTable('oauth_client_documents')
    .addColumn('client_id', 'text', (column) => column.primaryKey().notNull())
    .addColumn('client', 'text', (column) => column.notNull())
    .addColumn('fetched_at', 'bigint', (column) => column.notNull())
    .addColumn('fresh_until', 'bigint', (column) => column.notNull())
    .execute();

  await db.schema
    .createTable('oauth_dynamic_clients')
    .addColumn('client_id', 'text', (column) => column.primaryKey().notNull())
    .addColumn('client', 'text', (column) => column.notNull())
    .addColumn('created_at', 'bigint', (column) => column.notNull())
    .addColumn('expires_at', 'bigint', (column) => column.notNull())
    .execute();
  await db.schema
    .createIndex('oauth_dynamic_clients_expiry')
    .on('oauth_dynamic_clients')
    .column('expires_at')
    .execute();
}
