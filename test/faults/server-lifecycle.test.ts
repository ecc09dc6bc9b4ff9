import assert from 'node:assert/strict';
import { once } from 'node:events';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { after, before, describe, test } from 'node:test';
import { type Agent, Events, type Message, newAgent, writeConfig } from '../support/agent.ts';
import { OracleUpstream } from '../support/oracle-upstream.ts';
import { eventually, isAlive } from '../support/processes.ts';
import { startCastellan, type TestCastellan } from '../support/running-castellan.ts';

const HOSTILE = path.join(import.meta.dirname, '../support/hostile-server.ts');

let folder: string;
let castellan: TestCastellan;
let agent: Agent;
let latePort: number;

const textOf = (message: Message) => message.result?.content[0].text as string;
const pidOf = (message: Message) => Number(textOf(message).split(' ')[0]);

async function journal(name: string): Promise<string[]> {
  const text = await readFile(path.join(folder, name), 'utf8').catch(() => '');
  return text.split('\n').filter(Boolean);
}

/** A port on which nothing listens now. */
async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as { port: number };
  await new Promise((resolve) => server.close(resolve));
  return port;
}

describe('the life of a server', () => {
  before(async () => {
    folder = await mkdtemp(path.join(tmpdir(), 'castellan-lifecycle-'));
    latePort = await freePort();
    const stdio = (name: string, more: object = {}) => ({
      command: process.execPath,
      args: [HOSTILE, path.join(folder, name)],
      ...more,
    });
    const file = await writeConfig(
      path.join(folder, 'config.json'),
      {
        idle: stdio('idle', { lifecycle: { idleTimeout: '1s' } }),
        mine: stdio('mine', { isolation: 'session' }),
        common: stdio('common'),
        sick: stdio('sick', {
          healthCheck: { tool: 'hang', interval: '2s', timeout: '200ms', failures: 1 },
        }),
        late: { url: `http://127.0.0.1:${latePort}/mcp` },
      },
      { p: { servers: ['idle', 'mine', 'common', 'sick'] }, q: { servers: ['late', 'common'] } },
    );
    castellan = await startCastellan(['--config', file, '--grace', '500ms']);
    agent = await newAgent(castellan, 'p');
  });
  after(async () => {
    await castellan?.[Symbol.asyncDispose]();
    await rm(folder, { recursive: true });
  });

  test('lazy: nothing starts before somebody asks', async () => {
    assert.deepEqual(await journal('common'), []);
    assert.deepEqual(await journal('mine'), []);
  });

  test('idle: the process ends after its time, and a later call starts another', async () => {
    const first = pidOf(await agent.call('idle__echo'));
    assert.ok(await isAlive(first));
    await eventually('it is gone', async () => !(await isAlive(first)), 10_000);
    assert.notEqual(pidOf(await agent.call('idle__echo')), first);
    const { result } = await agent.ask('tools/list');
    assert.equal(result?._meta, undefined, 'an idle server is no degraded one');
  });

  test("isolation: one process a session, shared by its calls, gone with it; bare calls share the principal's", async () => {
    const sessions = await Promise.all([agent.openSession(), agent.openSession()]);
    const at = async (headers: object) =>
      pidOf(await agent.ask('tools/call', { name: 'mine__echo' }, headers));
    const pids = await Promise.all([at(sessions[0]), at(sessions[1]), at(sessions[0]), at({}), at({})]);
    assert.equal(pids[0], pids[2]);
    assert.equal(pids[3], pids[4]);
    assert.equal(new Set(pids).size, 3);
    await agent.send(undefined, { method: 'DELETE', headers: sessions[0]! });
    await eventually('its process is gone', async () => !(await isAlive(pids[0]!)));
    assert.ok(await isAlive(pids[1]!));
  });

  test('health: a server that fails its check is ended, and started again by a call', async () => {
    const first = pidOf(await agent.call('sick__echo'));
    await eventually('it is ended', async () => !(await isAlive(first)), 10_000);
    await eventually('it answers again', async () => {
      const again = await agent.call('sick__echo');
      return again.result?.isError !== true && pidOf(again) !== first;
    });
  });

  test('recovery: a server that comes up late joins the list by itself, and streams hear of it', async () => {
    const other = await newAgent(castellan, 'q');
    const first = await other.ask('tools/list');
    assert.equal(first.result?._meta['castellan/degraded'][0].server, 'late');
    const { body, headers } = other.modern('subscriptions/listen', {
      notifications: { toolsListChanged: true },
    });
    const client = new AbortController();
    const stream = new Events(await other.send(body, { headers, signal: client.signal }));
    await eventually('it listens', () => stream.messages.length === 1);
    await using late = await OracleUpstream.start('modern', ['echo'], latePort);
    await eventually('the stream hears of it', () => stream.messages.length > 1, 15_000);
    const { result } = await other.ask('tools/list');
    assert.equal(result?._meta, undefined);
    assert.ok(result?.tools.some((tool: { name: string }) => tool.name === 'late__echo'));
    assert.ok(late.methods.includes('tools/list'));
    client.abort();
  });

  test('SIGTERM with a call that never ends: it is given up after the grace, and no process stays', async () => {
    const pid = pidOf(await agent.call('common__echo'));
    const held = agent.call('common__hang');
    held.catch(() => undefined);
    await eventually('it is under way', async () => (await journal('common')).includes('tools/call hang'));
    const started = performance.now();
    castellan.process.kill('SIGTERM');
    await Promise.all([assert.rejects(held), once(castellan.process, 'exit')]);
    assert.ok(performance.now() - started < 6_000);
    assert.equal(castellan.process.exitCode, 0);
    assert.equal(await isAlive(pid), false);
  });
});
