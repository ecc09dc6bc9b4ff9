import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { JsonObject } from '../../jsonrpc.ts';
import { codecs } from '../table.ts';

const SELF = { name: 'castellan', version: '1' };
const TASK = { taskId: 't', status: 'working', createdAt: 'a', lastUpdatedAt: 'b', ttl: 5, pollInterval: 7 };
const { legacy } = codecs;

function neutral(method: string, result: JsonObject): JsonObject {
  const decoded = legacy.decodeResult(method, result);
  assert.ok(decoded.ok);
  return decoded.result;
}

test('a created task has the shape of the extension in between, and its own at both ends', () => {
  const created = { task: TASK, _meta: { vendor: 1 } };
  const between = neutral('tools/call', created);
  assert.equal(between.resultType, 'task');
  assert.equal(between.ttlMs, 5);
  assert.equal(between.pollIntervalMs, 7);
  assert.deepEqual(legacy.encodeResult('tools/call', between, SELF), created);
});

test('so has its state', () => {
  for (const method of ['tasks/get', 'tasks/cancel']) {
    const between = neutral(method, { ...TASK, ttl: null });
    assert.deepEqual(
      [between.ttlMs, between.pollIntervalMs, between.ttl, between.resultType],
      [null, 7, undefined, undefined],
    );
    assert.deepEqual(legacy.encodeResult(method, between, SELF), { ...TASK, ttl: null });
  }
});

test('a tool may have a task in its answer, and a result its own fields', () => {
  const answer = { content: [], task: TASK };
  assert.equal(neutral('tools/call', answer), answer);
  const result = { content: [], ttl: 1 };
  assert.equal(neutral('tasks/result', result), result);
  assert.equal(legacy.encodeResult('tasks/result', result, SELF), result);
});
