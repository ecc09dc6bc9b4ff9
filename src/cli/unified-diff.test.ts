import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { unifiedDiff } from './unified-diff.ts';

const NAMES = { before: 'a', after: 'b' };

/** What a patch program would make of it. */
function patched(before: string, diff: string): string {
  const source = before === '' ? [] : before.replace(/\n$/, '').split('\n');
  const result: string[] = [];
  let next = 0;
  for (const line of diff.split('\n').slice(2)) {
    const head = /^@@ -(\d+),(\d+) \+\d+,\d+ @@$/.exec(line);
    if (head) {
      const start = Number(head[1]) - (head[2] === '0' ? 0 : 1);
      result.push(...source.slice(next, start));
      next = start;
    } else {
      if (!line.startsWith('+')) assert.equal(source[next++], line.slice(1));
      if (!line.startsWith('-')) result.push(line.slice(1));
    }
  }
  result.push(...source.slice(next));
  return result.length === 0 ? '' : `${result.join('\n')}\n`;
}

test('a diff turns one text into the other', () => {
  const text = fc
    .array(fc.constantFrom('a', 'b', 'c', 'd: e', ''), { maxLength: 40 })
    .map((lines) => lines.map((line) => `${line}\n`).join(''));
  fc.assert(
    fc.property(text, text, (before, after) => {
      const diff = unifiedDiff(before, after, NAMES);
      assert.equal(diff === '', before === after);
      assert.equal(patched(before, diff === '' ? 'x\ny' : diff), after);
    }),
  );
});

test('only what is around a change is shown', () => {
  const lines = Array.from({ length: 20 }, (_, index) => `line ${index + 1}`);
  const before = `${lines.join('\n')}\n`;
  const after = before.replace('line 10\n', 'line ten\n');
  assert.equal(
    unifiedDiff(before, after, NAMES),
    [
      '--- a',
      '+++ b',
      '@@ -7,7 +7,7 @@',
      ...[' line 7', ' line 8', ' line 9', '-line 10', '+line ten', ' line 11', ' line 12', ' line 13'],
    ].join('\n'),
  );
  assert.match(unifiedDiff('', 'a\n', NAMES), /@@ -0,0 \+1,1 @@\n\+a$/);
});
