import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { Usage } from './usage.ts';

describe('who uses a connection', () => {
  it('is nobody once the last call and the last holder have gone, which is told each time', () => {
    let told = 0;
    const usage = new Usage(() => {
      told += 1;
    });
    assert.equal(usage.none, true);
    usage.begin();
    usage.begin();
    const release = usage.hold();
    usage.end();
    assert.deepEqual([usage.inFlight, usage.none, told], [1, false, 0]);
    usage.end();
    assert.deepEqual([usage.inFlight, usage.none, told], [0, false, 0]);
    release();
    release();
    assert.deepEqual([usage.none, told], [true, 1], 'a second release does nothing');
    usage.hold()();
    assert.deepEqual([usage.none, told], [true, 2]);
  });
});
