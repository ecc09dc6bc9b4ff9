import assert from 'node:assert/strict';
import { test } from 'node:test';
import { moveRelated, relatedTaskOf, relatedTo } from './related-task.ts';

const KEY = 'io.modelcontextprotocol/related-task';

test('a message of a task is moved to its other id, or taken from it, with all else kept', () => {
  const message = { a: 1, _meta: { vendor: 2, [KEY]: { taskId: 'theirs' } } };
  assert.equal(relatedTaskOf(message), 'theirs');
  assert.deepEqual(moveRelated(message, 'ours'), { a: 1, _meta: { vendor: 2, [KEY]: { taskId: 'ours' } } });
  assert.deepEqual(moveRelated(message, undefined), { a: 1, _meta: { vendor: 2 } });
  assert.deepEqual(relatedTo({ _meta: { [KEY]: { taskId: 'x' } } }, undefined), {});
});

test('a message of no task stays as it is, whatever stands in its place', () => {
  for (const message of [
    {},
    { _meta: null },
    { _meta: { [KEY]: 'x' } },
    { _meta: { [KEY]: { taskId: 1 } } },
  ]) {
    assert.equal(moveRelated(message, 'ours'), message);
  }
});
