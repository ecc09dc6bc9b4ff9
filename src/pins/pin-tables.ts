import type { Kysely, Transaction } from 'kysely';
import type { Schema, ToolPinsTable } from '../store/schema.ts';
import type { Pinned } from './pinned.ts';

/** A server as one project has it. */
export type Place = {
  project: { name: string; uid: string };
  server: { name: string; uid: string };
};

/** What is on record of a place. */
export type PinnedPlace = { version: number; tools: Pinned };

type Db = Kysely<Schema> | Transaction<Schema>;

const AT_ONCE = 100;

export function placeKey({ project, server }: { project: { uid: string }; server: { uid: string } }): string {
  return keyOf(project.uid, server.uid);
}

export function keyOf(project: string, server: string): string {
  return `${project}|${server}`;
}

/** The cells that name a place, by its key. */
export function columnsOf(key: string): { project_uid: string; server_uid: string } {
  const [project_uid = '', server_uid = ''] = key.split('|');
  return { project_uid, server_uid };
}

/** The version that this change makes; 1: the project has never seen the server before. */
export async function begun(transaction: Transaction<Schema>, place: Place): Promise<number> {
  const { version } = await transaction
    .insertInto('pinned_servers')
    .values({ ...columnsOf(placeKey(place)), version: 1, pinned_at: Date.now() })
    .onConflict((conflict) =>
      conflict
        .columns(['project_uid', 'server_uid'])
        .doUpdateSet((set) => ({ version: set('pinned_servers.version', '+', 1) })),
    )
    .returning('version')
    .executeTakeFirstOrThrow();
  return Number(version);
}

export async function pinnedIn(db: Db, key: string): Promise<Pinned> {
  const { project_uid, server_uid } = columnsOf(key);
  const rows = await db
    .selectFrom('tool_pins')
    .select(['tool', 'fingerprint', 'accepted_at'])
    .where('project_uid', '=', project_uid)
    .where('server_uid', '=', server_uid)
    .orderBy('seen_at')
    .execute();
  const pinned: Pinned = new Map();
  for (const row of rows) note(pinned, row);
  return pinned;
}

export function note(
  pinned: Pinned,
  { tool, fingerprint, accepted_at }: Pick<ToolPinsTable, 'tool' | 'fingerprint' | 'accepted_at'>,
): void {
  const known = pinned.get(tool) ?? new Map<string, boolean>();
  pinned.set(tool, known.set(fingerprint, accepted_at !== null));
}

/** How many characters of definitions are kept of a place. */
export async function lengthOf(transaction: Transaction<Schema>, key: string): Promise<number> {
  const { project_uid, server_uid } = columnsOf(key);
  const row = await transaction
    .selectFrom('tool_pins')
    .select((eb) => eb.fn.sum<number | null>(eb.fn<number>('length', ['definition'])).as('length'))
    .where('project_uid', '=', project_uid)
    .where('server_uid', '=', server_uid)
    .executeTakeFirst();
  return Number(row?.length ?? 0);
}

export async function insert(
  transaction: Transaction<Schema>,
  rows: readonly ToolPinsTable[],
): Promise<void> {
  for (let from = 0; from < rows.length; from += AT_ONCE)
    await transaction
      .insertInto('tool_pins')
      .values(rows.slice(from, from + AT_ONCE))
      // A definition that waited, and is accepted now.
      .onConflict((conflict) =>
        conflict
          .columns(['project_uid', 'server_uid', 'tool', 'fingerprint'])
          .doUpdateSet((set) => ({ accepted_at: set.ref('excluded.accepted_at') })),
      )
      .execute();
}

export async function remove(
  transaction: Transaction<Schema>,
  key: string,
  pins: readonly { tool: string; fingerprint: string }[],
): Promise<void> {
  const { project_uid, server_uid } = columnsOf(key);
  for (const { tool, fingerprint } of pins)
    await transaction
      .deleteFrom('tool_pins')
      .where('project_uid', '=', project_uid)
      .where('server_uid', '=', server_uid)
      .where('tool', '=', tool)
      .where('fingerprint', '=', fingerprint)
      .execute();
}
