import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { CallerFacts, compileExpression, ToolFacts } from './expression.ts';
import { DECISION_STEPS } from './pattern.ts';

const caller = new CallerFacts({
  owner: 'alice@example.com',
  principal: 'McpToken:abc',
  token: 'laptop',
  project: 'demo',
  surface: 'consumer',
});
const tool = new ToolFacts({ name: 'db__query', server: 'db', readOnly: false });

function evaluate(source: string, args: Record<string, unknown> = {}): boolean | undefined {
  const compiled = compileExpression(source);
  assert.ok(compiled.ok, compiled.ok ? '' : `${source}: ${compiled.error.message}`);
  return compiled.value.evaluate({ args, caller, tool }, { left: DECISION_STEPS });
}

function fault(source: string): string {
  const compiled = compileExpression(source);
  assert.ok(!compiled.ok, `${source} was accepted`);
  return `${compiled.error.column}: ${compiled.error.message}`;
}

describe('an expression', () => {
  it('is asked over the arguments, the caller and the tool', () => {
    const cases: [string, Record<string, unknown>, boolean][] = [
      ['args.sql.size() > 2000', { sql: 'x'.repeat(2001) }, true],
      ['args.sql.size() > 2000', { sql: 'x' }, false],
      ['args["a-b"] == 2 && args.n > 1', { 'a-b': 2, n: 1.5 }, true],
      ['caller.owner.endsWith("@example.com") && caller.token == "laptop"', {}, true],
      ['caller.principal.startsWith("McpToken:") && caller.project == "demo"', {}, true],
      ['tool.server == "db" && !tool.readOnly', {}, true],
      ['has(args.force) && args.force', { force: true }, true],
      ['has(args.force) && args.force', {}, false],
      ['args.paths.exists(p, p.startsWith("/etc"))', { paths: ['/tmp', '/etc/passwd'] }, true],
      ['args.paths.all(p, !p.contains(".."))', { paths: ['a', 'b/../c'] }, false],
      ['args.tags.filter(t, t != "x").size() == 1', { tags: ['x', 'y'] }, true],
      ['args.to in ["a", "b"]', { to: 'b' }, true],
      ['"k" in args.o', { o: { k: 1 } }, true],
      ['args.o.__proto__ == 1 || true', { o: {} }, true],
    ];
    for (const [source, args, expected] of cases) assert.equal(evaluate(source, args), expected, source);
  });

  it('matches patterns in linear time, wherever they stand', () => {
    assert.equal(evaluate('args.sql.matches("(?i)drop\\\\s+table")', { sql: 'x; DROP TABLE y' }), true);
    assert.equal(
      evaluate('args.sql\n .matches ( r"^a+$" ) && args.b.matches("b")', { sql: 'aa', b: 'abc' }),
      true,
    );
    assert.equal(evaluate('(args.a + "x").matches("ax$") || "q".matches("z")', { a: 'a' }), true);
    assert.equal(evaluate('args.l.exists(x, x.matches("^b"))', { l: ['a', 'bc'] }), true);
    assert.equal(evaluate('"matches".matches("matches")'), true);
    const evil = { text: `${'a'.repeat(60_000)}!` };
    assert.equal(evaluate('args.text.matches("^(a+)+$")', evil), false);
  });

  it('fails without a throw where a field is missing or has another type', () => {
    for (const source of [
      'args.missing == 1',
      'args.n.startsWith("x")',
      'args.n',
      'args.n.matches("x")',
      'args.l[9] == 1',
      'args.n.all(x, x > 0)',
    ]) {
      assert.equal(evaluate(source, { n: 1, l: [] }), undefined, source);
    }
    assert.equal(evaluate('args.o == 1', JSON.parse('{"o":{"constructor":1}}')), undefined);
  });

  it('is refused with its column when it does not parse, has a wrong type or names nothing', () => {
    assert.match(fault('args.x +'), /^9: Unexpected token/);
    assert.match(fault('caller.ownr == "x"'), /^8: No such key: ownr/);
    assert.match(fault('tool.name == 1'), /^1: no such overload: string == int/);
    assert.match(fault('user == "x"'), /^1: Unknown variable: user/);
    assert.match(fault('true && 1'), /^1: .*bool/);
    assert.match(fault('"text"'), /^1: is string, where a condition must be true or false/);
    assert.match(fault(''), /^1: /);
    assert.match(fault('args.x.matches("(")'), /^16: the pattern of matches: a "\(" is not closed/);
    assert.match(fault('args.x.matches(args.p)'), /^16: the pattern of matches must be written out/);
    assert.match(fault(`"${'x'.repeat(2000)}" == args.x`), /longer than 2000/);
  });

  it('is refused when its cost would grow faster than the arguments', () => {
    assert.match(fault('args.a.all(x, x.all(y, y > 0))'), /^15: all\(…\) cannot stand inside or upon/);
    assert.match(fault('args.a.map(x, x + x).map(x, x + x).size() > 0'), /cannot stand inside or upon/);
    assert.match(fault('args.a.all(x, x in args.b)'), /^20: args cannot be used inside all/);
    assert.match(fault('cel.bind(a, args.x, a == "y")'), /bind\(\) is not available/);
    assert.match(fault('args.x.split(",").size() > 1'), /split\(\) is not available/);
    assert.match(fault('castellan_meter == 1'), /Unknown variable/);
  });

  it('gives up within a tenth of a second on arguments made to be slow', () => {
    const hostile: [string, Record<string, unknown>][] = [
      ['args.l.all(x, x >= 0)', { l: Array(1_000_000).fill(1) }],
      ['2 in args.l', { l: Array(1_000_000).fill(1) }],
      ['args == args', { l: Array(1_000_000).fill(1) }],
      [
        'args.o.size() > 1',
        { o: Object.fromEntries(Array.from({ length: 300_000 }, (_, i) => [`k${i}`, i])) },
      ],
      [
        'args.l.all(x, x.all(y, true)) || true'.replace('.all(y, true)', ' == [1]'),
        { l: Array(400_000).fill([1]) },
      ],
      ['args.s.size() + args.s.size() > 1', { s: 'é'.repeat(4_000_000) }],
      ['int(args.s) > 1', { s: '9'.repeat(4_000_000) }],
    ];
    for (const [source, args] of hostile) {
      const started = process.threadCpuUsage().user;
      assert.equal(evaluate(source, args), undefined, source);
      const ms = (process.threadCpuUsage().user - started) / 1_000;
      assert.ok(ms < 300, `${source} took ${ms} ms`);
    }
  });

  it('pays for the arguments that it names, not for the others', () => {
    const args = { path: '/tmp/x', content: 'x'.repeat(4_000_000), rows: Array(1_000_000).fill(1) };
    assert.equal(evaluate('args.path.startsWith("/tmp")', args), true);
  });
});
