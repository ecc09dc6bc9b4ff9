import type { Audit } from '../audit/audit.ts';
import type { AuditEvent } from '../audit/event.ts';
import { canonicalName } from '../protocol/names.ts';
import type { Store } from '../store/database.ts';
import type { ToolPinsTable } from '../store/schema.ts';
import {
  begun,
  columnsOf,
  insert,
  keyOf,
  lengthOf,
  note,
  type PinnedPlace,
  type Place,
  pinnedIn,
  placeKey,
  remove,
} from './pin-tables.ts';
import { admit, type Pinned, type SeenDefinition, type Unaccepted } from './pinned.ts';
import { findingsIn, kindsOf, newRoom, type Room } from './suspicious-text.ts';

export type Accepted = 'accepted' | 'already' | 'unknown';

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
      const tools: Pinned = version === 1 ? new Map() : await pinnedIn(transaction, key);
      let room = MAX_DEFINITIONS - (version === 1 ? 0 : await lengthOf(transaction, key));
      const scanned = newRoom();
      const rows = new Map<string, ToolPinsTable>();
      const dropped: { tool: string; fingerprint: string }[] = [];
      const events: AuditEvent[] = [];
      for (const one of seen) {
        const before = [...(tools.get(one.tool) ?? [])];
        const {
          isNews,
          why,
          dropped: oldest,
        } = admit(tools, { ...one, isFirst: one.isFirst && version === 1 });
        if (oldest !== undefined) dropped.push({ tool: one.tool, fingerprint: oldest });
        if (!isNews) continue;
        const row = rowOf(key, one, why === undefined, room);
        room -= row.definition?.length ?? 0;
        rows.set(JSON.stringify([one.tool, one.fingerprint]), row);
        // One that waits already was told of; whoever looks at it sees the others.
        if (why !== undefined && before.every(([, accepted]) => accepted))
          events.push(toldOf(place, one, { why, before: before.at(-1)?.[0] }, scanned));
      }
      // What made room may have been seen once more since.
      const isKept = (one: { tool: string; fingerprint: string }) =>
        tools.get(one.tool)?.has(one.fingerprint);
      await insert(transaction, [...rows.values()].filter(isKept));
      await remove(
        transaction,
        key,
        dropped.filter((one) => !isKept(one)),
      );
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

function aboutTool({ project, server }: Place, tool: string) {
  return { project: project.name, server: server.name, tool: canonicalName(server.name, tool) };
}

function rowOf(
  key: string,
  { tool, fingerprint, definition }: SeenDefinition,
  isAccepted: boolean,
  room: number,
): ToolPinsTable {
  const text = JSON.stringify(definition);
  const now = Date.now();
  return {
    ...columnsOf(key),
    tool,
    fingerprint,
    definition: text.length <= Math.min(MAX_DEFINITION, room) ? text : null,
    seen_at: now,
    accepted_at: isAccepted ? now : null,
    accepted_by: null,
  };
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
