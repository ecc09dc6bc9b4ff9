import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { EarlyMessages } from './early-messages.ts';

const message = (id: number) => ({ jsonrpc: '2.0' as const, id, method: 'ping' });

describe('what a server says while it is dialled', () => {
  it('waits, in order and within a bound, and passes at once afterwards', () => {
    const heard: unknown[] = [];
    const early = new EarlyMessages((one) => heard.push('id' in one && one.id));
    for (let id = 1; id <= 100; id += 1) early.take(message(id));
    assert.deepEqual(heard, []);
    early.deliver();
    assert.deepEqual(
      heard,
      Array.from({ length: 64 }, (_, index) => index + 1),
    );
    early.take(message(200));
    assert.equal(heard.at(-1), 200);
    early.deliver();
    assert.equal(heard.length, 65);
  });
});
