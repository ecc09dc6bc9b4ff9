import type { Kysely } from 'kysely';

/** Tickets, what happened to them, what they are to each other, and the words by which they are found. */
export async function up(db: Kysely<unknown>): Promise<void> {
  await db.schema
    .createTable('tickets')
    .addColumn('id', 'text', (column) => column.primaryKey().notNull())
    .addColumn('project_uid', 'text', (column) => column.notNull())
    .addColumn('version', 'integer', (column) => column.notNull())
    .addColumn('title', 'text', (column) => column.notNull())
    .addColumn('body', 'text', (column) => column.notNull())
    .addColumn('ticket_type', 'text', (column) => column.notNull())
    .addColumn('priority', 'text', (column) => column.notNull())
    .addColumn('labels', 'text', (column) => column.notNull())
    .addColumn('status', 'text', (column) => column.notNull())
    .addColumn('on_hold', 'integer', (column) => column.notNull())
    .addColumn('acknowledged', 'integer', (column) => column.notNull())
    .addColumn('deferred_until', 'bigint')
    .addColumn('blocked_reason', 'text')
    .addColumn('proposal', 'text')
    .addColumn('resolution', 'text')
    .addColumn('created_by', 'text', (column) => column.notNull())
    .addColumn('created_owner', 'text', (column) => column.notNull())
    .addColumn('created_at', 'bigint', (column) => column.notNull())
    .addColumn('updated_at', 'bigint', (column) => column.notNull())
    .addColumn('resolved_at', 'bigint')
    .addColumn('entries', 'integer', (column) => column.notNull())
    .execute();
  await db.schema
    .createIndex('tickets_listed')
    .on('tickets')
    .columns(['project_uid', 'created_at', 'id'])
    .execute();

  await db.schema
    .createIndex('tickets_created')
    .on('tickets')
    .columns(['project_uid', 'created_owner', 'status'])
    .execute();

  await db.schema
    .createTable('ticket_history')
    .addColumn('ticket_id', 'text', (column) => column.notNull())
    .addColumn('seq', 'integer', (column) => column.notNull())
    .addColumn('at', 'bigint', (column) => column.notNull())
    .addColumn('actor', 'text', (column) => column.notNull())
    .addColumn('actor_name', 'text', (column) => column.notNull())
    .addColumn('acted_as', 'text', (column) => column.notNull())
    .addColumn('provenance', 'text', (column) => column.notNull())
    .addColumn('act', 'text', (column) => column.notNull())
    .addColumn('from_state', 'text')
    .addColumn('to_state', 'text', (column) => column.notNull())
    .addColumn('text', 'text')
    .addColumn('changed', 'text')
    // Principal and key together, of the call that wrote the entry; and what the call was.
    .addColumn('once', 'text')
    .addColumn('once_digest', 'text')
    .addPrimaryKeyConstraint('ticket_history_key', ['ticket_id', 'seq'])
    .execute();
  await db.schema.createIndex('ticket_history_once').unique().on('ticket_history').column('once').execute();

  await db.schema
    .createTable('ticket_links')
    .addColumn('from_id', 'text', (column) => column.notNull())
    .addColumn('kind', 'text', (column) => column.notNull())
    .addColumn('to_id', 'text', (column) => column.notNull())
    .addPrimaryKeyConstraint('ticket_links_key', ['from_id', 'kind', 'to_id'])
    .execute();
  await db.schema.createIndex('ticket_links_to').on('ticket_links').column('to_id').execute();

  await db.schema
    .createTable('ticket_words')
    .addColumn('project_uid', 'text', (column) => column.notNull())
    .addColumn('word', 'text', (column) => column.notNull())
    .addColumn('ticket_id', 'text', (column) => column.notNull())
    .addPrimaryKeyConstraint('ticket_words_key', ['project_uid', 'word', 'ticket_id'])
    .execute();
}
