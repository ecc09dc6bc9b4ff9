import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { kindOf } from './kinds.ts';

describe('kinds', () => {
  it('finds a kind by its name, singular, plural and alias in any case', () => {
    for (const word of ['Server', 'server', 'servers', 'srv', 'SRV'])
      assert.equal(kindOf(word).kind, 'Server');
    for (const word of ['proj', 'projects']) assert.equal(kindOf(word).kind, 'Project');
    for (const word of ['mcptoken', 'mcptokens', 'token']) assert.equal(kindOf(word).kind, 'McpToken');
    for (const word of ['repository', 'repositories']) assert.equal(kindOf(word).kind, 'Repository');
  });

  it('names the nearest kind for a mistyped one', () => {
    assert.throws(() => kindOf('Servr'), /did you mean Server\?/);
    assert.throws(
      () => kindOf('xyz'),
      /use one of Policy, Secret, Server, Project, Group, User, Rbac, McpToken/,
    );
  });
});
