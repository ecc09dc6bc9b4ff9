import { type Kysely, sql } from 'kysely';

/** Calls that wait for somebody's decision, and what became of them. */
export async function up(db: Kysely<unknown>): Promise<void> {
  await db.schema
    .createTable('approvals')
    .addColumn('id', 'text', (column) => column.primaryKey().notNull())
    .addColumn('identity', 'text', (column) => column.notNull())
    .addColumn('state', 'text', (column) => column.notNull())
    .addColumn('project', 'text', (column) => column.notNull())
    .addColumn('project_uid', 'text', (column) => column.notNull())
    .addColumn('surface', 'text', (column) => column.notNull())
    .addColumn('server', 'text', (column) => column.notNull())
    .addColumn('tool', 'text', (column) => column.notNull())
    .addColumn('principal', 'text', (column) => column.notNull())
    .addColumn('owner', 'text', (column) => column.notNull())
    .addColumn('requester', 'text', (column) => column.notNull())
    .addColumn('arguments', 'text', (column) => column.notNull())
    .addColumn('definition', 'text', (column) => column.notNull())
    .addColumn('fingerprint', 'text', (column) => column.notNull())
    .addColumn('policy', 'text', (column) => column.notNull())
    .addColumn('terms', 'text', (column) => column.notNull())
    .addColumn('requested_at', 'bigint', (column) => column.notNull())
    .addColumn('expires_at', 'bigint', (column) => column.notNull())
    .addColumn('changed_at', 'bigint', (column) => column.notNull())
    .addColumn('decided_at', 'bigint')
    .addColumn('decided_by', 'text')
    .addColumn('decided_way', 'text')
    .addColumn('reason', 'text')
    .addColumn('execution', 'text')
    .addColumn('lease_until', 'bigint')
    .addColumn('executed_at', 'bigint')
    .addColumn('settled_at', 'bigint')
    .addColumn('outcome', 'text')
    .addColumn('delivered_at', 'bigint')
    .execute();
  await db.schema
    .createIndex('approvals_active')
    .on('approvals')
    .column('identity')
    .unique()
    .where(sql.ref('state'), 'in', sql`('pending', 'approved', 'executing')`)
    .execute();
  await db.schema.createIndex('approvals_identity').on('approvals').column('identity').execute();
  await db.schema.createIndex('approvals_state').on('approvals').columns(['state', 'owner']).execute();
  await db.schema
    .createIndex('approvals_project')
    .on('approvals')
    .columns(['project_uid', 'requested_at'])
    .execute();
}
