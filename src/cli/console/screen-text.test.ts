import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { HOSTILE_NAME } from '../../../test/support/audit-events.ts';
import { fit, shown, widthOf, wrapped } from './screen-text.ts';

test('what drives a terminal, hides or reorders is written out, and text stays', () => {
  const cases: [string, string][] = [
    ['github__get_issue', 'github__get_issue'],
    ['ü — 漢字 🎈', 'ü — 漢字 🎈'],
    ['\x1b[2J', '\\u001b[2J'],
    ['a\rb\bc\x07', 'a\\u000db\\u0008c\\u0007'],
    ['\x9b5A', '\\u009b5A'],
    ['\u202etxt.exe\u2066', '\\u202etxt.exe\\u2066'],
    ['a\u200bb\ufeffc\u00add', 'a\\u200bb\\ufeffc\\u00add'],
    ['tag\u{e0041}', 'tag\\u{e0041}'],
    ['\u3164\uffa0\u1160', '\\u3164\\uffa0\\u1160'],
    ['\ud800', '\\ud800'],
    ['one\ntwo\tthree\u00a0four\u3000five', 'one two three four five'],
    ['e\u0301', 'é'],
    ['x\u0300\u0301\u0302\u0303', 'x\u0300\u0301\\u0302\\u0303'],
    ['\u0301alone', '\\u0301alone'],
    ['🇩🇪👍🏽', '\\u{1f1e9}\\u{1f1ea}👍\\u{1f3fd}'],
  ];
  for (const [given, expected] of cases) assert.equal(shown(given), expected, JSON.stringify(given));
});

test('shown text holds nothing that acts, and showing it again changes nothing but backslashes', () => {
  const odd = /[\p{C}\p{Zl}\p{Zp}\p{Default_Ignorable_Code_Point}]/u;
  fc.assert(
    fc.property(fc.string({ unit: 'binary' }), (text) => {
      assert.doesNotMatch(shown(text), odd);
      assert.equal(shown(shown(text)), shown(text));
    }),
  );
  assert.doesNotMatch(shown(HOSTILE_NAME), odd);
});

test('widths', () => {
  const cases: [string, number][] = [
    ['abc', 3],
    ['漢字', 4],
    ['🎈', 2],
    ['x\u0300', 1],
    ['│▸●', 3],
    ['한글', 4],
  ];
  for (const [text, width] of cases) assert.equal(widthOf(text), width, text);
});

test('a cell has the width asked for, and wrapping loses nothing', () => {
  assert.equal(fit('github', 4), 'git…');
  assert.equal(fit('漢字漢字', 4), '漢… ');
  assert.equal(fit('ab', 4), 'ab  ');
  fc.assert(
    fc.property(fc.string({ unit: 'binary' }), fc.integer({ min: 2, max: 40 }), (text, width) => {
      const safe = shown(text);
      assert.equal(widthOf(fit(safe, width)), width);
      const lines = wrapped(safe, width);
      assert.equal(lines.join(''), safe);
      for (const line of lines) assert.ok(widthOf(line) <= width);
    }),
  );
});
