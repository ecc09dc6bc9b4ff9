import assert from 'node:assert/strict';
import { test } from 'node:test';
import { cleanForTerminal, cleanLine } from './terminal.ts';

test('nothing that drives a terminal gets through, and text does', () => {
  const cases: [string, string][] = [
    ['plain\ttext\n', 'plain\ttext\n'],
    ['ü — 漢字 🎈', 'ü — 漢字 🎈'],
    ['\u001b[31mred\u001b[0m', 'red'],
    ['\u001b]0;title\u0007after', 'after'],
    ['\u001b]8;;http://evil\u001b\\link\u001b]8;;\u001b\\', 'link'],
    ['\u001bPq data\u001b\\after', 'after'],
    ['\u009b2Jafter', 'after'],
    ['\u009d0;title\u009cafter', 'after'],
    ['a\rb', 'ab'],
    ['a\r\nb', 'a\nb'],
    ['over\bwrite\u0000\u007f', 'overwrite'],
    ['\u202etxt.exe\u2066', 'txt.exe'],
    ['\u001b', ''],
    ['\u001b[', ''],
    ['\u001bcreset', 'reset'],
  ];
  for (const [given, expected] of cases)
    assert.equal(cleanForTerminal(given), expected, JSON.stringify(given));
});

test('a sequence that never ends hides a bounded part alone, in linear time', () => {
  const startedAt = performance.now();
  const cleaned = cleanForTerminal(`\u001b]${'x'.repeat(2_000_000)}\u001b[${'1;'.repeat(1_000_000)}`);
  assert.doesNotMatch(cleaned, /[\u001b]/);
  assert.ok(cleaned.length > 1_900_000);
  assert.ok(performance.now() - startedAt < 2_000);
});

test('a line is one line, and not longer than asked', () => {
  assert.equal(cleanLine(' a\n b\t\u001b[1mc '), 'a b c');
  assert.equal(cleanLine('abcdef', 4), 'abc…');
});
