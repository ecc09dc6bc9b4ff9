import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { Cancellation } from '../base/cancellation.ts';
import { SharedSlot, type SlotHolder, Slots } from './slots.ts';
import { UpstreamFault } from './transport.ts';

const soon = () => Date.now() + 5_000;
const holder = (idleSince?: number): SlotHolder & { idleSince: number | undefined; evicted: number } => ({
  idleSince,
  evicted: 0,
  async evict() {
    this.evicted += 1;
  },
});
const claim = (slots: Slots | SharedSlot, one: SlotHolder, deadline = soon(), hangUp = new Cancellation()) =>
  slots.claim(one, deadline, hangUp);
const faultOf = async (work: Promise<void>) => {
  const error = await work.catch((reason: unknown) => reason);
  assert.ok(error instanceof UpstreamFault);
  return error.kind;
};

describe('slots', () => {
  it('a newcomer takes the place of who has been idle longest', async () => {
    const slots = new Slots(2);
    const [older, newer, late] = [holder(1), holder(2), holder()];
    for (const one of [newer, older, late]) await claim(slots, one);
    assert.deepEqual([older.evicted, newer.evicted, slots.taken], [1, 0, 2]);
  });

  it('waits while all are busy, in order, until one is released or becomes idle', async () => {
    const slots = new Slots(1);
    const [busy, first, second] = [holder(), holder(), holder()];
    await claim(slots, busy);
    const order: string[] = [];
    const waiting = [
      claim(slots, first).then(() => order.push('first')),
      claim(slots, second).then(() => order.push('second')),
    ];
    slots.release(busy);
    await waiting[0];
    assert.deepEqual(order, ['first']);
    first.idleSince = 1;
    slots.wake();
    await waiting[1];
    assert.deepEqual([order, first.evicted, slots.taken], [['first', 'second'], 1, 1]);
  });

  it('gives up at the deadline with a fault of its own kind', async () => {
    const slots = new Slots(1);
    await claim(slots, holder());
    assert.equal(await faultOf(claim(slots, holder(), Date.now() + 10)), 'capacity');
  });

  it('a holder that claims again keeps its place and takes no other', async () => {
    const slots = new Slots(2);
    const [again, idle] = [holder(), holder(1)];
    await claim(slots, again);
    await claim(slots, idle);
    await claim(slots, again, Date.now());
    assert.deepEqual([idle.evicted, slots.taken], [0, 2]);
  });

  it('who hangs up leaves the line at once and takes no turn', async () => {
    const slots = new Slots(1);
    const busy = holder();
    await claim(slots, busy);
    const hangUp = new Cancellation();
    const left = faultOf(claim(slots, holder(), soon(), hangUp));
    const next = claim(slots, holder());
    hangUp.cancel('stopped');
    assert.equal(await left, 'unreachable');
    slots.release(busy);
    await next;
  });

  it('all connections of a server share one, which is free when the last is gone', async () => {
    const slots = new Slots(1);
    const shared = new SharedSlot(slots);
    const [one, two, other] = [holder(5), holder(7), holder()];
    await Promise.all([claim(shared, one), claim(shared, two)]);
    assert.deepEqual([slots.taken, shared.idleSince], [1, 7]);
    two.idleSince = undefined;
    assert.equal(shared.idleSince, undefined);
    shared.release(one);
    const waiting = claim(slots, other);
    shared.release(two);
    await waiting;
    assert.equal(slots.taken, 1);
  });
});
