import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { DECISION_STEPS, OverBudget, Pattern, PatternError } from './pattern.ts';

const BUDGET = DECISION_STEPS;
const matches = (pattern: string, text: string) => new Pattern(pattern).matches(text, { left: BUDGET });

describe('a pattern', () => {
  it('finds what the regular expressions of JavaScript find', () => {
    const atom = fc.constantFrom(
      'a',
      'b',
      '.',
      '[ab]',
      '[^a]',
      '\\d',
      '\\w',
      '\\b',
      '^',
      '$',
      '\\.',
      'é',
      '😀',
    );
    const pattern = fc.letrec((tie) => ({
      node: fc.oneof(
        { depthSize: 'small', withCrossShrink: true },
        atom,
        fc.tuple(tie('node'), tie('node')).map(([a, b]) => `${a}${b}`),
        fc.tuple(tie('node'), tie('node')).map(([a, b]) => `(?:${a}|${b})`),
        fc
          .tuple(tie('node'), fc.constantFrom('*', '+', '?', '{2}', '{1,3}', '{0,2}?', '*?'))
          .map(([a, times]) => `(?:${a})${times}`),
      ),
    })).node as fc.Arbitrary<string>;
    const text = fc.string({
      unit: fc.constantFrom('a', 'b', 'c', '1', '.', ' ', '\n', 'é', '😀'),
      maxLength: 12,
    });
    fc.assert(
      fc.property(pattern, text, (source, subject) => {
        assert.equal(matches(source, subject), new RegExp(source, 'u').test(subject));
      }),
      { numRuns: 3_000 },
    );
  });

  it('knows flags, classes and escapes', () => {
    const yes: [string, string][] = [
      ['(?i)drop\\s+table', 'x; DROP\n TABLE y'],
      ['(?i)[a-c]É', 'Bé'],
      ['(?s)a.b', 'a\nb'],
      ['(?m)^b$', 'a\nb\nc'],
      ['(?i:A)b', 'ab'],
      ['(?i)a(?-i)B', 'AB'],
      ['^(?P<year>\\d{4})-(?<month>\\d\\d)\\z', '2026-11'],
      ['[\\w.-]+@[^@\\s]+', 'to a.b-c@example.com'],
      ['[]a]', ']'],
      ['[a-]', '-'],
      ['\\x41\\x{1F600}', 'A😀'],
      ['a{,2}', 'a{,2}'],
      ['', ''],
    ];
    const no: [string, string][] = [
      ['a.b', 'a\nb'],
      ['(?i)a(?-i)B', 'Ab'],
      ['(?i)[^a]', 'A'],
      ['^b$', 'a\nb\nc'],
      ['[^\\d]', '123'],
    ];
    for (const [pattern, text] of yes) assert.equal(matches(pattern, text), true, `${pattern} in ${text}`);
    for (const [pattern, text] of no) assert.equal(matches(pattern, text), false, `${pattern} in ${text}`);
  });

  it('is refused with a reason where it is not understood', () => {
    const cases: [string, RegExp][] = [
      ['(a', /"\(" is not closed/],
      ['a)', /"\)" closes nothing/],
      ['*a', /"\*" repeats nothing/],
      ['a**', /one repetition follows another/],
      ['(?=a)', /look-around/],
      ['(a)\\1', /"\\1" is not available/],
      ['\\pL', /"\\p" is not available/],
      ['[[:alpha:]]', /not available/],
      ['[b-a]', /ends before it begins/],
      ['[a', /ends too early/],
      ['a{2,1}', /\{2,1\} is no repetition/],
      ['a{5000}', /no repetition up to 1000/],
      ['(a{1000}){1000}', /repeats too much/],
      ['('.repeat(60) + ')'.repeat(60), /nested/],
      ['\\x{110000}', /hexadecimal/],
    ];
    for (const [pattern, reason] of cases) {
      assert.throws(
        () => new Pattern(pattern),
        (error) => error instanceof PatternError && reason.test(error.message),
        pattern,
      );
    }
  });

  it('answers or gives up within a tenth of a second, whatever the text', () => {
    for (const pattern of [
      '(a+)+$',
      '(a|aa)+$',
      '^(.*)(.*)(.*)(.*)[^q]{100}q',
      '(x+x+)+y',
      '(a?){500}a{500}',
      '(?i)(é|É)+z',
    ]) {
      for (const unit of ['a', 'x', 'é', 'ab']) {
        const text = unit.repeat(2_000_000);
        const found = new Pattern(pattern);
        const started = process.threadCpuUsage().user;
        try {
          found.matches(text, { left: BUDGET });
        } catch (error) {
          assert.ok(error instanceof OverBudget, String(error));
        }
        const ms = (process.threadCpuUsage().user - started) / 1_000;
        assert.ok(ms < 300, `${pattern} took ${ms} ms`);
      }
    }
  });

  it('reads a long text whose pattern is simple', () => {
    assert.equal(matches('(?i)drop\\s+table', `${'select 1; '.repeat(20_000)}drop table x`), true);
  });
});
