import assert from 'node:assert/strict';
import { test } from 'node:test';
import { interactionPath } from './interaction-paths.ts';
import { SCOPES, scopeOfSurface, surfacesOfScopes } from './scopes.ts';

test('a scope opens its surfaces and those that it implies', () => {
  assert.deepEqual([...surfacesOfScopes(['mcp'])], ['consumer']);
  assert.deepEqual([...surfacesOfScopes(['mcp:operator'])], ['consumer', 'operator']);
  assert.deepEqual([...surfacesOfScopes(['api'])], ['consumer', 'operator']);
  assert.deepEqual([...surfacesOfScopes(['openid'])], []);
  for (const surface of ['consumer', 'operator'] as const) {
    assert.ok(SCOPES.includes(scopeOfSurface(surface)));
    assert.ok(surfacesOfScopes([scopeOfSurface(surface)]).has(surface));
  }
});

test('what a person has to do has a path of its own', () => {
  assert.equal(interactionPath('login', 'abc'), '/sign-in/abc');
  assert.equal(interactionPath('consent', 'abc'), '/consent/abc');
});
