import type { Kysely } from 'kysely';

/** The definitions of tools that each project has seen, and which of them are accepted. */
export async function up(db: Kysely<unknown>): Promise<void> {
  await db.schema
    .createTable('pinned_servers')
    .addColumn('project_uid', 'text', (column) => column.notNull())
    .addColumn('server_uid', 'text', (column) => column.notNull())
    .addColumn('version', 'bigint', (column) => column.notNull())
    .addColumn('pinned_at', 'bigint', (column) => column.notNull())
    .addPrimaryKeyConstraint('pinned_servers_key', ['project_uid', 'server_uid'])
    .execute();
  await db.schema
    .createTable('tool_pins')
    .addColumn('project_uid', 'text', (column) => column.notNull())
    .addColumn('server_uid', 'text', (column) => column.notNull())
    .addColumn('tool', 'text', (column) => column.notNull())
    .addColumn('fingerprint', 'text', (column) => column.notNull())
    .addColumn('definition', 'text')
    .addColumn('seen_at', 'bigint', (column) => column.notNull())
    .addColumn('accepted_at', 'bigint')
    .addColumn('accepted_by', 'text')
    .addPrimaryKeyConstraint('tool_pins_key', ['project_uid', 'server_uid', 'tool', 'fingerprint'])
    .execute();
}
