import type { RecordedEvent } from '../../audit/row.ts';
import { type Line, span } from './lines.ts';
import { cursorOf, type Entry, type Gap, type State } from './model.ts';
import { fit, shown, wrapped } from './screen-text.ts';
import { toneOf } from './timeline-pane.ts';

const LABEL_WIDTH = 9;

/** Fields in the order in which a reader asks for them. */
const FIELDS: readonly [label: string, value: (event: RecordedEvent) => string | undefined][] = [
  ['event', ({ event }) => event],
  ['outcome', ({ outcome }) => outcome],
  ['tool', ({ tool }) => tool],
  ['target', ({ target }) => target],
  ['user', ({ user, actor }) => user ?? `none: ${actor}`],
  ['token', ({ token }) => token],
  ['as', ({ behind }) => (behind === undefined ? undefined : `acted for by ${behind}`)],
  ['project', ({ project }) => project],
  ['server', ({ server }) => server],
  ['surface', ({ surface }) => surface],
  ['took', ({ durationMs }) => (durationMs === undefined ? undefined : `${durationMs} ms`)],
  ['at', ({ at }) => at],
  ['from', ({ address }) => address],
  ['trace', ({ trace }) => trace],
  ['digest', ({ argumentsDigest }) => argumentsDigest],
  ['intent', ({ intent }) => intent],
  ['token sha', ({ tokenSha }) => tokenSha],
  ['id', ({ id }) => id],
];

/** Everything that is known of the row under the cursor, in lines of at most `width` cells. */
export function detailsOf(state: State, width: number): Line[] {
  const entry = state.entries[cursorOf(state)];
  if (!entry) return [[span(fit('no event is selected', width).trimEnd(), 'dim')]];
  return entry.gap ? gapLines(entry.gap, width) : eventLines(entry, width);
}

function eventLines({ event }: Entry & { event: RecordedEvent }, width: number): Line[] {
  const lines: Line[] = [];
  for (const [label, value] of FIELDS) {
    const text = value(event);
    // A field that something else than a text is in comes from no server of ours, and is shown all the same.
    if (text !== undefined) lines.push(...labelled(label, String(text), width, event));
  }
  if (event.detail === undefined) return lines;
  for (const line of JSON.stringify(event.detail, null, 2).split('\n')) {
    lines.push(...wrapped(shown(line), width).map((part): Line => [span(part)]));
  }
  return lines;
}

function labelled(label: string, text: string, width: number, event: RecordedEvent): Line[] {
  const tone = label === 'outcome' ? toneOf(event.outcome) : 'plain';
  return wrapped(shown(text), width - LABEL_WIDTH - 1).map((part, index) => [
    span(`${fit(index === 0 ? label : '', LABEL_WIDTH)} `, 'dim'),
    span(part, tone),
  ]);
}

function gapLines({ from, to, reason, skipped }: Gap, width: number): Line[] {
  const said = skipped
    ? 'Events of this time are not shown here. `castellan audit query --since … --until …` has them.'
    : 'Nothing was lost: what happened meanwhile stands below, as it was written.';
  return [
    ...wrapped(shown(`from ${from}`), width),
    ...wrapped(shown(`to   ${to}`), width),
    ...wrapped(shown(reason), width),
    ...wrapped(said, width),
  ].map((text): Line => [span(text)]);
}
