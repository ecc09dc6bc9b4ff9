import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { globMatches } from './glob.ts';

test('globs agree with the regular expression that says the same', () => {
  const text = fc.string({ unit: fc.constantFrom('a', 'b', '.', '_'), maxLength: 12 });
  const pattern = fc.string({ unit: fc.constantFrom('a', 'b', '.', '*', '?'), maxLength: 8 });
  fc.assert(
    fc.property(pattern, text, (glob, subject) => {
      const source = [...glob]
        .map((c) => (c === '*' ? '.*' : c === '?' ? '.' : c === '.' ? '\\.' : c))
        .join('');
      assert.equal(globMatches(glob, subject), new RegExp(`^${source}$`, 's').test(subject));
    }),
  );
});

test('a pattern made to backtrack stays quick', () => {
  const started = process.cpuUsage();
  assert.equal(globMatches(`${'a*'.repeat(200)}b`, 'a'.repeat(5_000)), false);
  assert.ok(process.cpuUsage(started).user < 2_000_000);
});
