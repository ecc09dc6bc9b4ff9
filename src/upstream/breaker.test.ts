import assert from 'node:assert/strict';
import { test } from 'node:test';
import { afterFailure, type Breaker, CLOSED, tryPass } from './breaker.ts';

test('below the threshold every call passes; at the threshold none until the wait is over', () => {
  let breaker: Breaker = CLOSED;
  for (let n = 0; n < 4; n += 1) breaker = afterFailure(breaker, 5, 1000, 0.5);
  assert.equal(tryPass(breaker, 1000).pass, true);
  breaker = afterFailure(breaker, 5, 1000, 0.5);
  const refused = tryPass(breaker, 1000);
  assert.equal(refused.pass, false);
  assert.ok(refused.retryAfterMs > 0 && refused.retryAfterMs <= 500);
});

test('half-open lets exactly one probe through, and a dead probe does not lock it for ever', () => {
  const open = afterFailure(CLOSED, 1, 0, 1);
  const probe = tryPass(open, open.openUntil);
  assert.equal(probe.pass, true);
  assert.equal(tryPass(probe.next, open.openUntil + 1).pass, false);
  assert.equal(tryPass(probe.next, probe.next.openUntil).pass, true);
});

test('waits grow to a ceiling and keep their jitter inside half a step', () => {
  let breaker: Breaker = CLOSED;
  for (let n = 0; n < 50; n += 1) breaker = afterFailure(breaker, 1, 0, 0.999);
  assert.ok(breaker.openUntil <= 30_000);
  const low = afterFailure(CLOSED, 1, 0, 0);
  assert.equal(low.openUntil, 250);
});
