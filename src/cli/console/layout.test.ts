import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { test } from 'node:test';
import fc from 'fast-check';
import { sampleEvents } from '../../../test/support/audit-events.ts';
import type { RecordedEvent } from '../../audit/row.ts';
import { type Key, press } from './keys.ts';
import { frameOf } from './layout.ts';
import { painted, plainText } from './lines.ts';
import { arrive, firstState, type State } from './model.ts';
import { widthOf } from './screen-text.ts';

const GOLDEN = new URL('../../../test/golden/console/', import.meta.url);

function sampleState(
  columns: number,
  rows: number,
  events: readonly RecordedEvent[] = sampleEvents(),
): State {
  const first = firstState('http://127.0.0.1:7400', { columns, rows }, {});
  const seeded = arrive(first, { type: 'seed', events });
  const newestFirst = [...events].reverse();
  return arrive(seeded, { type: 'page', filter: first.filter, events: newestFirst, next: undefined });
}

const textOf = (state: State): string =>
  frameOf(state)
    .map((line) => `${plainText(line).trimEnd()}\n`)
    .join('');

for (const [columns, rows] of [
  [80, 24],
  [200, 60],
] as const) {
  test(`a sample day at ${columns}×${rows} looks as it did`, async () => {
    const golden = await readFile(new URL(`${columns}x${rows}.txt`, GOLDEN), 'utf8');
    assert.equal(textOf(sampleState(columns, rows)), golden);
  });
}

const MODES: readonly string[] = ['', '?', 'f', 'fu', '/x', '\t', '\r', ' ', 'gk'];

function typed(state: State, keys: string): State {
  const named: Readonly<Record<string, Key>> = { '\t': { name: 'tab' }, '\r': { name: 'enter' } };
  return [...keys].reduce(
    (now, character) => press(now, named[character] ?? { name: 'character', character }),
    state,
  );
}

test('every screen fills the terminal exactly, whatever events hold', () => {
  const text = fc.option(fc.string({ unit: 'binary', maxLength: 300 }), { nil: undefined });
  const event = fc.record({
    id: fc.uuid(),
    at: fc.date({ noInvalidDate: true }).map((date) => date.toISOString()),
    event: fc.string({ unit: 'binary' }),
    outcome: fc.string({ unit: 'binary' }),
    actor: fc.string({ unit: 'binary' }),
    user: text,
    token: text,
    project: text,
    tool: text,
    detail: fc.jsonValue(),
  }) as fc.Arbitrary<RecordedEvent>;
  const size = fc.record({
    columns: fc.integer({ min: 1, max: 220 }),
    rows: fc.integer({ min: 1, max: 70 }),
  });
  fc.assert(
    fc.property(
      fc.array(event, { maxLength: 30 }),
      size,
      fc.constantFrom(...MODES),
      (events, { columns, rows }, keys) => {
        const lines = frameOf(typed(sampleState(columns, rows, events), keys));
        assert.equal(lines.length, rows);
        for (const line of lines) {
          assert.equal(widthOf(plainText(line)), columns);
          assert.doesNotMatch(plainText(line), /\p{C}/u);
        }
      },
    ),
  );
});

test('without colours only what is selected or wrong stands out', () => {
  const lines = frameOf(sampleState(80, 24));
  const codes = (colours: boolean) =>
    new Set(
      [
        ...lines
          .map((line) => painted(line, colours))
          .join('')
          .matchAll(/\x1b\[([\d;]*)m/g),
      ].map(([, code]) => code),
    );
  assert.deepEqual([...codes(false)].sort(), ['1', '22', '27', '7']);
  assert.ok(codes(true).has('31'));
});

test('every screen says how to go on', () => {
  for (const columns of [60, 80, 120, 200]) {
    const bottom = frameOf(sampleState(columns, 24)).at(-1) ?? [];
    assert.match(plainText(bottom), / \? help {2}q quit/, String(columns));
  }
});
