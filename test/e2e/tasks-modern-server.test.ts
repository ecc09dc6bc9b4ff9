import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { CallToolResultSchema, ElicitRequestSchema } from '@modelcontextprotocol/sdk/types.js';
import { administrate } from '../support/agent.ts';
import { eventually } from '../support/processes.ts';
import {
  begin,
  castellan,
  type Fields,
  FORM,
  old,
  oldClient,
  restart,
  state,
  textOf,
  token,
  WITH_TASKS,
  wire,
} from '../support/tasks-rig.ts';
import { META, type Message } from '../support/wire-client.ts';

describe('a legacy client with a modern server', () => {
  test('what the server does as a task only is waited for', async () => {
    for (const protocolVersion of ['2025-11-25', '2025-06-18']) {
      const client = await wire('legacy', 'new', { protocolVersion });
      const failing = (await client.callTool('failing_job')).at(-1)!.result!;
      assert.equal(failing.isError, true);
      assert.match(textOf(failing), /the job has failed/);
      assert.equal((await client.callTool('protocol_error_job')).at(-1)!.error?.message, 'the job broke');
    }
  });

  test('its questions are pushed to who can be asked', async () => {
    const client = await oldClient('new', FORM);
    client.setRequestHandler(ElicitRequestSchema, async () => ({
      action: 'accept',
      content: { confirm: true },
    }));
    const result = await client.callTool({ name: 'confirm_delete', arguments: { filename: 'a.txt' } });
    assert.match(textOf(result), /deleted a\.txt/);
    assert.match(textOf(await client.callTool({ name: 'multi_input', arguments: {} })), /2 answers/);
    await client.close();
  });

  test('who cannot be asked gets an error, and the task is cancelled', async () => {
    const client = await wire('legacy', 'new');
    const result = (await client.callTool('confirm_delete', { filename: 'b.txt' })).at(-1)!.result!;
    assert.equal(result.isError, true);
    assert.match(textOf(result), /elicitation/);
  });
});

describe('a modern client with a modern server', () => {
  test('taskIds on subscriptions/listen: the state of own tasks under our ids', async () => {
    const client = await wire('modern', 'new');
    const start = async () => {
      const args = { seconds: 1, label: 'x' };
      return (await client.callTool('slow_compute', args, WITH_TASKS)).at(-1)!.result!.taskId;
    };
    const taskId = await start();
    const other = await wire('modern', 'new');
    const taskIds = [taskId, 'forged', 7];
    const refused = await client.ask('subscriptions/listen', { notifications: { taskIds } });
    assert.equal(refused.error?.code, -32021);
    using foreign = await other.listen({ taskIds, toolsListChanged: true }, WITH_TASKS);
    using heard = await client.listen({ taskIds }, WITH_TASKS);
    const ack = (one: Message) => one.method === 'notifications/subscriptions/acknowledged';
    assert.deepEqual((await heard.until('the acknowledgement', ack)).params?.notifications, {
      taskIds: [taskId],
    });
    assert.deepEqual((await foreign.until('the acknowledgement', ack)).params?.notifications, {
      toolsListChanged: true,
    });
    const told = await heard.until('the end', (one) => one.params?.status === 'completed');
    assert.equal(told.method, 'notifications/tasks');
    assert.equal(told.params?.taskId, taskId);
    assert.match(textOf(told.params?.result), /computed x/);
    assert.ok(`${META}subscriptionId` in (told.params!._meta as Fields));
    assert.deepEqual(foreign.of('notifications/tasks'), []);
  });
});

describe('what a task is told', () => {
  type Row = {
    id: string;
    intent?: string;
    event: string;
    outcome: string;
    server?: string;
    detail?: Fields;
  };
  const rows = async (event: string): Promise<Row[]> =>
    (await administrate(castellan, 'GET', `/audit?event=${event}&project=old`)).items;
  const policy = { kind: 'Policy', metadata: { name: 'stop' } };
  const rules = [{ tools: ['old__asks'], action: 'deny', reason: 'not today' }];

  test('passes the policies of its tool, and is on record before its server hears of it', async () => {
    const client = await wire('modern', 'old');
    const { taskId } = (await client.callTool('asks', {}, WITH_TASKS)).at(-1)!.result!;
    const asking = await state(client, taskId, 'input_required', WITH_TASKS);
    const [key] = Object.keys(asking.inputRequests as object);
    const inputResponses = { [key!]: { action: 'accept', content: { name: 'Eve' } } };
    await administrate(castellan, 'PUT', '/policies/stop', {
      ...policy,
      spec: { projects: ['old'], rules },
    });
    const refused = await client.ask('tasks/update', { taskId, inputResponses }, WITH_TASKS);
    assert.deepEqual(refused.error?.data, { code: 'POLICY_DENIED', retry: 'never', reason: 'not today' });
    await state(client, taskId, 'input_required', WITH_TASKS);
    await administrate(castellan, 'DELETE', '/policies/stop');
    const announced = (await rows('tool.intent')).length;
    const ack = await client.ask('tasks/update', { taskId, inputResponses }, WITH_TASKS);
    assert.equal(ack.result?.resultType, 'complete');
    assert.equal((await rows('tool.intent')).length, announced + 1);
    await state(client, taskId, 'completed', WITH_TASKS);
    await eventually('the audit tells of both', async () => {
      const [told, denied] = await rows('task.update');
      return told?.outcome === 'ok' && told.server === 'old' && denied?.detail?.policy === 'stop';
    });
    assert.equal((await rows('task.update'))[1]?.outcome, 'refused');
    assert.equal((await rows('task.get'))[0]?.outcome, 'ok');
  });

  test('is to end, under a freeze too, and then it is on record before its server hears of it', async () => {
    const clients = [await wire('modern', 'old'), await wire('legacy', 'old')] as const;
    const { taskId } = (await clients[0].callTool('asks', {}, WITH_TASKS)).at(-1)!.result!;
    const begun = await begin(clients[1], 'slow');
    const announced = (await rows('tool.intent')).length;
    await administrate(castellan, 'PUT', '/freezes/old', { reason: 'strange' });
    try {
      assert.ok((await clients[0].ask('tasks/cancel', { taskId }, WITH_TASKS)).result);
      assert.equal(
        (await clients[1].ask('tasks/cancel', { taskId: begun.taskId })).result?.status,
        'cancelled',
      );
    } finally {
      await administrate(castellan, 'DELETE', '/freezes/old');
    }
    const intents = await rows('tool.intent');
    assert.equal(intents.length, announced + 2);
    await eventually('the audit tells of both', async () => {
      const told = await rows('task.cancel');
      return told.length === 2 && told.every(({ intent }) => intents.some(({ id }) => id === intent));
    });
    assert.equal((await clients[0].ask('tasks/cancel', { taskId: 'x' }, WITH_TASKS)).error?.code, -32602);
    assert.equal((await rows('tool.intent')).length, announced + 2, "nothing is announced that is nobody's");
  });

  test('is stopped by a freeze on the way of 2025-11-25 too', async () => {
    const client = await oldClient('old', FORM);
    client.setRequestHandler(ElicitRequestSchema, async () => {
      await administrate(castellan, 'PUT', '/freezes/old', { reason: 'strange' });
      return { action: 'accept', content: { name: 'Eve' } };
    });
    try {
      const messages: { type: string; error?: Error }[] = [];
      const params = { name: 'asks', arguments: {} };
      for await (const message of client.experimental.tasks.callToolStream(params, CallToolResultSchema, {
        task: {},
      }))
        messages.push(message as never);
      assert.match(String(messages.at(-1)?.error), /has stopped the calls of project old/);
    } finally {
      await administrate(castellan, 'DELETE', '/freezes/old');
      await client.close();
    }
  });
});

test('ids survive a restart; a server that lost its session is said to have lost the task', async () => {
  const bearer = await token('both');
  const client = await wire('modern', 'both', { token: bearer });
  const args = { seconds: 3, label: 'kept' };
  const kept = (await client.callTool('slow_compute', args, WITH_TASKS)).at(-1)!.result!.taskId;
  const lost = (await client.callTool('endless', {}, WITH_TASKS)).at(-1)!.result!.taskId;
  await restart();
  const again = await wire('modern', 'both', { token: bearer });
  const done = await state(again, kept, 'completed', WITH_TASKS);
  assert.match(textOf(done.result), /computed kept/);
  const gone = await again.ask('tasks/get', { taskId: lost }, WITH_TASKS);
  assert.equal(gone.error?.code, -32602);
  assert.match(gone.error!.message, /not found/i);

  const older = await wire('legacy', 'both', { token: bearer });
  const { taskId } = await begin(older, 'slow');
  await old.forget();
  // The loss shows on the session's own stream or with its next use, whichever comes first.
  const noticed = await older.ask('tasks/get', { taskId });
  const over = noticed.error?.code === -32001 ? noticed : await older.ask('tasks/get', { taskId });
  assert.equal(over.error?.code, -32001, JSON.stringify(over));
  const afresh = await wire('legacy', 'both', { token: bearer });
  const forgotten = await afresh.ask('tasks/get', { taskId });
  assert.equal(forgotten.error?.code, -32602, JSON.stringify(forgotten));
});
