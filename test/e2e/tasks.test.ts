import assert from 'node:assert/strict';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { after, before, describe, test } from 'node:test';
import { Client as OldClient } from '@modelcontextprotocol/sdk/client/index.js';
import { StreamableHTTPClientTransport as OldTransport } from '@modelcontextprotocol/sdk/client/streamableHttp.js';
import {
  CallToolResultSchema,
  ElicitRequestSchema,
  TaskStatusNotificationSchema,
} from '@modelcontextprotocol/sdk/types.js';
import { type RunningFixture, startFixture } from '../conformance/fixture/server.ts';
import { administrate } from '../support/agent.ts';
import { LegacyTaskServer } from '../support/legacy-task-server.ts';
import { eventually } from '../support/processes.ts';
import { startCastellan, type TestCastellan } from '../support/running-castellan.ts';
import { META, type Message, Wire } from '../support/wire-client.ts';

const FORM = { elicitation: { form: {} } };
const TASKS = { extensions: { [`${META}tasks`]: {} } };
const RELATED = `${META}related-task`;
const caps = (capabilities: object) => ({ [`${META}clientCapabilities`]: capabilities });
const WITH_TASKS = caps({ ...TASKS, ...FORM });

type Fields = Record<string, unknown>;

let old: LegacyTaskServer;
let modern: RunningFixture;
let castellan: TestCastellan;
let folder: string;
let dataDir: string;
let config: string;

before(async () => {
  old = await LegacyTaskServer.start();
  modern = await startFixture('tasks');
  folder = await mkdtemp(path.join(tmpdir(), 'castellan-tasks-'));
  dataDir = path.join(folder, 'data');
  config = path.join(folder, 'castellan.yaml');
  const server = (name: string, url: string) => `kind: Server
metadata: { name: ${name} }
spec: { url: "${url}", prefix: never }
`;
  const project = (name: string, servers: string) => `kind: Project
metadata: { name: ${name} }
spec: { servers: [${servers}] }
`;
  const parts = [
    server('old', old.url),
    server('new', modern.url),
    project('old', 'old'),
    project('new', 'new'),
    project('both', 'old, new'),
  ];
  await writeFile(config, parts.join('---\n'));
  castellan = await startCastellan(['--config', config], { dataDir });
});

after(async () => {
  await castellan?.[Symbol.asyncDispose]();
  await old?.[Symbol.asyncDispose]();
  await modern?.[Symbol.asyncDispose]();
  await rm(folder, { recursive: true, force: true });
});

async function token(project: string): Promise<string> {
  const name = `t${Math.random().toString(36).slice(2)}`;
  const { stdout } = await castellan.cli('create', 'mcptoken', name, '-p', project, '--rbac', 'clone');
  return stdout.trim();
}

async function wire(
  era: 'legacy' | 'modern',
  project: string,
  options: { token?: string; protocolVersion?: string; capabilities?: object } = {},
): Promise<Wire> {
  const bearer = options.token ?? (await token(project));
  const client = new Wire(era, `${castellan.url}/projects/${project}/mcp`, bearer);
  await client.open(options);
  return client;
}

async function oldClient(project: string, capabilities: object = {}) {
  const bearer = await token(project);
  const client = new OldClient({ name: 'old', version: '1' }, { capabilities });
  const requestInit = { headers: { Authorization: `Bearer ${bearer}` } };
  const url = new URL(`${castellan.url}/projects/${project}/mcp`);
  await client.connect(new OldTransport(url, { requestInit }) as never);
  return client;
}

function textOf(result: unknown): string {
  return JSON.stringify((result as Fields | undefined)?.content);
}

async function state(client: Wire, taskId: unknown, until: string, meta: object = {}): Promise<Fields> {
  let last: Message | undefined;
  await eventually(`the task is ${until}`, async () => {
    last = await client.ask('tasks/get', { taskId }, meta);
    return last.result?.status === until;
  });
  return last!.result!;
}

/** A task of the legacy server as a client of 2025-11-25 gets it. */
async function begin(client: Wire, name: string, task: object = {}): Promise<Fields> {
  const answer = await client.ask('tools/call', { name, arguments: {}, task });
  assert.ok(answer.result?.task, JSON.stringify(answer));
  return answer.result.task as Fields;
}

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
  type Row = { event: string; outcome: string; server?: string; detail?: Fields };
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
  await castellan.stop();
  castellan = await startCastellan(['--config', config], { dataDir });
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
