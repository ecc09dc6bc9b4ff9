import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { Refusal } from '../base/errors.ts';
import { KINDS, kindOf } from './kinds.ts';

describe('kinds', () => {
  it('finds a kind by its name, singular, plural and alias in any case', () => {
    for (const word of ['Server', 'server', 'servers', 'srv', 'SRV'])
      assert.equal(kindOf(word).kind, 'Server');
    for (const word of ['proj', 'projects']) assert.equal(kindOf(word).kind, 'Project');
    for (const word of ['mcptoken', 'mcptokens', 'token']) assert.equal(kindOf(word).kind, 'McpToken');
  });

  it('says of a reserved kind that it is not available yet', () => {
    for (const { kind, plural, available } of KINDS) {
      if (available) continue;
      for (const word of [kind, plural]) {
        assert.throws(
          () => kindOf(word),
          (error) => error instanceof Refusal && /not available yet/.test(error.message),
        );
      }
    }
    assert.throws(() => kindOf('repositories'), /kind Repository is not available yet/);
  });

  it('names the nearest kind for a mistyped one', () => {
    assert.throws(() => kindOf('Servr'), /did you mean Server\?/);
    assert.throws(
      () => kindOf('xyz'),
      /use one of Policy, Secret, Server, Project, Group, User, Rbac, McpToken/,
    );
  });
});
