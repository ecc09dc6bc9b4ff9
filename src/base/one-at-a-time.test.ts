import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { OneAtATime } from './one-at-a-time.ts';

describe('OneAtATime', () => {
  it('begins once for all who ask meanwhile, and again when that is settled', async () => {
    const shared = new OneAtATime<number>();
    const started: PromiseWithResolvers<number>[] = [];
    const begin = () => {
      const work = Promise.withResolvers<number>();
      started.push(work);
      return work.promise;
    };
    const first = [shared.join('a', begin), shared.join('a', begin), shared.join('b', begin)];
    assert.equal(started.length, 2);
    for (const [at, work] of started.entries()) work.resolve(at);
    assert.deepEqual(await Promise.all(first), [0, 0, 1]);
    const again = shared.join('a', begin);
    assert.equal(started.length, 3);
    started[2]?.reject(new Error('away'));
    await assert.rejects(again, /away/);
    void shared.join('a', begin);
    assert.equal(started.length, 4);
  });

  it('does not give what was forgotten to those who come later, nor lets it end what they began', async () => {
    const shared = new OneAtATime<string>();
    const old = Promise.withResolvers<string>();
    const young = Promise.withResolvers<string>();
    const before = shared.join('a', () => old.promise);
    shared.forget('a');
    const after = shared.join('a', () => young.promise);
    old.resolve('old');
    assert.equal(await before, 'old');
    const joined = shared.join('a', () => assert.fail('it is under way'));
    young.resolve('young');
    assert.deepEqual(await Promise.all([after, joined]), ['young', 'young']);
  });
});
