import type { Kysely } from 'kysely';

/** What the authorization server keeps: consents of users, and what it issued under them. */
export async function up(db: Kysely<unknown>): Promise<void> {
  await db.schema
    .createTable('oauth_grants')
    .addColumn('id', 'text', (column) => column.primaryKey().notNull())
    .addColumn('user_uid', 'text', (column) => column.notNull())
    .addColumn('client_id', 'text', (column) => column.notNull())
    .addColumn('client_name', 'text', (column) => column.notNull())
    .addColumn('project_uid', 'text', (column) => column.notNull())
    .addColumn('scopes', 'text', (column) => column.notNull())
    .addColumn('created_at', 'bigint', (column) => column.notNull())
    .addColumn('updated_at', 'bigint', (column) => column.notNull())
    .addColumn('last_used_at', 'bigint')
    .execute();
  await db.schema
    .createIndex('oauth_grants_party')
    .unique()
    .on('oauth_grants')
    .columns(['user_uid', 'client_id', 'project_uid'])
    .execute();

  await db.schema
    .createTable('oauth_artifacts')
    .addColumn('id_hash', 'text', (column) => column.primaryKey().notNull())
    .addColumn('kind', 'text', (column) => column.notNull())
    .addColumn('payload', 'text', (column) => column.notNull())
    .addColumn('family', 'text')
    .addColumn('user_code', 'text', (column) => column.unique())
    .addColumn('user_uid', 'text')
    .addColumn('client_id', 'text')
    .addColumn('project_uid', 'text')
    .addColumn('created_at', 'bigint', (column) => column.notNull())
    .addColumn('expires_at', 'bigint', (column) => column.notNull())
    .addColumn('consumed_at', 'bigint')
    .addColumn('polled_at', 'bigint')
    .execute();
  await db.schema.createIndex('oauth_artifacts_expiry').on('oauth_artifacts').column('expires_at').execute();
  await db.schema
    .createIndex('oauth_artifacts_kind')
    .on('oauth_artifacts')
    .columns(['kind', 'created_at'])
    .execute();
  await db.schema.createIndex('oauth_artifacts_family').on('oauth_artifacts').column('family').execute();
  await db.schema
    .createIndex('oauth_artifacts_party')
    .on('oauth_artifacts')
    .columns(['client_id', 'user_uid', 'project_uid'])
    .execute();
}
