import type { Kysely } from 'kysely';

/** What is to be told of approvals outside, when somebody is reminded of one, and the time by which they expire. */
export async function up(db: Kysely<unknown>): Promise<void> {
  await db.schema.alterTable('approvals').addColumn('remind_at', 'bigint').execute();
  await db.schema
    .alterTable('approvals')
    .addColumn('reminders', 'bigint', (column) => column.notNull().defaultTo(0))
    .execute();
  await db.schema
    .createTable('approval_notices')
    .addColumn('id', 'text', (column) => column.primaryKey().notNull())
    .addColumn('approval_id', 'text', (column) => column.notNull())
    .addColumn('event', 'text', (column) => column.notNull())
    .addColumn('state', 'text', (column) => column.notNull())
    .addColumn('made_at', 'bigint', (column) => column.notNull())
    .addColumn('due_at', 'bigint', (column) => column.notNull())
    .addColumn('attempts', 'bigint', (column) => column.notNull())
    .addColumn('problem', 'text')
    .addColumn('ended_at', 'bigint')
    .execute();
  await db.schema
    .createIndex('approval_notices_due')
    .on('approval_notices')
    .columns(['state', 'due_at'])
    .execute();
  await db.schema
    .createIndex('approval_notices_approval')
    .on('approval_notices')
    .columns(['approval_id', 'made_at'])
    .execute();
  await db.schema
    .createTable('approval_clock')
    .addColumn('id', 'text', (column) => column.primaryKey().notNull())
    .addColumn('seen_at', 'bigint', (column) => column.notNull())
    .execute();
}
