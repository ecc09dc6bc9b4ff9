import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { EVENTS } from '../../src/audit/event.ts';

test('docs/audit.md and the code name the same events', () => {
  const page = readFileSync(new URL('../../docs/audit.md', import.meta.url), 'utf8');
  const section = page.split(/^## /m).find((part) => part.startsWith('What is recorded'));
  const cells = (section ?? '').split('\n').flatMap((line) => line.match(/^\| (`[^|]+)\|/)?.[1] ?? []);
  const told = cells.flatMap((cell) => [...cell.matchAll(/`([a-z]+\.[a-z_]+)`/g)].map((match) => match[1]!));
  assert.deepEqual(told.sort(), Object.keys(EVENTS).sort());
});
