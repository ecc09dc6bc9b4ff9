import type { Kysely } from 'kysely';

/** The audit: its chains, the manifest that lists them, and what was last seen of each tool. */
export async function up(db: Kysely<unknown>): Promise<void> {
  await db.schema
    .createTable('audit_manifest')
    .addColumn('id', 'bigint', (column) => column.primaryKey().notNull())
    .addColumn('first_ordinal', 'bigint', (column) => column.notNull())
    .addColumn('last_ordinal', 'bigint', (column) => column.notNull())
    .addColumn('seal', 'text', (column) => column.notNull())
    .execute();

  await db.schema
    .createTable('audit_chains')
    .addColumn('id', 'text', (column) => column.primaryKey().notNull())
    .addColumn('ordinal', 'bigint', (column) => column.notNull().unique())
    .addColumn('kind', 'text', (column) => column.notNull())
    .addColumn('opened_at', 'bigint', (column) => column.notNull())
    .addColumn('head_seq', 'bigint', (column) => column.notNull())
    .addColumn('head_hash', 'text', (column) => column.notNull())
    .addColumn('head_seal', 'text', (column) => column.notNull())
    .addColumn('base_seq', 'bigint', (column) => column.notNull())
    .addColumn('base_hash', 'text', (column) => column.notNull())
    .addColumn('base_seal', 'text', (column) => column.notNull())
    .execute();

  await createEvents(db);

  await db.schema
    .createTable('tool_sightings')
    .addColumn('server', 'text', (column) => column.notNull())
    .addColumn('tool', 'text', (column) => column.notNull())
    .addColumn('fingerprint', 'text', (column) => column.notNull())
    .addColumn('seen_at', 'bigint', (column) => column.notNull())
    .addPrimaryKeyConstraint('tool_sightings_pk', ['server', 'tool'])
    .execute();
}

async function createEvents(db: Kysely<unknown>): Promise<void> {
  await db.schema
    .createTable('audit_events')
    .addColumn('chain', 'text', (column) => column.notNull())
    .addColumn('seq', 'bigint', (column) => column.notNull())
    .addColumn('at', 'bigint', (column) => column.notNull())
    .addColumn('event', 'text', (column) => column.notNull())
    .addColumn('outcome', 'text', (column) => column.notNull())
    .addColumn('actor', 'text', (column) => column.notNull())
    .addColumn('user_name', 'text')
    .addColumn('token_name', 'text')
    .addColumn('token_sha', 'text')
    .addColumn('behind', 'text')
    .addColumn('address', 'text')
    .addColumn('project', 'text')
    .addColumn('surface', 'text')
    .addColumn('server', 'text')
    .addColumn('tool', 'text')
    .addColumn('target', 'text')
    .addColumn('trace', 'text')
    .addColumn('duration_ms', 'bigint')
    .addColumn('digest', 'text')
    .addColumn('intent', 'text')
    .addColumn('detail', 'text')
    .addColumn('hash', 'text', (column) => column.notNull())
    .addPrimaryKeyConstraint('audit_events_pk', ['chain', 'seq'])
    .execute();
  // Two indexes are what every call pays for; queries read a stretch of time and filter.
  await db.schema.createIndex('audit_events_at').on('audit_events').columns(['at', 'chain', 'seq']).execute();
}
