import type { RecordedEvent } from '../../audit/row.ts';
import { detailsOf } from './details-pane.ts';
import { contains, FILTERS, withField } from './filters.ts';
import { geometryOf } from './geometry.ts';
import { HELP } from './help.ts';
import { cursorOf, type Mode, resumed, type State } from './model.ts';
import { shown } from './screen-text.ts';

/** A character as it is typed, or the name of a key that types none. */
export type Key =
  | { name: 'character'; character: string }
  | {
      name:
        | 'up'
        | 'down'
        | 'page-up'
        | 'page-down'
        | 'home'
        | 'end'
        | 'enter'
        | 'escape'
        | 'tab'
        | 'backspace'
        | 'interrupt';
    };

type Motion = { by: number } | { to: 'first' | 'last' };

const MAX_INPUT = 200;

/** The state after one key. */
export function press(state: State, key: Key): State {
  if (key.name === 'interrupt') return { ...state, over: true };
  const quiet = { ...state, notice: undefined };
  switch (state.mode.kind) {
    case 'list':
      return inList(quiet, key);
    case 'search':
      return inSearch(quiet, state.mode, key);
    case 'pick-filter':
      return inPick(quiet, key);
    case 'edit-filter':
      return inEdit(quiet, state.mode, key);
    case 'details':
    case 'help':
      return inText(quiet, state.mode, key);
  }
}

function inList(state: State, key: Key): State {
  const motion = motionOf(key, geometryOf(state.size).timeline.rows);
  if (motion) return state.focus === 'sessions' ? movedCaller(state, motion) : moved(state, motion);
  if (key.name === 'tab') return focused(state, state.focus === 'timeline' ? 'sessions' : 'timeline');
  if (key.name === 'enter') return entered(state);
  if (key.name === 'escape') return { ...state, search: '', focus: 'timeline' };
  if (key.name !== 'character') return state;
  switch (key.character) {
    case 'q':
      return { ...state, over: true };
    case '?':
      return { ...state, mode: { kind: 'help', scroll: 0 } };
    case ' ':
      return state.paused ? resumed(state) : { ...state, paused: true };
    case 'f':
      return { ...state, mode: { kind: 'pick-filter' } };
    case 'c':
      return refiltered(state, {});
    case '/':
      return { ...state, mode: { kind: 'search', text: '' } };
    case 'n':
      return found(state, 1);
    case 'N':
      return found(state, -1);
    default:
      return state;
  }
}

function motionOf(key: Key, page: number): Motion | undefined {
  switch (key.name === 'character' ? key.character : key.name) {
    case 'up':
    case 'k':
      return { by: -1 };
    case 'down':
    case 'j':
      return { by: 1 };
    case 'page-up':
      return { by: -Math.max(1, page - 1) };
    case 'page-down':
      return { by: Math.max(1, page - 1) };
    case 'home':
    case 'g':
      return { to: 'first' };
    case 'end':
    case 'G':
      return { to: 'last' };
    default:
      return undefined;
  }
}

function moved(state: State, motion: Motion): State {
  const last = state.entries.length - 1;
  if (last < 0) return state;
  if ('to' in motion) return motion.to === 'last' ? followed(state) : pointed(state, 0);
  const wanted = cursorOf(state) + motion.by;
  if (wanted > last) return followed(state);
  return pointed(state, Math.max(0, wanted));
}

const followed = (state: State): State => ({ ...state, selected: undefined });

/** Puts the cursor on a row; on the first one, older events are wanted. */
function pointed(state: State, index: number): State {
  const selected = state.entries[index]?.id;
  const wanted = index === 0 && state.older !== undefined && state.loading === undefined;
  return { ...state, selected, ...(wanted ? { loading: 'older' as const } : {}) };
}

function focused(state: State, focus: State['focus']): State {
  const selectedCaller = state.selectedCaller ?? state.callers[0]?.key;
  return { ...state, focus, selectedCaller };
}

function movedCaller(state: State, motion: Motion): State {
  const { callers, selectedCaller } = state;
  const at = callers.findIndex(({ key }) => key === selectedCaller);
  const wanted = 'by' in motion ? at + motion.by : motion.to === 'first' ? 0 : callers.length - 1;
  const index = Math.max(0, Math.min(callers.length - 1, wanted));
  return { ...state, selectedCaller: callers[index]?.key };
}

function entered(state: State): State {
  if (state.focus === 'timeline') {
    const selected = state.entries[cursorOf(state)]?.id;
    // Following would put another event under the eyes of whoever reads this one.
    return selected === undefined ? state : { ...state, selected, mode: { kind: 'details', scroll: 0 } };
  }
  const caller = state.callers.find(({ key }) => key === state.selectedCaller);
  if (!caller) return state;
  const { user, token, project } = caller;
  const { user: _, token: __, project: ___, ...others } = state.filter;
  const only = {
    user,
    ...(token === undefined ? {} : { token }),
    ...(project === undefined ? {} : { project }),
  };
  return refiltered({ ...state, focus: 'timeline' }, { ...others, ...only });
}

/** The timeline begins anew: what is in memory was chosen by another filter. */
function refiltered(state: State, filter: State['filter']): State {
  if (JSON.stringify(filter) === JSON.stringify(state.filter)) return state;
  return { ...state, filter, entries: [], older: undefined, selected: undefined, loading: 'page' };
}

function inPick(state: State, key: Key): State {
  const list: State = { ...state, mode: { kind: 'list' } };
  if (key.name !== 'character') return list;
  const picked = FILTERS.find((filter) => filter.key === key.character);
  if (!picked) return list;
  const { field } = picked;
  const text = state.filter[field] ?? state.entries[cursorOf(state)]?.event?.[field] ?? '';
  return { ...state, mode: { kind: 'edit-filter', field, text } };
}

function inEdit(state: State, mode: Mode & { kind: 'edit-filter' }, key: Key): State {
  if (key.name === 'escape') return { ...state, mode: { kind: 'list' } };
  if (key.name === 'enter') {
    const filter = withField(state.filter, mode.field, mode.text.trim());
    return refiltered({ ...state, mode: { kind: 'list' } }, filter);
  }
  return { ...state, mode: { ...mode, text: typed(mode.text, key) } };
}

function inSearch(state: State, mode: Mode & { kind: 'search' }, key: Key): State {
  if (key.name === 'escape') return { ...state, mode: { kind: 'list' } };
  if (key.name === 'enter') {
    const search = mode.text || state.search;
    return found({ ...state, search, mode: { kind: 'list' } }, -1, true);
  }
  return { ...state, mode: { ...mode, text: typed(mode.text, key) } };
}

/** A line of input after one key; the cursor stands at its end. */
function typed(text: string, key: Key): string {
  if (key.name === 'backspace') return [...text].slice(0, -1).join('');
  if (key.name !== 'character') return text;
  // Ctrl-U, as in a shell.
  if (key.character === '\x15') return '';
  const printable = shown(key.character) === key.character;
  return printable && text.length < MAX_INPUT ? text + key.character : text;
}

/** Goes to the next match; `here` takes the row under the cursor too. Goes round at the ends. */
function found(state: State, step: 1 | -1, here = false): State {
  const { entries, search } = state;
  if (search === '') return { ...state, notice: 'nothing is searched for: press / first' };
  const start = cursorOf(state);
  for (let walked = here ? 0 : 1; walked < entries.length + (here ? 0 : 1); walked += 1) {
    const index = (start + step * walked + entries.length * 2) % entries.length;
    if (isMatch(entries[index]?.event, search)) return pointed(state, index);
  }
  const count = entries.length;
  return { ...state, notice: `none of these ${count} events holds “${shown(search)}”` };
}

export function isMatch(event: RecordedEvent | undefined, search: string): boolean {
  return event !== undefined && contains(event, search);
}

/** Text that is read: details or help. */
function inText(state: State, mode: Mode & { kind: 'details' | 'help' }, key: Key): State {
  const { bodyRows } = geometryOf(state.size);
  const motion = motionOf(key, bodyRows);
  if (!motion) return { ...state, mode: { kind: 'list' } };
  const lines = mode.kind === 'help' ? HELP.length : detailsOf(state, state.size.columns).length;
  const most = Math.max(0, lines - bodyRows);
  const wanted = 'by' in motion ? mode.scroll + motion.by : motion.to === 'first' ? 0 : most;
  return { ...state, mode: { ...mode, scroll: Math.max(0, Math.min(most, wanted)) } };
}
