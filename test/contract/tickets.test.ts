import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { TRANSITIONS } from '../../src/toolsets/tickets/transitions.ts';

test('docs/tickets.md and the code have the same transitions', () => {
  const page = readFileSync(new URL('../../docs/tickets.md', import.meta.url), 'utf8');
  const section = page.split(/^## /m).find((part) => part.startsWith('What can happen')) ?? '';
  const lines = section.split('\n').filter((line) => line.startsWith('| `'));
  const told = lines.flatMap((line) => {
    const [act = '', from = '', to = '', who = ''] = line
      .slice(1, -1)
      .split('|')
      .map((cell) => cell.trim());
    const plain = (cell: string) => cell.replaceAll('`', '');
    return plain(from)
      .split(' ')
      .map((one) => `${plain(act)}: ${one} -> ${to === 'the same' ? one : plain(to)} by ${who}`);
  });
  const coded = TRANSITIONS.map(({ act, from, to, who }) => `${act}: ${from} -> ${to} by ${who.join(', ')}`);
  assert.equal(new Set(coded).size, coded.length, 'no transition stands twice');
  assert.deepEqual(told.sort(), coded.sort());
});
