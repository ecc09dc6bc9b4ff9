import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import {
  ACTIONS,
  type Binding,
  BOUND_RESOURCES,
  bindingText,
  checkBinding,
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
      [
        'role:run,resource:tools,nme:x',
        /--bind: unknown key "nme" .*use role, resource, name, project or action/,
      ],
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
});
