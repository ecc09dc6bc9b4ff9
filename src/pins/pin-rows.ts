import type { Kysely, Transaction } from 'kysely';
import type { Audit } from '../audit/audit.ts';
import type { AuditEvent } from '../audit/event.ts';
import { canonicalName } from '../protocol/names.ts';
import type { Store } from '../store/database.ts';
import type { Schema, ToolPinsTable } from '../store/schema.ts';
import { admit, type Pinned, type SeenDefinition, type Unaccepted } from './pinned.ts';
import { findingsIn, kindsOf, newRoom, type Room } from './suspicious-text.ts';

/** A server as one project has it. */
export type Place = {
  project: { name: string; uid: string };
  server: { name: string; uid: string };
};

/** What is on record of a place. */
export type PinnedPlace = { version: number; tools: Pinned };

export type Accepted = 'accepted' | 'already' | 'unknown';

type Db = Kysely<Schema> | Transaction<Schema>;

const AT_ONCE = 100;
/** Longer ones are compared by their fingerprints alone, and so are all beyond this many characters of one place. */
const MAX_DEFINITION = 64 * 1024;
const MAX_DEFINITIONS = 32 * 1024 * 1024;

/**
 * The definitions that projects have seen, in the database. Whoever changes those of a place takes its row in
 * `pinned_servers` first, so that of several processes one decides and the others find what it decided.
 */
export class PinRows {
  readonly #store: Store;
  readonly #audit: Audit;

  constructor(store: Store, audit: Audit) {
    this.#store = store;
    this.#audit = audit;
  }

  /** Of every place, by its key. */
  async versions(): Promise<Map<string, number>> {
    const rows = await this.#store.db.selectFrom('pinned_servers').selectAll().execute();
    return new Map(rows.map((row) => [keyOf(row.project_uid, row.server_uid), Number(row.version)]));
  }

  /** What is on record of one place. */
  async read(key: string): Promise<Pinned> {
    return pinnedIn(this.#store.db, key);
  }

  async readAll(): Promise<Map<string, PinnedPlace>> {
    const versions = await this.versions();
    const places = new Map(
      [...versions].map(([key, version]) => [key, { version, tools: new Map() } as PinnedPlace]),
    );
    const rows = await this.#store.db
      .selectFrom('tool_pins')
      .select(['project_uid', 'server_uid', 'tool', 'fingerprint', 'accepted_at'])
      .orderBy('seen_at')
      .execute();
    for (const row of rows) {
      const place = places.get(keyOf(row.project_uid, row.server_uid));
      if (place) note(place.tools, row);
    }
    return places;
  }

  /** Keeps what was seen of a place for the first time, with the rows of the audit that tell of it. */
  async keep(place: Place, seen: readonly SeenDefinition[]): Promise<PinnedPlace> {
    const key = placeKey(place);
    return this.#store.db.transaction().execute(async (transaction) => {
      const version = await begun(transaction, place);
      const tools =
        version === 1 ? new Map<string, Map<string, boolean>>() : await pinnedIn(transaction, key);
      let room = MAX_DEFINITIONS - (version === 1 ? 0 : await lengthOf(transaction, key));
      const rows = new Map<string, ToolPinsTable>();
      const dropped: { tool: string; fingerprint: string }[] = [];
      const events: AuditEvent[] = [];
      const scanned = newRoom();
      for (const one of seen) {
        const before = [...(tools.get(one.tool) ?? [])];
        const admitted = admit(tools, { ...one, isFirst: one.isFirst && version === 1 });
        if (admitted.dropped !== undefined) dropped.push({ tool: one.tool, fingerprint: admitted.dropped });
        if (!admitted.isNews) continue;
        const text = JSON.stringify(one.definition);
        const kept = text.length <= MAX_DEFINITION && text.length <= room;
        if (kept) room -= text.length;
        rows.set(JSON.stringify([one.tool, one.fingerprint]), {
          ...columnsOf(key),
          tool: one.tool,
          fingerprint: one.fingerprint,
          definition: kept ? text : null,
          seen_at: Date.now(),
          accepted_at: admitted.why === undefined ? Date.now() : null,
          accepted_by: null,
        });
        // One that waits already was told of; whoever looks at it sees the others.
        if (admitted.why !== undefined && before.every(([, accepted]) => accepted))
          events.push(toldOf(place, one, { why: admitted.why, before: before.at(-1)?.[0] }, scanned));
      }
      await insert(transaction, [...rows.values()]);
      for (const one of dropped)
        await transaction
          .deleteFrom('tool_pins')
          .where('project_uid', '=', place.project.uid)
          .where('server_uid', '=', place.server.uid)
          .where('tool', '=', one.tool)
          .where('fingerprint', '=', one.fingerprint)
          .execute();
      await this.#audit.append(transaction, ...events);
      return { version, tools };
    });
  }

  /** Accepts one definition, if it is there and waits. */
  async accept(
    place: Place,
    { tool, fingerprint, by }: { tool: string; fingerprint: string; by: string },
  ): Promise<{ outcome: Accepted; now: PinnedPlace | undefined }> {
    const key = placeKey(place);
    const { project_uid, server_uid } = columnsOf(key);
    return this.#store.db.transaction().execute(async (transaction) => {
      const taken = await transaction
        .updateTable('pinned_servers')
        .set((row) => ({ version: row('version', '+', 1) }))
        .where('project_uid', '=', project_uid)
        .where('server_uid', '=', server_uid)
        .returning('version')
        .executeTakeFirst();
      if (!taken) return { outcome: 'unknown', now: undefined };
      const before = (await pinnedIn(transaction, key)).get(tool);
      const accepted = await transaction
        .updateTable('tool_pins')
        .set({ accepted_at: Date.now(), accepted_by: by })
        .where('project_uid', '=', project_uid)
        .where('server_uid', '=', server_uid)
        .where('tool', '=', tool)
        .where('fingerprint', '=', fingerprint)
        .where('accepted_at', 'is', null)
        .returning('definition')
        .executeTakeFirst();
      const now = { version: Number(taken.version), tools: await pinnedIn(transaction, key) };
      if (!accepted) return { outcome: before?.has(fingerprint) ? 'already' : 'unknown', now };
      const flags = kindsOf(findingsIn(JSON.parse(accepted.definition ?? 'null')));
      const last = [...(before ?? [])].findLast(([, is]) => is)?.[0];
      await this.#audit.append(transaction, {
        ...aboutTool(place, tool),
        event: 'tool.accepted',
        outcome: 'ok',
        detail: { fingerprint, before: last, flags },
      });
      return { outcome: 'accepted', now };
    });
  }

  /** The definitions of one tool, the newest first. */
  async ofTool({ project, server }: Place, tool: string): Promise<ToolPinsTable[]> {
    return this.#store.db
      .selectFrom('tool_pins')
      .selectAll()
      .where('project_uid', '=', project.uid)
      .where('server_uid', '=', server.uid)
      .where('tool', '=', tool)
      .orderBy('seen_at', 'desc')
      .execute();
  }

  /** Forgets all places of a project or of a server that is gone. */
  async forget(column: 'project_uid' | 'server_uid', uid: string): Promise<void> {
    await this.#store.db.transaction().execute(async (transaction) => {
      await transaction.deleteFrom('pinned_servers').where(column, '=', uid).execute();
      await transaction.deleteFrom('tool_pins').where(column, '=', uid).execute();
    });
  }
}

export function placeKey({ project, server }: { project: { uid: string }; server: { uid: string } }): string {
  return keyOf(project.uid, server.uid);
}

function keyOf(project: string, server: string): string {
  return `${project}|${server}`;
}

function columnsOf(key: string): { project_uid: string; server_uid: string } {
  const [project_uid = '', server_uid = ''] = key.split('|');
  return { project_uid, server_uid };
}

/** The version that this change makes; 1: the project has never seen the server before. */
async function begun(transaction: Transaction<Schema>, place: Place): Promise<number> {
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

async function pinnedIn(db: Db, key: string): Promise<Pinned> {
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

function note(
  pinned: Pinned,
  { tool, fingerprint, accepted_at }: Pick<ToolPinsTable, 'tool' | 'fingerprint' | 'accepted_at'>,
): void {
  const known = pinned.get(tool) ?? new Map<string, boolean>();
  pinned.set(tool, known.set(fingerprint, accepted_at !== null));
}

async function lengthOf(transaction: Transaction<Schema>, key: string): Promise<number> {
  const { project_uid, server_uid } = columnsOf(key);
  const row = await transaction
    .selectFrom('tool_pins')
    .select((eb) => eb.fn.sum<number | null>(eb.fn<number>('length', ['definition'])).as('length'))
    .where('project_uid', '=', project_uid)
    .where('server_uid', '=', server_uid)
    .executeTakeFirst();
  return Number(row?.length ?? 0);
}

async function insert(transaction: Transaction<Schema>, rows: readonly ToolPinsTable[]): Promise<void> {
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

function aboutTool({ project, server }: Place, tool: string) {
  return { project: project.name, server: server.name, tool: canonicalName(server.name, tool) };
}

function toldOf(
  place: Place,
  { tool, fingerprint, definition, changedTools }: SeenDefinition,
  { why, before }: { why: Unaccepted; before: string | undefined },
  room: Room,
): AuditEvent {
  const isShown = why === 'changed' && changedTools === 'warn';
  return {
    ...aboutTool(place, tool),
    event: isShown ? 'tool.warned' : 'tool.held',
    outcome: 'told',
    // Nobody's doing, whoever happened to list the tools.
    ...{ actor: { kind: 'castellan' }, address: undefined, trace: undefined },
    detail: { fingerprint, before, why, flags: kindsOf(findingsIn(definition, room)) },
  };
}
