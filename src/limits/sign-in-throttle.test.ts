import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { type Attempt, SignInThrottle } from './sign-in-throttle.ts';

const guess = (more: Partial<Attempt> = {}): Attempt => ({
  network: '192.0.2.1',
  account: 'admin',
  browser: undefined,
  ...more,
});

describe('passwords', () => {
  it('are tried ten times at once for one account, and then rarely, from wherever', () => {
    let now = 0;
    const throttle = new SignInThrottle(() => now);
    let tried = 0;
    for (let index = 0; index < 1_000; index += 1)
      if (throttle.take(guess({ network: `address ${index}` })) === undefined) tried += 1;
    assert.equal(tried, 10);
    assert.equal(throttle.take(guess({ network: 'new' })), 60_000);
    assert.equal(throttle.take(guess({ account: 'somebody else' })), undefined);
    now += 60_000;
    assert.equal(throttle.take(guess({ network: 'new' })), undefined);
    assert.notEqual(throttle.take(guess({ network: 'new' })), undefined);
  });

  it('are tried twenty times at once from one address, for whomever', () => {
    const throttle = new SignInThrottle(() => 0);
    let tried = 0;
    for (let index = 0; index < 1_000; index += 1)
      if (throttle.take(guess({ account: `account ${index}` })) === undefined) tried += 1;
    assert.equal(tried, 20);
  });

  it('are never throttled by others in a browser where the account signed in before', () => {
    const throttle = new SignInThrottle(() => 0);
    for (let index = 0; index < 1_000; index += 1) throttle.take(guess());
    assert.notEqual(throttle.take(guess()), undefined);
    const own = guess({ browser: 'brw_1' });
    for (let index = 0; index < 10; index += 1) assert.equal(throttle.take(own), undefined);
    assert.notEqual(throttle.take(own), undefined, 'its own tries have an end too');
  });

  it('that are right cost nothing', () => {
    const throttle = new SignInThrottle(() => 0);
    for (let index = 0; index < 100; index += 1) {
      assert.equal(throttle.take(guess()), undefined);
      throttle.right(guess());
    }
  });
});
