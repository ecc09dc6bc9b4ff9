import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { RecordedEvent } from '../../audit/row.ts';
import { seen } from './callers.ts';
import { matches } from './filters.ts';
import { type Key, press } from './keys.ts';
import { arrive, cursorOf, firstState, MAX_ENTRIES, type State } from './model.ts';

const SIZE = { columns: 80, rows: 24 };

function event(number: number, more: Partial<RecordedEvent> = {}): RecordedEvent {
  const at = new Date(Date.UTC(2026, 0, 1) + number * 1_000).toISOString();
  return { id: `c.${number}`, at, event: 'tool.call', outcome: 'ok', actor: 'token', user: 'anna', ...more };
}

const events = (from: number, to: number) =>
  Array.from({ length: to - from + 1 }, (_, index) => event(from + index));

/** A console that shows these, oldest first. */
function showing(shown: readonly RecordedEvent[], next?: string): State {
  const first = firstState('http://castellan', SIZE, {});
  return arrive(first, { type: 'page', filter: first.filter, events: [...shown].reverse(), next });
}

const NAMES = ['up', 'down', 'page-up', 'home', 'end', 'enter', 'escape', 'tab', 'backspace'] as const;

/** Names of keys, or text that is typed. */
function typing(state: State, ...keys: readonly string[]): State {
  const each = keys.flatMap((key): Key[] => {
    const name = NAMES.find((known) => known === key);
    return name ? [{ name }] : [...key].map((character) => ({ name: 'character', character }));
  });
  return each.reduce(press, state);
}

const news = (state: State, ...more: RecordedEvent[]) => arrive(state, { type: 'news', events: more });
const idsOf = ({ entries }: State) => entries.map(({ id }) => id);
const cursor = (state: State) => state.entries[cursorOf(state)]?.id;

test('news are followed until the cursor moves, and again after End', () => {
  let state = news(showing(events(1, 3)), event(4));
  assert.equal(cursor(state), 'c.4');
  state = news(typing(state, 'up'), event(5));
  assert.equal(cursor(state), 'c.3');
  state = news(typing(state, 'end'), event(6));
  assert.equal(cursor(state), 'c.6');
  assert.equal(cursor(typing(state, 'g')), 'c.1');
  assert.equal(cursor(typing(state, 'k', 'k', 'j')), 'c.5');
});

test('an event that comes by two ways is shown once', () => {
  const first = firstState('http://castellan', SIZE, {});
  const early = news(first, event(3), event(4));
  const page = {
    type: 'page',
    filter: first.filter,
    events: events(1, 3).reverse(),
    next: undefined,
  } as const;
  assert.deepEqual(idsOf(arrive(early, page)), ['c.1', 'c.2', 'c.3', 'c.4']);
  assert.deepEqual(idsOf(news(arrive(early, page), event(2), event(4), event(5))).length, 5);
});

test('memory is bounded, and the cursor stays on a row that is there', () => {
  let state = typing(showing(events(1, 10), 'more'), 'g');
  assert.equal(cursor(state), 'c.1');
  state = news(state, ...events(11, MAX_ENTRIES + 5));
  assert.equal(state.entries.length, MAX_ENTRIES);
  assert.equal(cursor(state), 'c.6');
  assert.equal(state.older, undefined);
});

test('a pause holds what comes, and tells of what it could not hold', () => {
  let state = typing(showing(events(1, 2)), ' ');
  state = news(state, event(3));
  assert.deepEqual(idsOf(state), ['c.1', 'c.2']);
  assert.deepEqual(idsOf(typing(state, ' ')), ['c.1', 'c.2', 'c.3']);
  state = typing(news(state, ...events(4, MAX_ENTRIES + 10)), ' ');
  assert.equal(state.entries.length, MAX_ENTRIES);
  assert.equal(state.held.length, 0);
  let smaller = typing(showing([]), ' ');
  smaller = typing(news(smaller, ...events(1, MAX_ENTRIES + 1)), 'ft', 'ci', 'enter', ' ');
  assert.match(smaller.entries[0]?.gap?.reason ?? '', /^1 more than memory holds/);
});

test('a filter asks anew, drops the answer to the question before, and holds for news', () => {
  const before = showing([event(1), event(2, { token: 'ci' })]);
  let state = typing(before, 'f', 't');
  assert.deepEqual(state.mode, { kind: 'edit-filter', field: 'token', text: 'ci' });
  state = typing(state, 'enter');
  assert.deepEqual(state.filter, { token: 'ci' });
  assert.equal(state.loading, 'page');
  assert.deepEqual(state.entries, []);
  const late = { type: 'page', filter: before.filter, events: events(1, 2), next: undefined } as const;
  assert.deepEqual(idsOf(arrive(state, late)), []);
  assert.deepEqual(idsOf(news(state, event(3), event(4, { token: 'ci' }))), ['c.4']);
  assert.deepEqual(typing(state, 'f', 't', 'backspace', 'backspace', 'enter').filter, {});
  assert.deepEqual(typing(state, 'c').filter, {});
  assert.equal(typing(before, 'c').filter, before.filter);
  assert.deepEqual(typing(state, 'f', 'u', 'x', 'escape').filter, { token: 'ci' });
});

test('filters mean what the server means by them', () => {
  const call = event(1, { tool: 'github__get', token: 'ci', server: 'github' });
  const cases: [Parameters<typeof matches>[1], boolean][] = [
    [{}, true],
    [{ tool: 'github__*' }, true],
    [{ tool: 'github__' }, false],
    [{ event: 'tool.*', outcome: 'ok' }, true],
    [{ token: 'c*' }, false],
    [{ project: 'demo' }, false],
    [{ server: 'github', user: 'anna' }, true],
  ];
  for (const [filter, expected] of cases)
    assert.equal(matches(call, filter), expected, JSON.stringify(filter));
});

test('the first row asks for older events once, until there are none', () => {
  let state = typing(showing(events(3, 4), 'more'), 'g');
  assert.equal(state.loading, 'older');
  const older = {
    type: 'older',
    filter: state.filter,
    events: [event(2), event(1)],
    next: undefined,
  } as const;
  state = arrive(state, older);
  assert.deepEqual(idsOf(state), ['c.1', 'c.2', 'c.3', 'c.4']);
  assert.equal(cursor(state), 'c.3');
  assert.equal(typing(state, 'g').loading, undefined);
});

test('search goes to matches in any field, round the end, and says when there are none', () => {
  const state = typing(
    showing([event(1, { tool: 'a__Echo' }), event(2), event(3, { user: 'echo' })]),
    '/echo',
  );
  let found = typing(state, 'enter');
  assert.equal(cursor(found), 'c.3');
  found = typing(found, 'N');
  assert.equal(cursor(found), 'c.1');
  found = typing(found, 'N');
  assert.equal(cursor(found), 'c.3');
  assert.equal(cursor(typing(found, 'n')), 'c.1');
  assert.match(typing(found, '/nothing', 'enter').notice ?? '', /none of these 3 events/);
  assert.equal(typing(found, 'escape').search, '');
  assert.equal(typing(state, '\x1b\u202e').mode.kind, 'search');
  assert.equal(typing(state, '\x1b\u202eq').over, false);
});

test('sessions open and end; Enter shows one caller alone', () => {
  const start = { event: 'session.started', token: 'ci', project: 'demo' };
  const one = event(1, { ...start, detail: { session: 's1', client: 'editor' } });
  const two = event(2, { ...start, detail: { session: 's2' } });
  const end = event(3, { ...start, event: 'session.ended', detail: { session: 's1' } });
  const callers = seen([], [one, two, event(4)]);
  assert.deepEqual(
    callers.map(({ user, token, sessions }) => [user, token, [...sessions.values()]]),
    [
      ['anna', undefined, []],
      ['anna', 'ci', ['editor', 'client without a name']],
    ],
  );
  assert.deepEqual(
    [
      ...(seen(callers, [end])
        .find(({ token }) => token === 'ci')
        ?.sessions.keys() ?? []),
    ],
    ['s2'],
  );
  const state = typing(news(showing([]), one, two, event(4)), 'tab', 'down', 'enter');
  assert.deepEqual(state.filter, { user: 'anna', token: 'ci', project: 'demo' });
  assert.equal(state.focus, 'timeline');
});

test('callers are bounded, and those seen last are kept', () => {
  const many = Array.from({ length: 600 }, (_, index) => event(index, { user: `u${index}` }));
  const callers = seen([], many);
  assert.equal(callers.length, 500);
  assert.equal(callers[0]?.user, 'u599');
});

test('details and help scroll within their text; q leaves the console from the list alone', () => {
  const state = showing(events(1, 2));
  const details = typing(state, 'enter', 'down', 'down');
  assert.equal(details.mode.kind, 'details');
  assert.equal(cursor(news(details, event(3))), 'c.2');
  assert.equal(typing(details, 'q').over, false);
  const help = typing(state, '?', ...Array.from({ length: 50 }, () => 'down'));
  assert.ok(help.mode.kind === 'help' && help.mode.scroll < 10);
  assert.equal(typing(state, 'q').over, true);
  assert.equal(press(details, { name: 'interrupt' }).over, true);
});
