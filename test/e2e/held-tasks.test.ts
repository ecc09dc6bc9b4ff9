import assert from 'node:assert/strict';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import type { ServerResponse } from 'node:http';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { after, before, describe, test } from 'node:test';
import { eventually } from '../support/processes.ts';
import { startCastellan, type TestCastellan } from '../support/running-castellan.ts';
import { idOf, ScriptedUpstream, type Seen, sendJson, startSse } from '../support/scripted-upstream.ts';
import { META, type Message, Wire } from '../support/wire-client.ts';

type Reply = { result: object } | { error: { code: number; message: string; data?: object } };

const TASKS = `${META}tasks`;
const WORKING = { status: 'working', createdAt: 'a', lastUpdatedAt: 'b', ttlMs: null, pollIntervalMs: 0 };

/** A modern server with one tool, which it runs as a task only; a task does what the test says. */
class TaskOnlyServer {
  readonly seen: { method: string; taskId?: string; at: number }[] = [];
  /** Ids of tasks in streams that were opened for them, and what ends the last of these. */
  readonly listened: string[][] = [];
  drop = () => {};
  state: (polls: number) => Reply = () => ({ result: WORKING });
  private tasks = 0;

  count(method: string): number {
    return this.seen.filter((one) => one.method === method).length;
  }

  serve(seen: Seen, response: ServerResponse): void {
    const id = idOf(seen);
    if (seen.method !== 'POST' || id === undefined) {
      response.writeHead(405).end();
      return;
    }
    const { method, params } = JSON.parse(seen.body);
    this.seen.push({ method, taskId: params.taskId, at: Date.now() });
    if (method === 'subscriptions/listen') {
      this.listen(id, params.notifications, response);
      return;
    }
    const reply = this.answer(method, params);
    const sent = 'error' in reply ? reply : { result: { resultType: 'complete', ...reply.result } };
    sendJson(response, { jsonrpc: '2.0', id, ...sent });
  }

  private listen(id: unknown, { taskIds = [] }: { taskIds?: string[] }, response: ServerResponse): void {
    startSse(response);
    const params = { notifications: { taskIds }, _meta: { [`${META}subscriptionId`]: id } };
    const ack = { jsonrpc: '2.0', method: 'notifications/subscriptions/acknowledged', params };
    response.write(`data: ${JSON.stringify(ack)}\n\n`);
    if (taskIds.length === 0) return;
    this.listened.push(taskIds);
    this.drop = () => response.destroy();
  }

  private answer(method: string, params: Record<string, never>): Reply {
    if (method === 'server/discover') {
      const capabilities = { tools: {}, extensions: { [TASKS]: {} } };
      return { result: { supportedVersions: ['2026-07-28'], capabilities, ttlMs: 0, cacheScope: 'private' } };
    }
    if (method === 'tools/list') {
      return { result: { tools: [{ name: 'job', inputSchema: { type: 'object' } }] } };
    }
    if (method === 'tools/call') {
      const capabilities = params._meta?.[`${META}clientCapabilities`] as { extensions?: object } | undefined;
      if (TASKS in (capabilities?.extensions ?? {})) {
        this.tasks += 1;
        return { result: { ...WORKING, resultType: 'task', taskId: `task-${this.tasks}` } };
      }
      const data = { requiredCapabilities: { extensions: { [TASKS]: {} } } };
      return { error: { code: -32021, message: 'only as a task', data } };
    }
    return method === 'tasks/get' ? this.state(this.count('tasks/get')) : { result: {} };
  }
}

describe('a modern server that has only tasks', () => {
  let server: TaskOnlyServer;
  let upstream: ScriptedUpstream;
  let castellan: TestCastellan;
  let folder: string;
  let token: string;

  before(async () => {
    server = new TaskOnlyServer();
    upstream = await ScriptedUpstream.start((seen, response) => server.serve(seen, response));
    folder = await mkdtemp(path.join(tmpdir(), 'castellan-held-'));
    const file = path.join(folder, 'castellan.yaml');
    await writeFile(
      file,
      `kind: Server
metadata: { name: jobs }
spec: { url: "${upstream.origin}/mcp", prefix: never }
---
kind: Project
metadata: { name: p }
spec: { servers: [jobs] }
`,
    );
    castellan = await startCastellan(['--config', file]);
    const { stdout } = await castellan.cli('create', 'mcptoken', 't', '-p', 'p', '--rbac', 'clone');
    token = stdout.trim();
  });
  after(async () => {
    await castellan?.[Symbol.asyncDispose]();
    await upstream?.[Symbol.asyncDispose]();
    await rm(folder, { recursive: true, force: true });
  });

  async function open(era: 'legacy' | 'modern'): Promise<Wire> {
    const client = new Wire(era, `${castellan.url}/projects/p/mcp`, token);
    await client.open();
    return client;
  }

  async function call(state: TaskOnlyServer['state']): Promise<Message> {
    const polls = server.count('tasks/get');
    server.state = (count) => state(count - polls);
    return (await (await open('legacy')).callTool('job')).at(-1)!;
  }

  const done: Reply = {
    result: { ...WORKING, status: 'completed', result: { content: [{ type: 'text', text: 'done' }] } },
  };

  test('is polled no faster than is good for it, however fast it wants', async () => {
    const before = server.seen.length;
    const answer = await call((polls) => (polls < 4 ? { result: WORKING } : done));
    assert.match(JSON.stringify(answer.result?.content), /done/);
    const polls = server.seen.slice(before).filter((one) => one.method === 'tasks/get');
    assert.equal(polls.length, 4);
    for (let at = 1; at < polls.length; at += 1) assert.ok(polls[at]!.at - polls[at - 1]!.at >= 95);
  });

  test('that loses the task is heard', async () => {
    const answer = await call(() => ({ error: { code: -32602, message: 'no such task' } }));
    assert.deepEqual(answer.error, { code: -32602, message: 'no such task' });
  });

  test('that cancels the task, or says something without sense, is an error and no hang', async () => {
    const cancelled = await call(() => ({ result: { ...WORKING, status: 'cancelled' } }));
    assert.match(cancelled.error!.message, /cancelled the task/);
    const cancels = server.count('tasks/cancel');
    const odd = await call(() => ({ result: { ...WORKING, status: 'completed' } }));
    assert.equal(odd.result?.isError, true);
    await eventually('the task is cancelled', () => server.count('tasks/cancel') > cancels);
  });

  test('hears that the legacy client cancelled its call, and is polled no more', async () => {
    const polls = server.count('tasks/get');
    const cancels = server.count('tasks/cancel');
    server.state = () => ({ result: WORKING });
    const client = await open('legacy');
    const answer = client.callTool('job');
    await eventually('it is polled', () => server.count('tasks/get') > polls);
    await client.cancelLast();
    assert.equal((await answer).at(-1)!.result?.isError, true);
    await eventually('the task is cancelled', () => server.count('tasks/cancel') > cancels);
    const cancelled = server.seen.findLast((one) => one.method === 'tasks/cancel')!;
    const last = server.seen.findLast((one) => one.method === 'tasks/get')!;
    assert.equal(cancelled.taskId, last.taskId);
    assert.ok(last.at <= cancelled.at + 100);
  });

  test('answers a modern client without the extension itself', async () => {
    const answer = (await (await open('modern')).callTool('job')).at(-1)!;
    assert.equal(answer.error?.code, -32021);
  });

  test('is listened to again when its stream broke, and the state is fetched that was missed', async () => {
    const client = await open('modern');
    const meta = { [`${META}clientCapabilities`]: { extensions: { [TASKS]: {} } } };
    const { taskId } = (await client.callTool('job', {}, meta)).at(-1)!.result!;
    using heard = await client.listen({ taskIds: [taskId] }, meta);
    await heard.until('the acknowledgement', (one) => one.method?.endsWith('/acknowledged') ?? false);
    assert.equal(server.listened.length, 1);
    server.state = () => done;
    server.drop();
    const told = await heard.until('the state', (one) => one.method === 'notifications/tasks');
    assert.equal(told.params?.taskId, taskId);
    assert.equal(told.params?.status, 'completed');
    assert.equal(server.listened.length, 2);
  });
});
