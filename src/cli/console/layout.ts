import { detailsOf } from './details-pane.ts';
import { FILTERS } from './filters.ts';
import { type Geometry, geometryOf, isTooSmall, SMALLEST } from './geometry.ts';
import { HELP } from './help.ts';
import { type Line, padded, plainText, type Span, span } from './lines.ts';
import type { Link, State } from './model.ts';
import { shown, widthOf } from './screen-text.ts';
import { sessionLines } from './sessions-pane.ts';
import { timelineLines } from './timeline-pane.ts';

/** What stands on the screen: as many lines as it has rows, each exactly as wide as it is. */
export function frameOf(state: State): Line[] {
  const { columns, rows } = state.size;
  if (isTooSmall(state.size)) {
    const said = `Make the window at least ${SMALLEST.columns}×${SMALLEST.rows}. q quits.`;
    return filled([[span(said)]], columns, rows);
  }
  const geometry = geometryOf(state.size);
  const body = filled(bodyLines(state, geometry), columns, geometry.bodyRows);
  return [titleLine(state), filterLine(state), ...body, bottomLine(state)].map((line) =>
    padded(line, columns),
  );
}

function filled(lines: readonly Line[], columns: number, rows: number): Line[] {
  return Array.from({ length: rows }, (_, index) => padded(lines[index] ?? [], columns));
}

/** What changes stands first: a long address is what a narrow screen cuts. */
function titleLine(state: State): Line {
  const { link, size } = state;
  const status = link.state === 'live' ? liveSpans(state, link.server) : lostSpans(link);
  const left = [span(' Castellan audit ', 'bar'), span('  '), ...status];
  const zone = '  UTC ';
  return [...padded(left, size.columns - zone.length), span(zone, 'dim')];
}

function liveSpans(state: State, server: string): Span[] {
  const { paused, held, overflow, selected, entries, loading } = state;
  const flow = paused
    ? span(`‖ PAUSED, ${held.length + overflow} waiting`, 'warn')
    : span(selected === undefined ? 'following' : 'not following: End', 'dim');
  const count = loading ? 'asking …' : `${entries.length} event${entries.length === 1 ? '' : 's'}`;
  return [span('● live', 'good'), span('  '), flow, span(`  ${count}  ${shown(server)}`)];
}

function lostSpans({ since, nextTry, reason }: Extract<Link, { state: 'lost' }>): Span[] {
  const said = `✗ not connected since ${since.slice(11, 19)}, next try ${nextTry.slice(11, 19)}`;
  return [span(said, 'bad'), span(`  ${shown(reason)}`)];
}

function filterLine({ filter, search }: State): Line {
  const spans: Span[] = [];
  for (const { field } of FILTERS) {
    const value = filter[field];
    if (value === undefined) continue;
    spans.push(span(` ${field}=`, 'dim'), span(shown(value), 'accent'), span(' '));
  }
  if (spans.length === 0) spans.push(span(' no filters', 'dim'));
  return search === '' ? spans : [...spans, span('  search: ', 'dim'), span(shown(search), 'accent')];
}

function bodyLines(state: State, geometry: Geometry): Line[] {
  const { columns } = state.size;
  const { bodyRows } = geometry;
  const { mode } = state;
  if (mode.kind === 'help' || mode.kind === 'details') {
    const text = mode.kind === 'help' ? HELP.map((line) => [span(` ${line}`)]) : detailsOf(state, columns);
    // A window that grew may show the end of a text from further up.
    const top = Math.max(0, Math.min(mode.scroll, text.length - bodyRows));
    return text.slice(top, top + bodyRows);
  }
  const { sessions, timeline, details } = geometry;
  const left = filled(sessionLines(state, sessions.width, sessions.rows), sessions.width, bodyRows);
  const events = filled(
    timelineLines(state, timeline.width, timeline.rows),
    timeline.width,
    timeline.rows + 1,
  );
  const about = filled(detailsOf(state, details.width), details.width, details.rows);
  if (details.beside) {
    return left.map((line, index) => [...line, BAR, ...(events[index] ?? []), BAR, ...(about[index] ?? [])]);
  }
  const rule: Line = [span('─'.repeat(timeline.width), 'dim')];
  const right = [...events, rule, ...about];
  return left.map((line, index) => [...line, BAR, ...(right[index] ?? [])]);
}

const BAR = span('│', 'dim');

function bottomLine({ mode, notice, paused, focus, size }: State): Line {
  switch (mode.kind) {
    case 'search':
      return [span(' search: ', 'bar'), span(` ${mode.text}`), span('▏'), ...hint('Enter finds, Esc leaves')];
    case 'edit-filter':
      return [
        span(` ${mode.field}: `, 'bar'),
        span(` ${shown(mode.text)}`),
        span('▏'),
        ...hint('Enter, Esc'),
      ];
    case 'pick-filter':
      return keyLine(FILTERS.map(({ key, field }) => [key, field]));
    case 'details':
    case 'help':
      return keyLine([
        ['↑↓ PgUp PgDn', 'scroll'],
        ['Esc', 'back'],
      ]);
    case 'list':
      if (notice !== undefined) return [span(` ${shown(notice)}`, 'warn')];
      return keyLine(listKeys(paused, focus, size.columns));
  }
}

const hint = (text: string): Span[] => [span(`   ${text}`, 'dim')];

function listKeys(paused: boolean, focus: State['focus'], columns: number): [string, string][] {
  const keys: [string, string][] = [
    ['Enter', focus === 'sessions' ? 'only this' : 'details'],
    ['Space', paused ? 'resume' : 'pause'],
    ['f', 'filter'],
    ['/', 'search'],
    ['Tab', focus === 'sessions' ? 'timeline' : 'sessions'],
    ['End', 'follow'],
    ['c', 'lift filters'],
    ['n N', 'next, previous match'],
  ];
  const always: [string, string][] = [
    ['?', 'help'],
    ['q', 'quit'],
  ];
  // A narrow screen shows what fits; the help has them all.
  while (keys.length > 0 && widthOf(plainText(keyLine([...keys, ...always]))) > columns) keys.pop();
  return [...keys, ...always];
}

function keyLine(keys: readonly (readonly [string, string])[]): Line {
  return keys.flatMap(([key, meaning]) => [span(` ${key}`, 'bold'), span(` ${meaning} `)]);
}
