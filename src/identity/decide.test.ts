import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { anyAsk, anyBinding, layerOf, roleAsk } from '../../test/support/arbitrary-bindings.ts';
import { ADMINISTRATOR, type Binding, parseBinding } from '../resources/bindings.ts';
import { type Ask, covers, decide, grants } from './decide.ts';

const someBindings = fc.array(anyBinding, { maxLength: 5 });
const allows = (bindings: readonly Binding[], ask: Ask) => decide([layerOf('User:x', bindings)], ask).allowed;

describe('the decision', () => {
  it('denies where nothing is granted, and allows an administrator everything', () => {
    fc.assert(
      fc.property(anyAsk, (ask) => {
        assert.equal(decide([], ask).allowed, false);
        assert.equal(allows([], ask), false);
        assert.equal(allows([{ role: 'admin', resource: '*' }], ask), true);
        assert.equal(allows(ADMINISTRATOR, ask), true);
      }),
    );
  });

  it('allows a token nothing that its owner may not, nor outside its project', () => {
    fc.assert(
      fc.property(someBindings, someBindings, someBindings, anyAsk, (own, parent, owner, ask) => {
        const layers = [
          layerOf('McpToken:1', own, 'p'),
          layerOf('McpToken:2', parent, 'p'),
          layerOf('User:o', owner),
        ];
        const expected =
          ask.project === 'p' && [own, parent, owner].every((bindings) => allows(bindings, ask));
        assert.equal(decide(layers, ask).allowed, expected);
      }),
      { numRuns: 2_000 },
    );
  });

  it('grows with what is granted and never shrinks', () => {
    fc.assert(
      fc.property(someBindings, anyBinding, anyAsk, (bindings, more, ask) => {
        if (allows(bindings, ask)) assert.ok(allows([...bindings, more], ask));
        else assert.equal(allows([...bindings, more], ask), grants(more, ask));
      }),
      { numRuns: 2_000 },
    );
  });

  it('names the right that decided, or the one that is missing and who lacks it', () => {
    const layers = [
      layerOf('McpToken:1', [parseBinding('role:run,resource:tools,name:a__*', 'x')], 'p'),
      layerOf('User:o', [parseBinding('role:admin,resource:tools', 'x')]),
    ];
    const ask = (name: string): Ask => ({ role: 'run', resource: 'tools', name, project: 'p' });
    assert.deepEqual(decide(layers, ask('a__x')), { allowed: true, by: layers[0]!.rights[0] });
    assert.deepEqual(decide(layers, ask('b__x')), {
      allowed: false,
      missing: 'role:run,resource:tools,name:b__x,project:p',
      lacking: 'McpToken:1',
    });
    const demoted = [layers[0]!, layerOf('User:o', [])];
    assert.equal((decide(demoted, ask('a__x')) as { lacking: string }).lacking, 'User:o');
  });
});

describe('one binding', () => {
  it('that covers another allows all that the other allows', () => {
    fc.assert(
      fc.property(anyBinding, anyBinding, anyAsk, (held, wanted, ask) => {
        if (covers(held, wanted) && grants(wanted, ask)) assert.ok(grants(held, ask));
      }),
      { numRuns: 20_000 },
    );
    fc.assert(fc.property(anyBinding, (binding) => assert.ok(covers(binding, binding))));
  });

  it('holds for a whole server only when it holds for every name of it', () => {
    fc.assert(
      fc.property(anyBinding, roleAsk, fc.string({ maxLength: 5 }), (binding, { name: _, ...ask }, rest) => {
        const whole = { ...ask, prefix: 'a__' };
        const one = { ...ask, name: `a__${rest}` };
        if (grants(binding, whole)) assert.ok(grants(binding, one));
      }),
      { numRuns: 20_000 },
    );
  });

  it('implies what the contract says and no more', () => {
    const cases: [string, string, boolean][] = [
      ['role:edit,resource:servers', 'role:view,resource:servers', true],
      ['role:edit,resource:servers', 'role:create,resource:servers', false],
      ['role:edit,resource:servers', 'role:delete,resource:servers', false],
      ['role:view,resource:servers', 'role:edit,resource:servers', false],
      ['role:admin,resource:servers', 'role:delete,resource:servers', true],
      ['role:admin,resource:servers', 'role:view,resource:projects', false],
      ['role:admin,resource:*', 'role:approve,resource:approvals', true],
      ['role:run,resource:tools,name:a__*', 'role:run,resource:tools,name:a__x', true],
      ['role:run,resource:tools,name:a__*', 'role:run,resource:tools', false],
      ['role:run,resource:tools,name:*', 'role:run,resource:tools', true],
      ['role:run,resource:tools,project:p', 'role:run,resource:tools,name:x,project:p', true],
      ['role:run,resource:tools,project:p', 'role:run,resource:tools,name:x,project:q', false],
      ['role:run,resource:tools,project:p', 'role:run,resource:tools,name:x', false],
    ];
    for (const [held, wanted, expected] of cases) {
      const ask = parseBinding(wanted, 'x') as Ask;
      assert.equal(grants(parseBinding(held, 'x'), ask), expected, `${held} for ${wanted}`);
    }
  });

  it('names the right that somebody wrote down, where the first layer holds whatever there is', () => {
    const binding = parseBinding('role:view,resource:servers', 'x');
    const client = { principal: 'OAuthClient:c', rights: [{ rbac: '', subject: 'OAuthClient:c', binding }] };
    const owner = { principal: 'User:x', rights: [{ rbac: 'viewers', subject: 'User:x', binding }] };
    const decision = decide([client, owner], { role: 'view', resource: 'servers' });
    assert.equal(decision.allowed && decision.by.rbac, 'viewers');
  });
});
