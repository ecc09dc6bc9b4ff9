import assert from 'node:assert/strict';
import { test } from 'node:test';
import { storedObject } from './known-objects.ts';
import { type ObjectChange, ObjectFeed } from './object-feed.ts';

const objects = (versions: Record<string, number>) =>
  new Map(
    Object.entries(versions).map(([name, version]) => {
      const row = { name, uid: `srv_${name}`, spec: {}, labels: {}, version, createdAt: 0, updatedAt: 0 };
      return [`Server/${name}`, storedObject({ kind: 'Server', ...row })];
    }),
  );

const told = (changes: readonly ObjectChange[] | undefined) =>
  changes?.map(({ before, now }) => {
    const name = (now ?? before)?.metadata.name;
    return `${name} ${before ? (now ? 'changed' : 'went') : 'came'}`;
  });

test('what came, changed and went is told once, and can be read again from a place', () => {
  const feed = new ObjectFeed();
  const heard: string[] = [];
  const stop = feed.onChanges((changes) => heard.push(...(told(changes) ?? [])));
  const start = feed.version;
  feed.note(objects({}), objects({ a: 1, b: 2 }));
  const middle = feed.version;
  feed.note(objects({ a: 1, b: 2 }), objects({ a: 3 }));
  feed.note(objects({ a: 3 }), objects({ a: 3 }));
  assert.deepEqual(heard, ['a came', 'b came', 'a changed', 'b went']);
  assert.deepEqual(told(feed.since(start)), heard);
  assert.deepEqual(told(feed.since(middle)), ['a changed', 'b went']);
  assert.deepEqual(feed.since(feed.version), []);
  stop();
  feed.note(objects({}), objects({ c: 4 }));
  assert.equal(heard.length, 4);
});

test('a place of another process, of the future or of long ago is not known', () => {
  const feed = new ObjectFeed();
  const start = feed.version;
  feed.note(objects({}), objects({ a: 1 }));
  for (const place of [
    '',
    'x',
    '1',
    new ObjectFeed().version,
    start.replace(/\d+$/, '9'),
    start.replace('.', '.0'),
  ])
    assert.equal(feed.since(place), undefined, place);
  for (let version = 1; version <= 1000; version++)
    feed.note(objects({ a: version }), objects({ a: version + 1 }));
  assert.equal(feed.since(start), undefined);
  assert.equal(feed.since(start.replace(/\d+$/, '1'))?.length, 1000);
});
