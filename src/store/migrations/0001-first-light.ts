import { type Kysely, sql } from 'kysely';

/** Users, tokens, resources, legacy sessions. */
export async function up(db: Kysely<unknown>): Promise<void> {
  await db.schema
    .createTable('meta')
    .addColumn('key', 'text', (column) => column.primaryKey().notNull())
    .addColumn('value', 'text', (column) => column.notNull())
    .execute();

  await createIdentityTables(db);

  await db.schema
    .createTable('resources')
    .addColumn('kind', 'text', (column) => column.notNull())
    .addColumn('name', 'text', (column) => column.notNull())
    .addColumn('uid', 'text', (column) => column.notNull().unique())
    .addColumn('spec', 'text', (column) => column.notNull())
    .addColumn('resource_version', 'bigint', (column) => column.notNull())
    .addColumn('created_at', 'bigint', (column) => column.notNull())
    .addColumn('updated_at', 'bigint', (column) => column.notNull())
    .addPrimaryKeyConstraint('resources_pk', ['kind', 'name'])
    .execute();

  await db.schema
    .createTable('sessions')
    .addColumn('id_hash', 'text', (column) => column.primaryKey().notNull())
    .addColumn('created_at', 'bigint', (column) => column.notNull())
    .addColumn('expires_at', 'bigint', (column) => column.notNull())
    .addColumn('ended_at', 'bigint')
    .addColumn('log_level', 'text')
    .addColumn('subscriptions', 'text', (column) => column.notNull().defaultTo('[]'))
    .execute();
  await db.schema.createIndex('sessions_expiry').on('sessions').column('expires_at').execute();
}

async function createIdentityTables(db: Kysely<unknown>): Promise<void> {
  await db.schema
    .createTable('users')
    .addColumn('id', 'text', (column) => column.primaryKey().notNull())
    .addColumn('email', 'text', (column) => column.notNull().unique())
    .addColumn('name', 'text', (column) => column.notNull())
    .addColumn('created_at', 'bigint', (column) => column.notNull())
    .execute();
  // Whoever holds the data directory; the first token needs an owner before anyone could sign in.
  await sql`insert into users (id, email, name, created_at)
    values ('usr_admin', 'admin', 'Local administrator', ${Date.now()})`.execute(db);

  await db.schema
    .createTable('mcp_tokens')
    .addColumn('id', 'text', (column) => column.primaryKey().notNull())
    .addColumn('hash', 'text', (column) => column.notNull().unique())
    .addColumn('prefix', 'text', (column) => column.notNull())
    .addColumn('name', 'text', (column) => column.notNull())
    .addColumn('project_name', 'text', (column) => column.notNull())
    .addColumn('project_uid', 'text', (column) => column.notNull())
    .addColumn('owner_id', 'text', (column) => column.notNull().references('users.id').onDelete('cascade'))
    .addColumn('surfaces', 'text', (column) => column.notNull())
    .addColumn('rbac', 'text', (column) => column.notNull())
    .addColumn('bindings', 'text', (column) => column.notNull())
    .addColumn('description', 'text', (column) => column.notNull().defaultTo(''))
    .addColumn('created_at', 'bigint', (column) => column.notNull())
    .addColumn('expires_at', 'bigint')
    .addColumn('revoked_at', 'bigint')
    .addColumn('released_at', 'bigint')
    .addColumn('last_used_at', 'bigint')
    .execute();
  // One token at a time holds a name; rows that gave theirs up stay for the audit.
  await db.schema
    .createIndex('mcp_tokens_name')
    .unique()
    .on('mcp_tokens')
    .columns(['project_uid', 'name'])
    .where(sql.ref('released_at'), 'is', null)
    .execute();
  await db.schema
    .createIndex('mcp_tokens_project')
    .on('mcp_tokens')
    .columns(['project_name', 'name'])
    .execute();
  await db.schema.createIndex('mcp_tokens_owner').on('mcp_tokens').column('owner_id').execute();
}
