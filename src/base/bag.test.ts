import assert from 'node:assert/strict';
import { test } from 'node:test';
import { getHeapSpaceStatistics, setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { Bag } from './bag.ts';

test('holds what was added and not taken out', () => {
  const bag = new Bag<string>();
  for (const item of ['a', 'b', 'c', 'd']) bag.add(item);
  assert.equal(bag.delete('b'), true);
  assert.equal(bag.delete('b'), false);
  assert.equal(bag.delete('d'), true);
  assert.deepEqual([...bag].sort(), ['a', 'c']);
  assert.equal(bag.size, 2);
});

test('goes once through those that were there at first, though they leave meanwhile', () => {
  const bag = new Bag<number>();
  for (let item = 0; item < 5; item += 1) bag.add(item);
  const seen: number[] = [];
  for (const item of bag) {
    seen.push(item);
    bag.delete(item);
    bag.add(item + 100);
  }
  assert.deepEqual(seen, [0, 1, 2, 3, 4]);
  assert.equal(bag.size, 5);
});

test('what came and went does not grow old', () => {
  setFlagsFromString('--expose-gc');
  const collect = runInNewContext('gc') as () => void;
  const bag = new Bag<number[]>();
  for (let item = 0; item < 16; item += 1) bag.add([item]);
  // From now on all that the bag consists of is in the old generation.
  collect();
  collect();
  const before = oldSpaceBytes();
  const inFlight = [...bag];
  for (let turn = 0; turn < 200_000; turn += 1) {
    const item = new Array<number>(100).fill(turn);
    bag.add(item);
    inFlight.push(item);
    bag.delete(inFlight.shift() as number[]);
  }
  const grown = oldSpaceBytes() - before;
  assert.ok(grown < 4_000_000, `${grown} of 160,000,000 bytes grew old`);
});

function oldSpaceBytes(): number {
  return getHeapSpaceStatistics().find(({ space_name }) => space_name === 'old_space')?.space_used_size ?? 0;
}
