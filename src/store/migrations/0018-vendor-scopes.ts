import type { Kysely } from 'kysely';

/** Scopes that vendors want of servers beyond what somebody signed in for. */
export async function up(db: Kysely<unknown>): Promise<void> {
  await db.schema
    .createTable('upstream_scopes')
    .addColumn('server_uid', 'text', (column) => column.notNull())
    .addColumn('owner', 'text', (column) => column.notNull())
    .addColumn('scope', 'text', (column) => column.notNull())
    .addColumn('sign_ins', 'bigint', (column) => column.notNull())
    .addPrimaryKeyConstraint('upstream_scopes_key', ['server_uid', 'owner'])
    .execute();
}
