import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { ACTIONS, ADMINISTRATOR, type Binding, bindingText, parseBinding } from '../resources/bindings.ts';
import { clonedBindings, mayGive } from './ceiling.ts';

const NEVER = [
  'role:approve,resource:approvals',
  'role:admin,resource:*',
  'role:admin,resource:approvals',
  'action:impersonate',
  'action:escalate',
  'action:bind',
  'action:spawn',
];

describe('what may be passed on', () => {
  it('is no more than the bindings say', () => {
    const held = (text: string, wanted: string) =>
      mayGive([parseBinding(text, 'x')], parseBinding(wanted, 'x'));
    assert.ok(held('role:edit,resource:servers', 'role:view,resource:servers'));
    assert.ok(held('role:admin,resource:tools', 'role:run,resource:tools,name:a'));
    assert.ok(held('role:run,resource:*', 'role:run,resource:tools'));
    assert.ok(held('role:run,resource:tools,name:a*', 'role:run,resource:tools,name:ab'));
    assert.ok(held('role:run,resource:tools,name:a*', 'role:run,resource:tools,name:ab*c'));
    assert.ok(held('role:run,resource:tools', 'role:run,resource:tools,project:p'));
    assert.ok(held('role:admin,resource:*', 'action:spawn'));
    assert.ok(!held('role:view,resource:servers', 'role:edit,resource:servers'));
    assert.ok(!held('role:admin,resource:servers', 'role:run,resource:tools'));
    assert.ok(!held('role:run,resource:tools', 'role:run,resource:*'));
    assert.ok(!held('role:run,resource:tools,name:a', 'role:run,resource:tools'));
    assert.ok(!held('role:run,resource:tools,name:a*b', 'role:run,resource:tools,name:a*'));
    assert.ok(!held('role:run,resource:tools,project:p', 'role:run,resource:tools'));
    assert.ok(!held('role:run,resource:tools,project:p', 'role:run,resource:tools,project:q'));
    assert.ok(!held('role:admin,resource:*,project:p', 'action:spawn'));
    assert.ok(!held('role:admin,resource:*,name:a', 'action:logs'));
    assert.ok(!held('action:logs', 'role:view,resource:audit'));
  });

  it('is never cloned where it makes more rights or decides for people', () => {
    const all: Binding[] = [
      ...ADMINISTRATOR,
      { role: 'approve', resource: 'approvals' },
      { role: 'admin', resource: 'approvals' },
    ];
    const cloned = clonedBindings(all);
    const texts = cloned.map(bindingText);
    for (const text of ['role:run,resource:*', 'role:handle,resource:approvals', 'action:logs'])
      assert.ok(texts.includes(text), text);
    for (const text of NEVER) {
      assert.ok(!texts.includes(text), text);
      assert.ok(!mayGive(cloned, parseBinding(text, 'x')), text);
    }
    assert.equal(new Set(texts).size, texts.length);
  });

  it('keeps the name and the project of what is cloned', () => {
    const [first] = clonedBindings([{ role: 'admin', resource: '*', name: 'a*', project: 'p' }]);
    assert.deepEqual(first, { role: 'create', resource: '*', name: 'a*', project: 'p' });
    assert.equal(clonedBindings([{ role: 'admin', resource: '*', project: 'p' }]).length, 6);
    assert.equal(clonedBindings(ADMINISTRATOR).length, 6 + ACTIONS.length - 4);
  });
});
