import type { RecordedEvent } from '../../audit/row.ts';
import { contains } from './filters.ts';
import { type Line, padded, plainText, type Span, span, type Tone } from './lines.ts';
import { cursorOf, type Entry, type Gap, type State } from './model.ts';
import { fit, shown } from './screen-text.ts';

type Column = {
  title: string;
  value: (event: RecordedEvent, newest: string) => string | undefined;
  /** Cells in a narrow and in a wide timeline; 0: left out. */
  narrow: number;
  wide: number;
  tone?: (event: RecordedEvent) => Tone;
};

const WIDE = 100;

/** What the event was about takes what the others leave. */
const COLUMNS: readonly Column[] = [
  { title: 'TIME', value: ({ at }, newest) => timeOf(at, newest), narrow: 8, wide: 9 },
  {
    title: 'OUTCOME',
    value: ({ outcome }) => SHORT_OUTCOMES[outcome] ?? outcome,
    narrow: 7,
    wide: 10,
    tone: ({ outcome }) => toneOf(outcome),
  },
  { title: 'EVENT', value: ({ event }) => event, narrow: 11, wide: 17 },
  { title: 'TOKEN', value: ({ token }) => token ?? '-', narrow: 8, wide: 14 },
  { title: 'USER', value: ({ user, actor }) => user ?? actor, narrow: 9, wide: 18 },
  { title: 'PROJECT', value: ({ project }) => project ?? '-', narrow: 0, wide: 10 },
  { title: 'MS', value: ({ durationMs }) => durationMs?.toString() ?? '-', narrow: 0, wide: 6 },
];

const SHORT_OUTCOMES: Readonly<Record<string, string>> = { tool_error: 'toolerr', input_required: 'asks' };

const OUTCOME_TONES: Readonly<Record<string, Tone>> = {
  ok: 'good',
  allowed: 'accent',
  input_required: 'accent',
  tool_error: 'warn',
  error: 'bad',
  refused: 'bad',
};

export const toneOf = (outcome: string): Tone => OUTCOME_TONES[outcome] ?? 'plain';

/** Head and rows of the timeline, each of exactly `width` cells. */
export function timelineLines(state: State, width: number, rows: number): Line[] {
  const head = row(width, ({ title }) => span(title, 'dim'), span('WHAT', 'dim'), ' ');
  const cursor = cursorOf(state);
  const top = topOf(state.entries.length, cursor, rows);
  const newest = state.entries.at(-1)?.at ?? '';
  const lines = state.entries
    .slice(top, top + rows)
    .map((entry, index) => entryLine(entry, { state, width, newest, isCursor: top + index === cursor }));
  if (lines.length === 0) lines.push(padded([span(` ${emptyText(state)}`, 'dim')], width));
  return [padded(head, width), ...lines];
}

/** The cursor stays in the middle where there are rows on both sides of it. */
function topOf(count: number, cursor: number, rows: number): number {
  return Math.max(0, Math.min(cursor - Math.floor(rows / 2), count - rows));
}

function emptyText({ loading, filter }: State): string {
  if (loading) return 'asking the server …';
  return Object.keys(filter).length > 0 ? 'no event matches the filters: c lifts them' : 'no events yet';
}

type RowContext = { state: State; width: number; newest: string; isCursor: boolean };

function entryLine(entry: Entry, { state, width, newest, isCursor }: RowContext): Line {
  const marker = isCursor ? '▸' : entry.event && contains(entry.event, state.search) ? '*' : ' ';
  const line = entry.gap ? gapLine(entry.gap, marker) : eventLine(entry.event, width, newest, marker);
  const full = padded(line, width);
  return isCursor && state.focus === 'timeline' ? [span(plainText(full), 'bar')] : full;
}

function eventLine(event: RecordedEvent, width: number, newest: string, marker: string): Line {
  const about = span(shown(aboutOf(event)), 'bold');
  return row(
    width,
    ({ value, tone }) => span(shown(String(value(event, newest) ?? '')), tone?.(event) ?? 'plain'),
    about,
    marker,
  );
}

function gapLine({ from, to, reason, skipped }: Gap, marker: string): Line {
  const stretch = `${from.slice(11, 19)} to ${to.slice(11, 19)}`;
  const said = skipped ? 'not all shown' : 'not live';
  return [span(`${marker}── ${stretch}: ${said}: ${shown(reason)}`, 'warn')];
}

function row(width: number, cell: (column: Column) => Span, last: Span, marker: string): Line {
  const spans: Span[] = [span(marker)];
  for (const column of COLUMNS) {
    const cells = width >= WIDE ? column.wide : column.narrow;
    if (cells === 0) continue;
    const { text, tone } = cell(column);
    spans.push({ text: fit(text, cells), tone }, span(' '));
  }
  return [...spans, last];
}

/** The time of day; for another day than the newest event's, the day and the hour. */
function timeOf(at: string, newest: string): string {
  return at.slice(0, 10) === newest.slice(0, 10)
    ? at.slice(11, 19)
    : `${at.slice(5, 10)}·${at.slice(11, 13)}`;
}

/** The tool, else what was changed, else the server or client, else the first thing that the details say. */
function aboutOf({ tool, target, server, detail }: RecordedEvent): string {
  const { client } = (detail ?? {}) as { client?: unknown };
  const named = tool ?? target ?? server ?? client;
  if (named !== undefined) return String(named);
  const first = Object.values((detail ?? {}) as object).find((value) => typeof value === 'string');
  return typeof first === 'string' ? first : '';
}
