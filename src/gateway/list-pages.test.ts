import assert from 'node:assert/strict';
import { test } from 'node:test';
import { pageStarts } from './list-pages.ts';

const items = (...lengths: number[]) =>
  lengths.map((length) => ({ text: 'x'.repeat(length - '{"text":""},'.length) }));

test('pages begin where the count or the characters are used up', () => {
  const limits = { items: 3, characters: 100 };
  assert.deepEqual(pageStarts([], limits), [0], 'an empty list is a page');
  assert.deepEqual(pageStarts(items(20, 20, 20), limits), [0]);
  assert.deepEqual(pageStarts(items(20, 20, 20, 20), limits), [0, 3]);
  assert.deepEqual(pageStarts(items(50, 50, 20), limits), [0, 2], 'a page may be full to the last character');
  assert.deepEqual(pageStarts(items(50, 51, 20), limits), [0, 1]);
});

test('an item that is too long for a page has one of its own', () => {
  const limits = { items: 3, characters: 100 };
  assert.deepEqual(pageStarts(items(500), limits), [0]);
  assert.deepEqual(pageStarts(items(20, 500, 20), limits), [0, 1, 2]);
});
