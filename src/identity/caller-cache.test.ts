import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { authenticatedCaller } from './caller.ts';
import { CallerCache } from './caller-cache.ts';

const caller = authenticatedCaller({
  principal: 'User:a',
  owner: 'a',
  ceilings: [],
  project: 'demo',
  surfaces: new Set(),
});
const NEVER = Number.POSITIVE_INFINITY;

describe('cache of callers', () => {
  it('knows an answer for less than four seconds, and never beyond the expiry', () => {
    const cache = new CallerCache();
    cache.keep('a', { caller, hash: 'h', readAt: 1_000, expiresAt: NEVER }, cache.epoch);
    assert.equal(cache.get('a', 1_000), caller);
    assert.equal(cache.get('a', 4_999), caller);
    assert.equal(cache.get('a', 5_000), undefined);
    cache.keep('b', { caller, hash: 'h', readAt: 1_000, expiresAt: 1_500 }, cache.epoch);
    assert.equal(cache.get('b', 1_499), caller);
    assert.equal(cache.get('b', 1_500), undefined);
  });

  it('trusts no answer of a clock that was set back', () => {
    const cache = new CallerCache();
    cache.keep('a', { caller, hash: 'h', readAt: 10_000, expiresAt: NEVER }, cache.epoch);
    assert.equal(cache.get('a', 9_999), undefined);
  });

  it('keeps no answer that was read before something ended', () => {
    const cache = new CallerCache();
    const before = cache.epoch;
    cache.drop('h');
    cache.keep('a', { caller, hash: 'h', readAt: 0, expiresAt: NEVER }, before);
    assert.equal(cache.get('a', 0), undefined);
    cache.keep('a', { caller, hash: 'h', readAt: 0, expiresAt: NEVER }, cache.epoch);
    assert.equal(cache.get('a', 0), caller);
    cache.keep('b', { caller, hash: 'other', readAt: 0, expiresAt: NEVER }, cache.epoch);
    cache.drop('h');
    assert.equal(cache.get('a', 0), undefined, 'what ended is forgotten by its hash');
    assert.equal(cache.get('b', 0), caller);
  });

  it('stays bounded whatever is presented', () => {
    const cache = new CallerCache();
    for (let index = 0; index < 20_000; index += 1) {
      cache.keep(String(index), { caller, hash: 'h', readAt: 0, expiresAt: NEVER }, cache.epoch);
    }
    assert.equal(cache.get('0', 0), undefined);
    assert.equal(cache.get('19999', 0), caller);
  });
});
