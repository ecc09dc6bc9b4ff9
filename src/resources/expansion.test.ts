import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { type Environment, expandAll, expandText, expandVariables } from './expansion.ts';
import type { Problem } from './problems.ts';

const builtin = (key: string) =>
  key === 'node' ? { value: '/bin/node' } : { error: `castellan:${key} is not known` };
const secret = (name: string, key: string) =>
  name === 's.t' && key === 'k' ? { value: 'opened' } : { error: `there is no secret ${name}.${key}` };
const withEnv = (env: Environment) => (text: string) => expandText(text, { env, builtin, secret });
const open = '${';

describe('expansion of values', () => {
  const cases: [string, string][] = [
    ['plain $HOME $5 $', 'plain $HOME $5 $'],
    [`${open}A}`, 'one'],
    [`x${open}A}y${open}env:A}z`, 'xoneyonez'],
    [`${open}NONE:-else}`, 'else'],
    [`${open}env:NONE:-a:-b}`, 'a:-b'],
    [`${open}EMPTY}`, ''],
    [`${open}EMPTY:-else}`, 'else'],
    [`${open}NONE:-}`, ''],
    [`$${open}A}`, `${open}A}`],
    [`$$${open}A}`, `$${open}A}`],
    [`${open}castellan:node}`, '/bin/node'],
    [`a${open}secret:s.t.k}b`, 'aopenedb'],
    ['pa$$word', 'pa$$word'],
  ];
  for (const [text, expected] of cases) {
    it(`makes ${JSON.stringify(expected)} of ${JSON.stringify(text)}`, () => {
      const outcome = withEnv({ A: 'one', EMPTY: '' })(text);
      assert.deepEqual(outcome, { text: expected, errors: [] });
    });
  }

  const faults: [string, RegExp][] = [
    [`${open}NONE}`, /^variable NONE is not set: set it, or give a default/],
    [`${open}CASTELLAN_MASTER_KEY}`, /CASTELLAN_MASTER_KEY .* never expands/],
    [`${open}castellan_master_key}`, /never expands/],
    [`${open}CASTELLAN_X:-y}`, /never expands/],
    [`${open}secret:github.token}`, /there is no secret github.token/],
    [`${open}secret:github}`, /names no secret: write \$\{secret:NAME\.KEY\}/],
    [`${open}secret:CASTELLAN_X.k}`, /names no secret/],
    [`${open}secret:a.b c}`, /names no secret/],
    [`${open}env:CASTELLAN_MASTER_KEY}`, /never expands/],
    [`${open}input:key}`, /environment variable/],
    [`${open}castellan:nope}`, /castellan:nope is not known/],
    [`${open}not a name}`, /is no placeholder/],
    [`${open}A`, /not closed/],
    [`${open}A:-${open}B}}`, /cannot hold another placeholder/],
    [`${open}__proto__}`, /variable __proto__ is not set/],
    [`${open}toString}`, /variable toString is not set/],
  ];
  for (const [text, expected] of faults) {
    it(`refuses ${text} and leaves it as written`, () => {
      const outcome = withEnv({ CASTELLAN_MASTER_KEY: 'k', castellan_master_key: 'k', A: 'one' })(text);
      assert.equal(outcome.errors.length, 1);
      assert.match(outcome.errors[0] ?? '', expected);
      assert.ok(outcome.text.startsWith(text.slice(0, -1)));
    });
  }

  it('expands no variable for an object that came over the API', () => {
    const outcome = expandText(`${open}PATH}`, { env: undefined, builtin, secret });
    assert.match(outcome.errors[0] ?? '', /variable PATH does not expand in the server/);
  });

  it('names the path of every text that failed, and leaves keys alone', () => {
    const problems: Problem[] = [];
    const value = { args: ['a', `${open}NONE}`], env: { [`${open}A}`]: `${open}NONE}` }, n: 3 };
    const expanded = expandAll(value, ['spec'], withEnv({ A: 'one' }), problems);
    assert.deepEqual(expanded, value);
    assert.deepEqual(
      problems.map((problem) => problem.path),
      [
        ['spec', 'args', 1],
        ['spec', 'env', `${open}A}`],
      ],
    );
  });
});

describe('expansion by the client that applies', () => {
  it('leaves what the server resolves, and escapes what a value contains', () => {
    const env = { A: `x${open}secret:s.k}`, D: '$' };
    assert.equal(
      expandVariables(`${open}secret:s.k} ${open}castellan:node}`, env).text,
      `${open}secret:s.k} ${open}castellan:node}`,
    );
    assert.equal(expandVariables(`${open}A}`, env).text, `x$${open}secret:s.k}`);
    assert.equal(expandVariables(`${open}D}{x}`, env).text, `$${open}x}`);
    assert.equal(expandVariables(`${open}D}${open}secret:s.k}`, env).errors.length, 1);
  });

  it('means in the server what it would have meant in a file', () => {
    const piece = fc.constantFrom(
      '$',
      '{',
      '}',
      `${open}A}`,
      `${open}B}`,
      `$${open}`,
      `${open}castellan:node}`,
      'x',
      ':-',
    );
    const texts = fc.array(piece, { maxLength: 8 }).map((pieces) => pieces.join(''));
    const value = fc.array(fc.constantFrom('$', '{', '}', open, 'x', `${open}A}`), { maxLength: 4 });
    fc.assert(
      fc.property(texts, value, value, (text, a, b) => {
        const env = { A: a.join(''), B: b.join('') };
        const direct = expandText(text, { env, builtin, secret });
        const sent = expandVariables(text, env);
        fc.pre(direct.errors.length === 0 && sent.errors.length === 0);
        const arrived = expandText(sent.text, { env: undefined, builtin, secret });
        assert.deepEqual(arrived, { text: direct.text, errors: [] });
      }),
      { numRuns: 2000 },
    );
  });
});
