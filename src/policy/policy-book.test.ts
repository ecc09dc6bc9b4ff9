import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { CallerFacts, type Facts, ToolFacts } from './expression.ts';
import { compileRules, type Policy, type PolicyAction, type WrittenRule } from './policy.ts';
import { PolicyBook } from './policy-book.ts';
import type { DefaultAction } from './verdict.ts';

const facts = (args: Record<string, unknown>) => (): Facts => ({
  args,
  caller: new CallerFacts({
    owner: 'a',
    principal: 'User:a',
    token: '',
    project: 'demo',
    surface: 'consumer',
  }),
  tool: new ToolFacts({ name: 'db__query', server: 'db', readOnly: false }),
});

function policy(name: string, rules: readonly WrittenRule[], projects: readonly string[] = ['*']): Policy {
  const { rules: compiled, problems } = compileRules(rules);
  assert.deepEqual(problems, []);
  return { name, projects, rules: compiled };
}

const ask = (
  policies: readonly Policy[],
  args: Record<string, unknown> = {},
  fallback: DefaultAction = 'allow',
) => new PolicyBook(policies).of('demo', fallback).tool('db__query').decide(facts(args));

const RULES: readonly WrittenRule[] = [
  { tools: ['db__*'], action: 'allow' },
  { tools: ['db__query'], action: 'deny', reason: 'no' },
  { tools: ['*'], when: 'args.n > 1', action: 'deny', reason: 'large' },
  { tools: ['*'], when: 'args.n > 1', action: 'allow' },
  { tools: ['*'], when: 'args.missing', action: 'allow' },
  { tools: ['*'], when: 'args.missing', action: 'deny' },
  { tools: ['other__*'], action: 'deny' },
  { tools: ['*'], action: 'approve' },
];
const someRules = fc.array(fc.constantFrom(...RULES), { maxLength: 4 });
const somePolicies = fc
  .array(
    fc.oneof({ weight: 9, arbitrary: someRules }, { weight: 1, arbitrary: fc.constant('broken' as const) }),
    {
      maxLength: 5,
    },
  )
  .map((all) =>
    all.map(
      (rules, index): Policy =>
        rules === 'broken' ? { name: `p${index}`, projects: ['*'], fault: 'x' } : policy(`p${index}`, rules),
    ),
  );
const fallbacks = fc.constantFrom<DefaultAction>('allow', 'deny');
const someArgs = fc.constantFrom({ n: 1 }, { n: 2 }, {});

/** Every call of the tests in words of the contract, written once more without the book. */
function expected(policies: readonly Policy[], args: { n?: number }, fallback: DefaultAction): PolicyAction {
  const said = policies.flatMap((one): PolicyAction[] => {
    if ('fault' in one) return ['deny'];
    for (const { tools, action, when } of one.rules) {
      if (!tools.some((glob) => ['*', 'db__*', 'db__query'].includes(glob))) continue;
      const holds = when ? when.evaluate(facts(args)(), { left: 1_000 }) : true;
      if (holds ?? action !== 'allow') return [action];
    }
    return [];
  });
  return said.includes('deny') ? 'deny' : said.includes('approve') ? 'approve' : (said[0] ?? fallback);
}

describe('policies', () => {
  it('count by the first rule that matches, and the strictest of several policies', () => {
    fc.assert(
      fc.property(somePolicies, someArgs, fallbacks, (policies, args, fallback) => {
        assert.equal(ask(policies, args, fallback).action, expected(policies, args, fallback));
      }),
      { numRuns: 2_000 },
    );
  });

  it('say the same in whatever order they come', () => {
    const shuffled = somePolicies.chain((policies) =>
      fc.tuple(fc.constant(policies), fc.shuffledSubarray(policies, { minLength: policies.length })),
    );
    fc.assert(
      fc.property(shuffled, someArgs, fallbacks, ([policies, other], args, fallback) => {
        assert.deepEqual(ask(policies, args, fallback), ask(other, args, fallback));
      }),
      { numRuns: 1_000 },
    );
  });

  it('are settled or hidden only where every call has that verdict', () => {
    fc.assert(
      fc.property(somePolicies, fallbacks, (policies, fallback) => {
        const ruling = new PolicyBook(policies).of('demo', fallback).tool('db__query');
        for (const args of [{ n: 1 }, { n: 2 }, {}]) {
          const { action } = ruling.decide(facts(args));
          if (ruling.settled) assert.equal(action, ruling.settled.action);
          if (ruling.hidden) assert.equal(action, 'deny');
        }
      }),
      { numRuns: 2_000 },
    );
  });

  it('hide what a project that denies by default says nothing about, and no tool that a rule denies', () => {
    const hidden = (rules: readonly WrittenRule[], fallback: DefaultAction = 'allow') =>
      new PolicyBook([policy('p', rules)]).of('demo', fallback).tool('db__query').hidden;
    assert.equal(hidden([{ tools: ['db__*'], action: 'deny' }]), false);
    assert.equal(hidden([{ tools: ['db__*'], action: 'deny' }], 'deny'), false);
    assert.equal(hidden([{ tools: ['db__*'], action: 'deny', when: 'args.n > 1' }], 'deny'), false);
    assert.equal(hidden([{ tools: ['db__*'], action: 'allow', when: 'args.n > 1' }], 'deny'), false);
    assert.equal(hidden([{ tools: ['other__*'], action: 'allow' }], 'deny'), true);
    assert.equal(hidden([], 'deny'), true);
    assert.equal(hidden([]), false);
  });

  it('name the rule that decided, and say when its condition failed', () => {
    const rules: WrittenRule[] = [
      { tools: ['x__*'], action: 'allow' },
      { tools: ['db__*'], when: 'args.n > 1', action: 'deny', reason: 'too large' },
    ];
    const by = { policy: 'p', rule: 1 };
    assert.deepEqual(ask([policy('p', rules)], { n: 2 }), {
      action: 'deny',
      by,
      reason: 'too large',
      failed: false,
    });
    assert.deepEqual(ask([policy('p', rules)], {}), {
      action: 'deny',
      by,
      reason: 'too large',
      failed: true,
    });
    assert.equal(ask([policy('p', rules)], { n: 1 }).by, 'defaultAction');
  });

  it('that cannot be read deny what they cover, and no other project', () => {
    const book = new PolicyBook([{ name: 'p', projects: ['demo'], fault: 'spec.rules: is missing' }]);
    const { settled } = book.of('demo', 'allow').tool('db__query');
    assert.equal(settled?.action, 'deny');
    assert.doesNotMatch(String(settled?.reason), /rules/);
    assert.deepEqual(settled?.by, { policy: 'p', fault: 'spec.rules: is missing' });
    assert.equal(book.of('other', 'allow').tool('db__query').settled?.action, 'allow');
  });

  it('concern prompts and resources where they cover the whole server', () => {
    const book = new PolicyBook([
      policy('p', [
        { tools: ['db__*'], action: 'deny' },
        { tools: ['fs__read*'], action: 'deny' },
      ]),
    ]);
    assert.equal(book.of('demo', 'allow').server('db').settled?.action, 'deny');
    assert.equal(book.of('demo', 'allow').server('fs').settled?.action, 'allow');
    assert.equal(book.of('demo', 'allow').server('dbx').settled?.action, 'allow');
  });

  it('name the rule and the column of an expression that is wrong', () => {
    const { problems } = compileRules([
      { tools: ['*'], action: 'deny' },
      { tools: ['*'], action: 'deny', when: 'args.x == caller.nme' },
    ]);
    assert.deepEqual(problems, [{ rule: 1, message: 'column 18: No such key: nme' }]);
  });
});
