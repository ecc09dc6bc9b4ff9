import type { RecordedEvent } from '../../audit/row.ts';
import { type Caller, seen } from './callers.ts';
import { type Filter, type FilterField, matches } from './filters.ts';

/** What one row of the timeline is about. */
export type Entry =
  | { id: string; at: string; event: RecordedEvent; gap?: undefined }
  | { id: string; at: string; gap: Gap; event?: undefined };

/** A stretch in which nothing could be seen live. Unless `skipped`, what happened then stands below it. */
export type Gap = { from: string; to: string; reason: string; skipped: boolean };

export type Link =
  /** `server`: what answers; after a restart it may have another port. */
  | { state: 'live'; server: string }
  /** Times are ISO 8601. */
  | { state: 'lost'; since: string; nextTry: string; reason: string };

export type Mode =
  | { kind: 'list' }
  | { kind: 'search'; text: string }
  | { kind: 'pick-filter' }
  | { kind: 'edit-filter'; field: FilterField; text: string }
  | { kind: 'details'; scroll: number }
  | { kind: 'help'; scroll: number };

export type Size = { columns: number; rows: number };

/** Everything that the screen shows. */
export type State = {
  size: Size;
  link: Link;
  /** Oldest first, at most MAX_ENTRIES. */
  entries: readonly Entry[];
  /** What came while paused, whatever the filters say. */
  held: readonly Entry[];
  /** How many of those are lost, because more came than are kept. */
  overflow: number;
  paused: boolean;
  /** Where older events are to be had; undefined when there are none. */
  older: string | undefined;
  /** What is being fetched. */
  loading: 'page' | 'older' | undefined;
  /** The row under the cursor; undefined follows the newest. */
  selected: string | undefined;
  callers: readonly Caller[];
  selectedCaller: string | undefined;
  focus: 'timeline' | 'sessions';
  filter: Filter;
  search: string;
  mode: Mode;
  /** One sentence that stays until the next key. */
  notice: string | undefined;
  over: boolean;
};

/** What comes from the server or the terminal, keys apart. */
export type Arrival =
  | { type: 'seed'; events: readonly RecordedEvent[] }
  /** `filter`: what it was asked with; an answer to an earlier question is dropped. Newest first. */
  | { type: 'page'; filter: Filter; events: readonly RecordedEvent[]; next: string | undefined }
  | { type: 'older'; filter: Filter; events: readonly RecordedEvent[]; next: string | undefined }
  | { type: 'failed'; filter: Filter; reason: string }
  | { type: 'news'; events: readonly RecordedEvent[] }
  | { type: 'link'; link: Link }
  | { type: 'gap'; gap: Gap }
  | { type: 'resize'; size: Size };

export const MAX_ENTRIES = 5_000;

export function firstState(server: string, size: Size, filter: Filter): State {
  return {
    size,
    link: { state: 'live', server },
    entries: [],
    held: [],
    overflow: 0,
    paused: false,
    older: undefined,
    loading: 'page',
    selected: undefined,
    callers: [],
    selectedCaller: undefined,
    focus: 'timeline',
    filter,
    search: '',
    mode: { kind: 'list' },
    notice: undefined,
    over: false,
  };
}

export function arrive(state: State, arrival: Arrival): State {
  switch (arrival.type) {
    case 'seed':
      return { ...state, callers: seen(state.callers, arrival.events) };
    case 'page':
      return arrival.filter === state.filter ? firstPage(state, arrival.events, arrival.next) : state;
    case 'older':
      return arrival.filter === state.filter ? olderPage(state, arrival.events, arrival.next) : state;
    case 'failed':
      if (arrival.filter !== state.filter) return state;
      return { ...state, loading: undefined, notice: arrival.reason };
    case 'news': {
      const heard = { ...state, callers: seen(state.callers, arrival.events) };
      return come(heard, arrival.events.map(entryOf));
    }
    case 'link':
      return { ...state, link: arrival.link };
    case 'gap':
      return come(state, [gapEntry(arrival.gap)]);
    case 'resize':
      return { ...state, size: arrival.size };
  }
}

const entryOf = (event: RecordedEvent): Entry => ({ id: event.id, at: event.at, event });
const gapEntry = (gap: Gap): Entry => ({ id: `gap ${gap.from}`, at: gap.to, gap });

function firstPage(state: State, events: readonly RecordedEvent[], next: string | undefined): State {
  const page = events.map(entryOf).reverse();
  const known = new Set(page.map(({ id }) => id));
  const entries = [...page, ...state.entries.filter(({ id }) => !known.has(id))].slice(-MAX_ENTRIES);
  return { ...state, entries, older: next, loading: undefined };
}

function olderPage(state: State, events: readonly RecordedEvent[], next: string | undefined): State {
  const room = MAX_ENTRIES - state.entries.length;
  const known = new Set(state.entries.map(({ id }) => id));
  const fresh = events.filter(({ id }) => !known.has(id));
  const page = fresh.slice(0, room).map(entryOf).reverse();
  const older = fresh.length > room ? undefined : next;
  return { ...state, entries: [...page, ...state.entries], older, loading: undefined };
}

function come(state: State, more: readonly Entry[]): State {
  if (!state.paused) return append(state, wantedOf(state, more));
  const held = [...state.held, ...more];
  const overflow = state.overflow + Math.max(0, held.length - MAX_ENTRIES);
  return { ...state, held: held.slice(-MAX_ENTRIES), overflow };
}

/** Goes on after a pause; what was held comes in, and what could not be held shows as a gap. */
export function resumed(state: State): State {
  const { held, overflow } = state;
  const running = { ...state, held: [], overflow: 0, paused: false };
  const first = held[0];
  if (overflow === 0 || !first) return append(running, wantedOf(state, held));
  const from = state.entries.at(-1)?.at ?? first.at;
  const reason = `${overflow} more than memory holds came during the pause`;
  const gap = gapEntry({ from, to: first.at, reason, skipped: true });
  return append(running, [gap, ...wantedOf(state, held)]);
}

const wantedOf = ({ filter }: State, entries: readonly Entry[]) =>
  entries.filter(({ event }) => event === undefined || matches(event, filter));

function append(state: State, more: readonly Entry[]): State {
  const known = new Set(state.entries.map(({ id }) => id));
  const fresh = more.filter(({ id }) => !known.has(id));
  if (fresh.length === 0) return state;
  const all = [...state.entries, ...fresh];
  const entries = all.slice(-MAX_ENTRIES);
  // What was dropped could not be told from what is older still: the cursor would leave a hole.
  const older = entries.length < all.length ? undefined : state.older;
  const gone = state.selected !== undefined && !entries.some(({ id }) => id === state.selected);
  return { ...state, entries, older, ...(gone ? { selected: entries[0]?.id } : {}) };
}

/** Index of the row under the cursor; -1 when there are no rows. */
export function cursorOf({ entries, selected }: State): number {
  const index = selected === undefined ? -1 : entries.findLastIndex(({ id }) => id === selected);
  return index === -1 ? entries.length - 1 : index;
}
