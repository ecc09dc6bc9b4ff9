import type { Kysely, Selectable } from 'kysely';
import type { Schema } from '../../store/schema.ts';
import type { LinkKind, ShownLink, Status, Ticket, TicketSummary } from './ticket.ts';
import type { State } from './transitions.ts';
import { type Term, wordsOf } from './words.ts';

type Db = Kysely<Schema>;
export type TicketRow = Selectable<Schema['tickets']>;
type HistoryRow = Selectable<Schema['ticket_history']>;

const HISTORY_PAGE = 50;
/** Rows of one statement: a database takes so many values and no more. */
const WORDS_AT_ONCE = 1_000;

export function stateOf({ status, on_hold }: TicketRow): State {
  return on_hold === 1 ? 'on_hold' : (status as Status);
}

export async function findTicket(db: Db, id: string): Promise<TicketRow | undefined> {
  return db.selectFrom('tickets').selectAll().where('id', '=', id).executeTakeFirst();
}

export async function insertTicket(db: Db, row: TicketRow): Promise<void> {
  await db.insertInto('tickets').values(row).execute();
}

export async function addEntry(db: Db, entry: HistoryRow): Promise<void> {
  await db.insertInto('ticket_history').values(entry).execute();
}

/** The entry that a call with this key wrote. */
export async function findOnce(db: Db, key: string): Promise<HistoryRow | undefined> {
  return db.selectFrom('ticket_history').selectAll().where('once', '=', key).executeTakeFirst();
}

/** How many tickets of this owner are not at their end. */
export async function countOpen(db: Db, project: string, owner: string): Promise<number> {
  const { count } = await db
    .selectFrom('tickets')
    .select(({ fn }) => fn.countAll().as('count'))
    .where('project_uid', '=', project)
    .where('created_owner', '=', owner)
    .where('status', 'not in', ['resolved', 'cancelled'])
    .executeTakeFirstOrThrow();
  return Number(count);
}

/** False: somebody changed it since it was read, and nothing is written. */
export async function saveTicket(db: Db, read: TicketRow, change: Partial<TicketRow>): Promise<boolean> {
  const { numUpdatedRows } = await db
    .updateTable('tickets')
    .set({ ...change, version: read.version + 1, entries: read.entries + 1 })
    .where('id', '=', read.id)
    .where('version', '=', read.version)
    .executeTakeFirst();
  return Number(numUpdatedRows) === 1;
}

/** Makes the words of the texts find the ticket, beside those that do so already. */
export async function addWords(
  db: Db,
  { id, project_uid }: Pick<TicketRow, 'id' | 'project_uid'>,
  ...texts: string[]
): Promise<void> {
  await insertWords(db, { id, project_uid }, [...wordsOf(...texts)]);
}

/** Makes these labels find the ticket, and no others. */
export async function setLabels(
  db: Db,
  { id, project_uid }: Pick<TicketRow, 'id' | 'project_uid'>,
  labels: readonly string[],
  before: readonly string[] = [],
): Promise<void> {
  if (before.length > 0) {
    await db
      .deleteFrom('ticket_words')
      .where('project_uid', '=', project_uid)
      .where('word', 'in', before.map(labelWord))
      .where('ticket_id', '=', id)
      .execute();
  }
  await insertWords(db, { id, project_uid }, [...new Set(labels.map(labelWord))]);
}

/** No word of a text begins like that. */
const labelWord = (label: string) => `:${label}`;

async function insertWords(
  db: Db,
  { id, project_uid }: Pick<TicketRow, 'id' | 'project_uid'>,
  words: readonly string[],
): Promise<void> {
  for (let at = 0; at < words.length; at += WORDS_AT_ONCE) {
    const rows = words.slice(at, at + WORDS_AT_ONCE).map((word) => ({ project_uid, word, ticket_id: id }));
    await db
      .insertInto('ticket_words')
      .values(rows)
      .onConflict((conflict) => conflict.doNothing())
      .execute();
  }
}

/** @param from the ticket that `kind` is said of */
export async function addLink(db: Db, from: string, kind: LinkKind, to: string): Promise<void> {
  const row =
    kind === 'blocked_by' ? { from_id: to, kind: 'blocks', to_id: from } : { from_id: from, kind, to_id: to };
  await db
    .insertInto('ticket_links')
    .values(row)
    .onConflict((conflict) => conflict.doNothing())
    .execute();
}

/** How many links a ticket has, at either end. */
export async function countLinks(db: Db, id: string): Promise<number> {
  const { count } = await db
    .selectFrom('ticket_links')
    .select(({ fn }) => fn.countAll().as('count'))
    .where(({ or, eb }) => or([eb('from_id', '=', id), eb('to_id', '=', id)]))
    .executeTakeFirstOrThrow();
  return Number(count);
}

const OTHER_END: Readonly<Record<string, ShownLink['kind']>> = {
  blocks: 'blocked_by',
  follow_up_of: 'followed_up_by',
  related: 'related',
};

async function linksOf(db: Db, id: string): Promise<ShownLink[]> {
  const rows = await db
    .selectFrom('ticket_links')
    .selectAll()
    .where(({ or, eb }) => or([eb('from_id', '=', id), eb('to_id', '=', id)]))
    .orderBy('kind')
    .orderBy('from_id')
    .orderBy('to_id')
    .execute();
  return rows.map(({ from_id, kind, to_id }) =>
    from_id === id
      ? { kind: kind as LinkKind, ticket_id: to_id }
      : { kind: OTHER_END[kind] ?? 'related', ticket_id: from_id },
  );
}

/** The last entries, or those that follow `after`, oldest first. */
async function historyOf(db: Db, row: TicketRow, after: number | undefined): Promise<Ticket['history']> {
  const start = after === undefined ? Math.max(-1, row.entries - HISTORY_PAGE - 1) : after;
  const rows = await db
    .selectFrom('ticket_history')
    .selectAll()
    .where('ticket_id', '=', row.id)
    .where('seq', '>', start)
    .orderBy('seq')
    .limit(HISTORY_PAGE)
    .execute();
  return rows.map((entry) => ({
    seq: entry.seq,
    at: iso(entry.at),
    actor: entry.actor,
    actor_name: entry.actor_name,
    acted_as: entry.acted_as as Ticket['history'][number]['acted_as'],
    provenance: entry.provenance as Ticket['history'][number]['provenance'],
    act: entry.act,
    from: entry.from_state,
    to: entry.to_state,
    text: entry.text,
    changed: JSON.parse(entry.changed ?? '[]') as string[],
  }));
}

/** @param project name of the ticket's project now */
export function summaryOf(row: TicketRow, project: string): TicketSummary {
  const { id, title, ticket_type, priority, status, resolution, created_by, created_owner } = row;
  const hold = {
    acknowledged: row.acknowledged === 1,
    deferred_until: row.deferred_until === null ? null : iso(row.deferred_until),
  };
  return {
    id,
    project,
    title,
    ticket_type,
    priority: priority as TicketSummary['priority'],
    labels: JSON.parse(row.labels) as string[],
    status: status as Status,
    hold: row.on_hold === 1 ? hold : null,
    caller: { actor: created_by, user: created_owner },
    resolution: resolution as TicketSummary['resolution'],
    created_at: iso(row.created_at),
    updated_at: iso(row.updated_at),
    resolved_at: row.resolved_at === null ? null : iso(row.resolved_at),
  };
}

export async function wholeTicket(db: Db, row: TicketRow, project: string, after?: number): Promise<Ticket> {
  return {
    ...summaryOf(row, project),
    body: row.body,
    blocked_reason: row.blocked_reason,
    proposed_resolution: JSON.parse(row.proposal ?? 'null') as Ticket['proposed_resolution'],
    links: await linksOf(db, row.id),
    history: await historyOf(db, row, after),
    history_count: row.entries,
  };
}

export type Listed = {
  project: string;
  terms: readonly Term[];
  /** Only what this principal created for this owner. */
  createdBy?: { principal: string; owner: string } | undefined;
  status?: readonly string[] | undefined;
  ticket_type?: string | undefined;
  priority?: string | undefined;
  label?: string | undefined;
  /** The last of the page before. */
  before?: { at: number; id: string } | undefined;
  limit: number;
};

/** The newest first. */
export async function listTickets(db: Db, wish: Listed): Promise<TicketRow[]> {
  let query = db.selectFrom('tickets').selectAll().where('project_uid', '=', wish.project);
  const label = wish.label === undefined ? [] : [{ word: labelWord(wish.label), beginning: false }];
  for (const { word, beginning } of [...wish.terms, ...label]) {
    query = query.where('id', 'in', (eb) => {
      const found = eb.selectFrom('ticket_words').select('ticket_id').where('project_uid', '=', wish.project);
      // Words hold letters and digits alone: nothing in them means something to LIKE.
      return beginning ? found.where('word', 'like', `${word}%`) : found.where('word', '=', word);
    });
  }
  for (const field of ['ticket_type', 'priority'] as const) {
    const value = wish[field];
    if (value !== undefined) query = query.where(field, '=', value);
  }
  const { before, status, createdBy } = wish;
  if (createdBy) {
    const { principal, owner } = createdBy;
    query = query.where('created_by', '=', principal).where('created_owner', '=', owner);
  }
  if (status && status.length > 0) query = query.where('status', 'in', [...status]);
  if (before) {
    query = query.where(({ or, and, eb }) =>
      or([
        eb('created_at', '<', before.at),
        and([eb('created_at', '=', before.at), eb('id', '<', before.id)]),
      ]),
    );
  }
  return query.orderBy('created_at', 'desc').orderBy('id', 'desc').limit(wish.limit).execute();
}

function iso(at: number): string {
  return new Date(Number(at)).toISOString();
}
