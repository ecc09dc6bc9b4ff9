import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { challengeOf, scopesWanted, unionOf } from './challenge.ts';

describe('what a server says of the credential it wants', () => {
  it('is read from its parameters, quoted or not, wherever they stand', () => {
    const header =
      'Basic realm="x", Bearer error=insufficient_scope, SCOPE="a:read b", resource_metadata="https://a.example/m?x=1"';
    assert.deepEqual(challengeOf(header), {
      error: 'insufficient_scope',
      scopes: ['a:read', 'b'],
      metadata: 'https://a.example/m?x=1',
    });
    assert.deepEqual(scopesWanted(header), ['a:read', 'b']);
    assert.deepEqual(challengeOf(undefined), { error: undefined, scopes: undefined, metadata: undefined });
  });

  it('does not take what stands inside of a quoted text for a parameter', () => {
    const header = 'Bearer error="invalid_token", error_description="say \\", scope=\\"admin\\"", scope="a"';
    assert.deepEqual(challengeOf(header).scopes, ['a']);
    assert.equal(scopesWanted(header), undefined);
  });

  it('counts once each, at most a hundred, and only what a scope may be', () => {
    const many = Array.from({ length: 300 }, (_, index) => `s${index}`).join(' ');
    assert.equal(challengeOf(`Bearer scope="${many}"`).scopes?.length, 100);
    assert.deepEqual(challengeOf('Bearer scope="a a \u00e4 b"').scopes, ['a', 'b']);
    assert.deepEqual(scopesWanted('Bearer error="insufficient_scope"'), []);
    assert.equal(unionOf('a b', ['b', 'c']), 'a b c');
    assert.equal(unionOf(undefined, []), undefined);
  });

  it('is read in a moment, however it was made to take long', () => {
    const before = performance.now();
    challengeOf('a="'.repeat(100_000));
    challengeOf(`a="${'\\'.repeat(100_000)}`);
    assert.ok(performance.now() - before < 500);
  });
});
