import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import {
  ACTIONS,
  ADMINISTRATOR,
  type Binding,
  BOUND_RESOURCES,
  bindingText,
  checkBinding,
  clonedBindings,
  covers,
  parseBinding,
  ROLES,
} from './bindings.ts';

const anyBinding: fc.Arbitrary<Binding> = fc.oneof(
  fc.record({ action: fc.constantFrom(...ACTIONS) }, { noNullPrototype: true }),
  fc.record(
    {
      role: fc.constantFrom(...ROLES),
      resource: fc.constantFrom(...BOUND_RESOURCES),
      name: fc.constantFrom('github__*', 'a', 'b'),
    },
    { requiredKeys: ['role', 'resource'], noNullPrototype: true },
  ),
);

describe('bindings', () => {
  it('read back what they write', () => {
    fc.assert(
      fc.property(anyBinding, (binding) =>
        assert.deepEqual(parseBinding(bindingText(binding), 'x'), binding),
      ),
    );
  });

  it('name the key that is wrong', () => {
    const cases: [string, RegExp][] = [
      ['', /--bind: unknown key ""/],
      ['role:run', /--bind: resource is missing/],
      ['resource:tools', /--bind: role is missing/],
      ['role:run,resource:', /--bind: resource has no value/],
      ['role,resource:tools', /--bind: role has no value/],
      ['role:run,role:view,resource:tools', /--bind: role is given twice/],
      ['role:run,resource:tools,nme:x', /--bind: unknown key "nme" .*use role, resource, name or action/],
      ['role:root,resource:tools', /--bind: role "root" is unknown; use one of view, /],
      ['role:run,resource:tool', /--bind: resource "tool" is unknown; use one of servers, /],
      ['action:fly', /--bind: action "fly" is unknown; use one of logs, /],
      ['action:logs,role:run', /--bind: action stands alone/],
    ];
    for (const [text, message] of cases) assert.throws(() => parseBinding(text, '--bind'), message, text);
    assert.deepEqual(parseBinding('role:run,resource:tools,name:a:b', 'x'), {
      role: 'run',
      resource: 'tools',
      name: 'a:b',
    });
  });

  it('are checked as objects too', () => {
    for (const value of [
      null,
      'role:run',
      [],
      { role: 'run', resource: 'tools', surplus: 1 },
      { role: 1, resource: 'tools' },
      { role: 'run', resource: 'tools', name: '' },
      { action: 'logs', name: 'x' },
    ]) {
      assert.throws(
        () => checkBinding(value, 'spec.bindings[0]'),
        /^Refusal: spec\.bindings\[0\]/,
        JSON.stringify(value),
      );
    }
  });

  it('cover themselves, and an administrator covers all', () => {
    fc.assert(
      fc.property(anyBinding, (binding) => {
        assert.ok(covers([binding], binding));
        assert.ok(covers(ADMINISTRATOR, binding));
        assert.ok(!covers([], binding));
      }),
    );
  });

  it('cover no more than they say', () => {
    const held = (text: string, wanted: string) =>
      covers([parseBinding(text, 'x')], parseBinding(wanted, 'x'));
    assert.ok(held('role:edit,resource:servers', 'role:view,resource:servers'));
    assert.ok(held('role:admin,resource:tools', 'role:run,resource:tools,name:a'));
    assert.ok(held('role:run,resource:*', 'role:run,resource:tools'));
    assert.ok(!held('role:view,resource:servers', 'role:edit,resource:servers'));
    assert.ok(!held('role:admin,resource:servers', 'role:run,resource:tools'));
    assert.ok(!held('role:run,resource:tools', 'role:run,resource:*'));
    assert.ok(!held('role:run,resource:tools,name:a', 'role:run,resource:tools'));
    assert.ok(!held('role:run,resource:tools,name:a*', 'role:run,resource:tools,name:ab'));
    assert.ok(!held('role:admin,resource:*', 'action:logs'));
    assert.ok(!held('action:logs', 'role:view,resource:audit'));
  });

  it('never clone what makes more rights', () => {
    const all: Binding[] = [
      ...ADMINISTRATOR,
      { role: 'approve', resource: 'approvals' },
      { role: 'run', resource: 'tools' },
    ];
    const texts = clonedBindings(all).map(bindingText);
    assert.ok(texts.includes('role:run,resource:tools'));
    for (const never of [
      'role:approve,resource:approvals',
      'action:impersonate',
      'action:escalate',
      'action:bind',
      'action:spawn',
    ]) {
      assert.ok(!texts.includes(never), never);
    }
  });
});
