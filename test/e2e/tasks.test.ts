import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import {
  CallToolResultSchema,
  ElicitRequestSchema,
  TaskStatusNotificationSchema,
} from '@modelcontextprotocol/sdk/types.js';
import { eventually } from '../support/processes.ts';
import {
  begin,
  caps,
  type Fields,
  FORM,
  old,
  oldClient,
  RELATED,
  state,
  TASKS,
  textOf,
  WITH_TASKS,
  wire,
} from '../support/tasks-rig.ts';

describe('a client of 2025-11-25 with a server of 2025-11-25', () => {
  test('the SDK client runs a task, hears of its progress and status, and gets its result', async () => {
    const client = await oldClient('old');
    assert.deepEqual(client.getServerCapabilities()?.tasks, {
      requests: { tools: { call: {} } },
      cancel: {},
    });
    const { tools } = await client.listTools();
    const support = (name: string) => tools.find((tool) => tool.name === name)?.execution?.taskSupport;
    assert.equal(support('quick'), 'required');
    assert.equal(support('slow'), 'optional');
    assert.equal(support('plain'), undefined);

    const statuses: { taskId: string; status: string }[] = [];
    client.setNotificationHandler(TaskStatusNotificationSchema, ({ params }) => void statuses.push(params));
    const progress: Fields[] = [];
    const stream = client.experimental.tasks.callToolStream(
      { name: 'reports', arguments: {} },
      CallToolResultSchema,
      { onprogress: (one) => void progress.push(one as Fields), task: { ttl: 60_000 } },
    );
    let taskId = '';
    let result: unknown;
    for await (const message of stream) {
      if (message.type === 'taskCreated') taskId = message.task.taskId;
      if (message.type === 'result') result = message.result;
    }
    assert.match(textOf(result), /reported/);
    assert.deepEqual((result as { _meta: Fields })._meta[RELATED], { taskId });
    assert.deepEqual(progress, [{ progress: 1, total: 2, _meta: { [RELATED]: { taskId } } }]);
    await eventually('the status arrives', () => statuses.some((one) => one.status === 'completed'));
    assert.ok(statuses.every((one) => one.taskId === taskId));
    await client.close();
  });

  test('what the server asks for a task reaches the client under our id, and the answer the server', async () => {
    const client = await oldClient('old', FORM);
    const asked: unknown[] = [];
    client.setRequestHandler(ElicitRequestSchema, async ({ params }) => {
      asked.push(params._meta?.[RELATED]);
      return { action: 'accept', content: { name: 'Ann' } };
    });
    for (const name of ['asks', 'asks_aside']) {
      let taskId = '';
      let result: unknown;
      for await (const message of client.experimental.tasks.callToolStream(
        { name, arguments: {} },
        CallToolResultSchema,
        { task: {} },
      )) {
        if (message.type === 'taskCreated') taskId = message.task.taskId;
        if (message.type === 'result') result = message.result;
      }
      assert.match(textOf(result), /Hello, Ann!/);
      assert.deepEqual(asked.splice(0), [{ taskId }]);
    }
    await client.close();
  });

  test('what is asked at the same time for several tasks of one session reaches each its own', async () => {
    const client = await oldClient('old', FORM);
    client.setRequestHandler(ElicitRequestSchema, async ({ params }) => ({
      action: 'accept',
      content: { name: params._meta![RELATED]!.taskId },
    }));
    const run = async (name: string) => {
      let taskId = '';
      let result: unknown;
      const stream = client.experimental.tasks.callToolStream({ name, arguments: {} }, CallToolResultSchema, {
        task: {},
      });
      for await (const message of stream) {
        if (message.type === 'taskCreated') taskId = message.task.taskId;
        if (message.type === 'result') result = message.result;
      }
      assert.match(textOf(result), new RegExp(`Hello, ${taskId}!`));
    };
    await Promise.all(['asks', 'asks_aside', 'asks', 'asks_aside'].map(run));
    await client.close();
  });

  test('a task is cancelled once; afterwards the server says no itself', async () => {
    const client = await wire('legacy', 'old');
    const { taskId } = await begin(client, 'slow');
    const cancelled = await client.ask('tasks/cancel', { taskId });
    assert.equal(cancelled.result?.status, 'cancelled');
    assert.equal(cancelled.result?.taskId, taskId);
    assert.equal((await client.ask('tasks/get', { taskId })).result?.status, 'cancelled');
    assert.equal((await client.ask('tasks/cancel', { taskId })).error?.code, -32602);
  });

  test('a task that has expired is unknown', async () => {
    const client = await wire('legacy', 'old');
    const { taskId, ttl } = await begin(client, 'slow', { ttl: 300 });
    assert.equal(ttl, 300);
    await eventually('the task expires', async () => {
      return (await client.ask('tasks/get', { taskId })).error?.code === -32602;
    });
  });

  test('a forged id, and the id of another token or surface, are unknown alike', async () => {
    const owner = await wire('legacy', 'old');
    const { taskId } = await begin(owner, 'slow');
    const others = [await wire('legacy', 'old'), await wire('legacy', 'both')];
    const forged = `${String(taskId).slice(0, -2)}xx`;
    for (const method of ['tasks/get', 'tasks/result', 'tasks/cancel']) {
      const unknown = (await owner.ask(method, { taskId: forged })).error;
      assert.deepEqual(unknown, { code: -32602, message: 'Unknown task' });
      for (const other of others) assert.deepEqual((await other.ask(method, { taskId })).error, unknown);
    }
    const stranger = await wire('modern', 'old');
    assert.deepEqual((await stranger.ask('tasks/get', { taskId }, WITH_TASKS)).error?.code, -32602);
    assert.equal((await owner.ask('tasks/get', { taskId })).result?.status, 'working');
    await owner.ask('tasks/cancel', { taskId });
  });

  test('there is no list of tasks, since whose they are is not known', async () => {
    const client = await wire('legacy', 'old');
    assert.equal((await client.ask('tasks/list', {})).error?.code, -32601);
  });

  test('a tool that is only for tasks says so itself, one without tasks too', async () => {
    const client = await wire('legacy', 'both');
    const plain = (await client.callTool('quick')).at(-1)!;
    assert.match(JSON.stringify(plain), /-32601/);
    const untasked = (await client.ask('tools/call', { name: 'plain', task: {} })).error;
    assert.match(untasked!.message, /Invalid task creation result/, 'the words of the SDK');
    const greet = { name: 'greet', arguments: { name: 'A' } };
    assert.equal((await client.ask('tools/call', { ...greet, task: {} })).error?.code, -32601);
    assert.match(textOf((await client.ask('tools/call', greet)).result), /Hello, A!/);
  });

  test('a task on a surface that offers none is called as any other tool', async () => {
    const client = await wire('legacy', 'new');
    const greet = { name: 'greet', arguments: { name: 'B' }, task: {} };
    assert.match(textOf((await client.ask('tools/call', greet)).result), /Hello, B!/);
  });

  test('tasks/result waits for the task, and ends with the client without ending the task', async () => {
    const client = await wire('legacy', 'old');
    const { taskId } = await begin(client, 'slow');
    const waiting = old.count('tasks/result');
    const answer = client.ask('tasks/result', { taskId });
    await eventually('the server is asked', () => old.count('tasks/result') > waiting);
    const before = old.count('notifications/cancelled');
    await client.cancelLast();
    await eventually('the server hears of it', () => old.count('notifications/cancelled') > before);
    assert.ok((await answer).error);
    assert.equal((await client.ask('tasks/get', { taskId })).result?.status, 'working');
    await client.ask('tasks/cancel', { taskId });
  });
});

describe('a modern client with a server of 2025-11-25', () => {
  test('without the extension a tool that is only for tasks is waited for', async () => {
    const client = await wire('modern', 'old');
    const listed = (await client.ask('tools/list', {})).result!.tools as Fields[];
    assert.ok(listed.every((tool) => tool.execution === undefined));
    assert.match(textOf((await client.callTool('quick')).at(-1)!.result), /quick is done/);
    const failed = (await client.callTool('fails')).at(-1)!.result!;
    assert.equal(failed.isError, true);
    assert.match(textOf(failed), /it went wrong/);
    assert.equal((failed._meta as Fields)[RELATED], undefined);
    const older = await wire('legacy', 'old', { protocolVersion: '2025-06-18' });
    assert.match(textOf((await older.callTool('quick')).at(-1)!.result), /quick is done/);
    assert.equal((await older.ask('tasks/get', { taskId: 'x' })).error?.code, -32601);
  });

  test('its progress is that of the call', async () => {
    const client = await wire('modern', 'old');
    const messages = await client.callTool('reports', {}, { progressToken: 'p1' });
    const notices = messages.filter((one) => one.method === 'notifications/progress');
    assert.deepEqual(
      notices.map((one) => one.params),
      [{ progressToken: 'p1', progress: 1, total: 2 }],
    );
  });

  test('what the server asks becomes a question of the call', async () => {
    const client = await wire('modern', 'old');
    const meta = caps(FORM);
    const asked = (await client.callTool('asks', {}, meta)).at(-1)!.result!;
    assert.equal(asked.resultType, 'input_required', JSON.stringify(asked));
    const [key, request] = Object.entries(asked.inputRequests as Record<string, Fields>)[0]!;
    assert.equal(request.method, 'elicitation/create');
    assert.doesNotMatch(JSON.stringify(request), /related-task/);
    const again = {
      name: 'asks',
      arguments: {},
      requestState: asked.requestState,
      inputResponses: { [key]: { action: 'accept', content: { name: 'Eve' } } },
    };
    assert.match(textOf((await client.ask('tools/call', again, meta)).result), /Hello, Eve!/);
  });

  test('who cannot be asked gets an answer', async () => {
    const client = await wire('modern', 'old');
    const answer = (await client.callTool('asks')).at(-1)!;
    assert.ok(answer.error ?? answer.result?.isError, JSON.stringify(answer));
  });

  test('the client that goes away cancels the task', async () => {
    const client = await wire('modern', 'old');
    const polls = old.count('tasks/get');
    const cancels = old.count('tasks/cancel');
    const leave = client.start('tools/call', { name: 'endless', arguments: {} });
    await eventually('it is polled', () => old.count('tasks/get') > polls);
    leave();
    await eventually('the task is cancelled', () => old.count('tasks/cancel') > cancels);
    const calm = old.count('tasks/get');
    await client.ask('tools/list', {});
    assert.ok(old.count('tasks/get') <= calm + 1);
  });

  test('with the extension it is a task of the extension, result and failure inlined', async () => {
    const client = await wire('modern', 'old');
    const created = (await client.callTool('quick', {}, WITH_TASKS)).at(-1)!.result!;
    assert.equal(created.resultType, 'task');
    assert.equal(created.status, 'working');
    assert.equal(created.pollIntervalMs, 100);
    assert.ok('ttlMs' in created && !('task' in created));
    const { taskId } = created;
    assert.equal((await client.ask('tasks/get', { taskId })).error?.code, -32021);
    const done = await state(client, taskId, 'completed', WITH_TASKS);
    assert.equal(done.resultType, 'complete');
    assert.equal(done.taskId, taskId);
    assert.match(textOf(done.result), /quick is done/);
    // A tool that failed has completed, as the extension sees it.
    const failing = (await client.callTool('fails', {}, WITH_TASKS)).at(-1)!.result!;
    const failed = await state(client, failing.taskId, 'completed', WITH_TASKS);
    assert.equal((failed.result as Fields).isError, true);
  });

  for (const name of ['asks', 'asks_aside'])
    test(`its questions are inputRequests, answered by tasks/update: ${name}`, async () => {
      const client = await wire('modern', 'old');
      const { taskId } = (await client.callTool(name, {}, WITH_TASKS)).at(-1)!.result!;
      const asking = await state(client, taskId, 'input_required', WITH_TASKS);
      const [key, request] = Object.entries(asking.inputRequests as Record<string, Fields>)[0]!;
      assert.equal(request.method, 'elicitation/create');
      const same = await state(client, taskId, 'input_required', WITH_TASKS);
      assert.deepEqual(same.inputRequests, asking.inputRequests);
      const unsupported = await client.ask('tasks/get', { taskId }, caps(TASKS));
      assert.equal(unsupported.error?.code, -32021);
      const inputResponses = { [key]: { action: 'accept', content: { name: 'Joe' } }, other: {} };
      const ack = await client.ask('tasks/update', { taskId, inputResponses }, WITH_TASKS);
      assert.equal(ack.result?.resultType, 'complete');
      const done = await state(client, taskId, 'completed', WITH_TASKS);
      assert.match(textOf(done.result), /Hello, Joe!/);
    });

  test('cancelling is acknowledged, twice too', async () => {
    const client = await wire('modern', 'old');
    const { taskId } = (await client.callTool('endless', {}, WITH_TASKS)).at(-1)!.result!;
    for (let round = 0; round < 2; round += 1) {
      const ack = await client.ask('tasks/cancel', { taskId }, WITH_TASKS);
      assert.equal(ack.result?.resultType, 'complete', JSON.stringify(ack));
    }
    await state(client, taskId, 'cancelled', WITH_TASKS);
    const other = await wire('modern', 'old');
    const foreign = await other.ask('tasks/get', { taskId }, WITH_TASKS);
    const unknown = await other.ask('tasks/get', { taskId: 'none' }, WITH_TASKS);
    assert.deepEqual(foreign.error, unknown.error);
    assert.equal(foreign.error?.code, -32602);
  });
});
