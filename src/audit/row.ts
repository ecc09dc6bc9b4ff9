import type { Cell, Column } from '../store/append.ts';
import type { AuditEventsTable } from '../store/schema.ts';
import type { AuditEvent } from './event.ts';
import { detailText } from './redact.ts';

/** Columns of a row in the order in which its hash covers them; the hash itself stands last. */
export const COLUMNS = [
  ['chain', 'text'],
  ['seq', 'bigint'],
  ['at', 'bigint'],
  ['event', 'text'],
  ['outcome', 'text'],
  ['actor', 'text'],
  ['user_name', 'text'],
  ['token_name', 'text'],
  ['token_sha', 'text'],
  ['behind', 'text'],
  ['address', 'text'],
  ['project', 'text'],
  ['surface', 'text'],
  ['server', 'text'],
  ['tool', 'text'],
  ['target', 'text'],
  ['trace', 'text'],
  ['duration_ms', 'bigint'],
  ['digest', 'text'],
  ['intent', 'text'],
  ['detail', 'text'],
  ['hash', 'text'],
] as const satisfies readonly (readonly [keyof AuditEventsTable, Column['type']])[];

/** Where the digest of the arguments stands. */
export const DIGEST_AT = COLUMNS.findIndex(([name]) => name === 'digest');

export const TABLE_COLUMNS: readonly Column[] = COLUMNS.map(([name, type]) => ({ name, type }));

const MAX_NAME = 300;

/** The row's cells without its hash. A NUL, which PostgreSQL cannot hold, and halves of characters are replaced. */
export function cellsOf(event: AuditEvent, chain: string, seq: number, now: number): Cell[] {
  const { actor } = event;
  const token = actor.kind === 'token' ? actor : undefined;
  return [
    chain,
    seq,
    event.at ?? now,
    event.event,
    event.outcome,
    actor.kind,
    text('user' in actor ? actor.user : undefined),
    text(token?.token),
    token?.sha ?? null,
    text('behind' in actor ? actor.behind : undefined),
    text(event.address),
    text(event.project),
    event.surface ?? null,
    text(event.server),
    text(event.tool),
    text(event.target),
    event.trace ?? null,
    event.durationMs === undefined ? null : Math.max(0, Math.round(event.durationMs) || 0),
    event.digest ?? null,
    event.intent ?? null,
    detailText(event.event, event.detail)?.toWellFormed() ?? null,
  ];
}

/** The same cells of a row that was read. */
export function cellsOfRow(row: AuditEventsTable): Cell[] {
  return COLUMNS.slice(0, -1).map(([name]) => row[name]);
}

function text(value: string | undefined): string | null {
  if (value === undefined) return null;
  const short = value.length > MAX_NAME ? value.slice(0, MAX_NAME) : value;
  return short.isWellFormed() && !short.includes('\0')
    ? short
    : short.toWellFormed().replaceAll('\0', '\ufffd');
}

/** What may stand where a row is named: `<chain>.<sequence>`. */
export const idOf = (chain: string, seq: number): string => `${chain}.${seq}`;

/** An event as it is read. */
export type RecordedEvent = {
  id: string;
  /** ISO 8601. */
  at: string;
  event: string;
  outcome: string;
  actor: string;
  user?: string;
  token?: string;
  tokenSha?: string;
  /** The principal that acted as this one. */
  behind?: string;
  address?: string;
  project?: string;
  surface?: string;
  server?: string;
  tool?: string;
  target?: string;
  trace?: string;
  durationMs?: number;
  argumentsDigest?: string;
  intent?: string;
  detail?: unknown;
};

export function recordedEvent(row: AuditEventsTable): RecordedEvent {
  const all = {
    id: idOf(row.chain, row.seq),
    at: new Date(row.at).toISOString(),
    event: row.event,
    outcome: row.outcome,
    actor: row.actor,
    user: row.user_name,
    token: row.token_name,
    tokenSha: row.token_sha,
    behind: row.behind,
    address: row.address,
    project: row.project,
    surface: row.surface,
    server: row.server,
    tool: row.tool,
    target: row.target,
    trace: row.trace,
    durationMs: row.duration_ms,
    argumentsDigest: row.digest,
    intent: row.intent,
    detail: parsed(row.detail),
  };
  return Object.fromEntries(Object.entries(all).filter(([, value]) => value !== null)) as RecordedEvent;
}

/** A row that somebody changed may hold anything; it is still shown. */
function parsed(detail: string | null): unknown {
  if (detail === null) return null;
  try {
    return JSON.parse(detail);
  } catch {
    return detail;
  }
}
