import type { Kysely, SelectQueryBuilder } from 'kysely';
import { Refusal } from '../base/errors.ts';
import type { AuditEventsTable, Schema } from '../store/schema.ts';
import { type AuditFilter, FILTERS } from './filter.ts';
import { type RecordedEvent, recordedEvent } from './row.ts';

export type AuditQuery = {
  filter: AuditFilter;
  /** Milliseconds since 1970; `since` belongs to the stretch, `until` does not. */
  since?: number;
  until?: number;
  order: 'newest' | 'oldest';
  limit: number;
  /** As an earlier answer gave it. */
  cursor?: string;
};

export type AuditPage = {
  items: RecordedEvent[];
  /** Where the next page begins; left out when there is none. */
  next?: string;
};

type Place = { at: number; chain: string; seq: number };

/** One statement looks at no more rows than this, so that none holds up the others for long. */
const WINDOW = 5_000;
const PATTERNED: ReadonlySet<string> = new Set(['event', 'tool', 'target']);
/** A page that is not full after this long says where to go on. */
const PATIENCE_MS = 5_000;

/** Reads events by any field, ordered by time. */
export async function queryEvents(db: Kysely<Schema>, query: AuditQuery): Promise<AuditPage> {
  const items: RecordedEvent[] = [];
  const deadline = Date.now() + PATIENCE_MS;
  let from = query.cursor === undefined ? undefined : placeOf(query.cursor);
  for (;;) {
    const page = await windowOf(db, query, from, query.limit - items.length);
    for (const row of page.rows) items.push(recordedEvent(row));
    from = page.next;
    if (!from) return { items };
    if (items.length >= query.limit || Date.now() > deadline) return { items, next: cursorOf(from) };
  }
}

export type Rows = SelectQueryBuilder<Schema, 'audit_events', AuditEventsTable>;

/** Matches among the next rows in time; `next` is where the look ended. */
async function windowOf(
  db: Kysely<Schema>,
  query: AuditQuery,
  from: Place | undefined,
  limit: number,
): Promise<{ rows: AuditEventsTable[]; next: Place | undefined }> {
  const stretch = ordered(between(db.selectFrom('audit_events').selectAll(), query, from), query);
  const [edge] = await stretch
    .offset(WINDOW - 1)
    .limit(1)
    .execute();
  let bounded = stretch;
  if (edge) bounded = upTo(stretch, edge, query);
  const rows = await matching(bounded, query.filter).limit(limit).execute();
  const last = rows.at(-1);
  if (rows.length === limit && last) return { rows, next: last };
  return { rows, next: edge };
}

function ordered(rows: Rows, { order }: AuditQuery): Rows {
  const direction = order === 'newest' ? 'desc' : 'asc';
  return rows.orderBy('at', direction).orderBy('chain', direction).orderBy('seq', direction);
}

function between(rows: Rows, { since, until, order }: AuditQuery, from: Place | undefined): Rows {
  let stretch = rows;
  if (since !== undefined) stretch = stretch.where('at', '>=', since);
  if (until !== undefined) stretch = stretch.where('at', '<', until);
  if (!from) return stretch;
  const beyond = order === 'newest' ? '<' : '>';
  return stretch.where(({ eb, refTuple, tuple }) =>
    eb(refTuple('at', 'chain', 'seq'), beyond, tuple(from.at, from.chain, from.seq)),
  );
}

function upTo(rows: Rows, edge: Place, { order }: AuditQuery): Rows {
  return rows.where(({ eb, refTuple, tuple }) =>
    eb(
      refTuple('at', 'chain', 'seq'),
      order === 'newest' ? '>=' : '<=',
      tuple(edge.at, edge.chain, edge.seq),
    ),
  );
}

export function matching<R extends Rows>(rows: R, filter: AuditFilter): R {
  let found = rows;
  for (const [name, wanted] of Object.entries(filter)) {
    if (wanted === undefined) continue;
    const column = FILTERS[name as keyof AuditFilter];
    const prefix = PATTERNED.has(name) && wanted.endsWith('*') ? wanted.slice(0, -1) : undefined;
    found = (
      prefix === undefined
        ? found.where(column, '=', column === 'seq' ? Number(wanted) : wanted)
        : found.where(({ eb, fn, val, lit }) =>
            eb(fn('substr', [column, lit(1), lit(prefix.length)]), '=', val(prefix)),
          )
    ) as R;
  }
  return found;
}

function cursorOf({ at, chain, seq }: Place): string {
  return Buffer.from(JSON.stringify([at, chain, seq])).toString('base64url');
}

/** @throws Refusal `invalid` for a cursor that is none of ours */
function placeOf(cursor: string): Place {
  try {
    const [at, chain, seq] = JSON.parse(Buffer.from(cursor, 'base64url').toString()) as unknown[];
    if (Number.isSafeInteger(at) && typeof chain === 'string' && Number.isSafeInteger(seq)) {
      return { at: at as number, chain, seq: seq as number };
    }
  } catch {
    // Said below.
  }
  throw new Refusal('invalid', 'cursor: is none that an earlier answer gave: start without it');
}
