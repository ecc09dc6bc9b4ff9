import assert from 'node:assert/strict';
import { test } from 'node:test';
import { TASKS } from '../../protocol/extensions.ts';
import type { Envelope } from '../../protocol/model.ts';
import { courseOf, type TaskCourse, type TaskSupport, taskSupportOf } from './course.ts';

type Client = '2025-11-25' | '2025-06-18' | 'modern' | 'modern with tasks';

function clientOf(client: Client, asksForTask: boolean): Parameters<typeof courseOf>[2] {
  const modern = client.startsWith('modern');
  const envelope: Envelope = {
    era: modern ? 'modern' : 'legacy',
    revision: modern ? '2026-07-28' : client,
    clientCapabilities: client === 'modern with tasks' ? { extensions: { [TASKS]: {} } } : {},
    clientInfo: undefined,
    logLevel: undefined,
    progressToken: undefined,
  };
  return { envelope, params: asksForTask ? { task: {} } : {} };
}

const WAYS: [Client, TaskSupport, 'legacy' | 'modern', asks: boolean, offered: boolean, TaskCourse][] = [
  ['2025-11-25', 'required', 'legacy', true, true, 'relay'],
  ['2025-11-25', 'optional', 'legacy', true, true, 'relay'],
  ['2025-11-25', 'forbidden', 'legacy', true, true, 'relay'],
  ['2025-11-25', 'required', 'legacy', false, true, 'plain'],
  ['2025-11-25', undefined, 'legacy', true, true, 'refuse'],
  ['2025-11-25', undefined, 'modern', true, true, 'refuse'],
  ['2025-11-25', undefined, 'legacy', true, false, 'plain'],
  ['2025-11-25', undefined, 'modern', true, false, 'declare'],
  ['2025-11-25', undefined, 'modern', false, false, 'declare'],
  ['2025-06-18', 'required', 'legacy', false, true, 'hold'],
  ['2025-06-18', 'required', 'legacy', true, true, 'hold'],
  ['2025-06-18', 'optional', 'legacy', true, true, 'plain'],
  ['2025-06-18', undefined, 'modern', false, false, 'declare'],
  ['modern', 'required', 'legacy', false, true, 'hold'],
  ['modern', 'optional', 'legacy', true, true, 'plain'],
  ['modern with tasks', 'required', 'legacy', false, true, 'augment'],
  ['modern with tasks', 'optional', 'legacy', false, true, 'plain'],
  ['modern with tasks', undefined, 'modern', false, false, 'plain'],
];

for (const [client, support, server, asks, offered, expected] of WAYS) {
  const asked = asks ? 'as a task' : 'plainly';
  test(`${client} calls a ${support ?? 'taskless'} tool of a ${server} server ${asked}: ${expected}`, () => {
    assert.equal(
      courseOf(support, server, clientOf(client, asks), () => offered),
      expected,
    );
  });
}

test('what a tool says of tasks counts only where its server has them', () => {
  const able = { tasks: { requests: { tools: { call: {} } } } };
  const tool = { execution: { taskSupport: 'required' } };
  assert.equal(taskSupportOf(tool, 'legacy', able), 'required');
  assert.equal(taskSupportOf({}, 'legacy', able), 'forbidden');
  assert.equal(taskSupportOf(tool, 'legacy', { tasks: {} }), undefined);
  assert.equal(taskSupportOf(tool, 'modern', able), undefined);
});
