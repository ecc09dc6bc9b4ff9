import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { canonicalName, exposedName, exposedNameLimit } from './names.ts';

test('a valid short name stays as it is', () => {
  assert.equal(exposedName('everything__echo', 'everything__echo', 40), 'everything__echo');
});

test('a client prefix in front of any exposed name stays within 64 characters', () => {
  const limit = exposedNameLimit('demo');
  const long = canonicalName('github', 'x'.repeat(200));
  assert.ok(`mcp__demo__${exposedName(long, long, limit)}`.length <= 64);
});

test('every exposed name is legal, within the limit and stable', () => {
  fc.assert(
    fc.property(
      fc.string({ maxLength: 300, unit: 'grapheme' }),
      fc.integer({ min: 24, max: 128 }),
      (name, limit) => {
        const exposed = exposedName(name, `s__${name}`, limit);
        assert.match(exposed, /^[A-Za-z0-9_.-]{1,128}$/);
        assert.ok(exposed.length <= limit);
        assert.equal(exposedName(name, `s__${name}`, limit), exposed);
      },
    ),
  );
});

test('many long names that share a head stay apart', () => {
  const seen = new Set<string>();
  for (let n = 0; n < 20_000; n += 1) {
    const name = `server__${'a'.repeat(60)}${n}`;
    seen.add(exposedName(name, name, 40));
  }
  assert.equal(seen.size, 20_000);
});
