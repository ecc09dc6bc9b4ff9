import assert from 'node:assert/strict';
import { test } from 'node:test';
import { lineChanges } from './line-changes.ts';

const marks = (before: string, now: string) =>
  lineChanges(before, now).map(({ line, was, is }) => `${was ? (is ? ' ' : '-') : '+'}${line}`);

test('two texts are told as one, with the lines that one of them has', () => {
  assert.deepEqual(marks('a\nb\nc', 'a\nb\nc'), [' a', ' b', ' c']);
  assert.deepEqual(marks('a\nb\nc', 'a\nx\nc\nd'), [' a', '-b', '+x', ' c', '+d']);
  assert.deepEqual(marks('a', 'b'), ['-a', '+b']);
  const long = Array.from({ length: 2_000 }, (_, line) => String(line)).join('\n');
  assert.equal(lineChanges(long, 'x').length, 2_001);
});
