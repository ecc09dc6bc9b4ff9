import assert from 'node:assert/strict';
import { once } from 'node:events';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { type AddressInfo, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { after, before, describe, test } from 'node:test';
import {
  type Agent,
  administrate,
  type Loose,
  type Message,
  newAgent,
  writeConfig,
} from '../support/agent.ts';
import { eventually } from '../support/processes.ts';
import { startCastellan, type TestCastellan } from '../support/running-castellan.ts';

const HOSTILE = path.join(import.meta.dirname, '../support/hostile-server.ts');
/** How long a call to a healthy server may take while another misbehaves; alone it takes a few milliseconds. */
const PROMPT_MS = 2_000;

const folder = await mkdtemp(path.join(tmpdir(), 'castellan-hostile-'));
after(() => rm(folder, { recursive: true }));

/** It takes connections and says nothing. */
const silent = createServer().listen(0, '127.0.0.1');
await once(silent, 'listening');
after(() => silent.close());

const server = (name: string, manner = '', lifecycle: object = {}) => ({
  command: process.execPath,
  args: [HOSTILE, path.join(folder, name), manner],
  lifecycle: { callTimeout: '20s', ...lifecycle },
});

/** Lines of a server's journal, empty while it has not been started. */
async function journal(name: string): Promise<string[]> {
  const text = await readFile(path.join(folder, name), 'utf8').catch(() => '');
  return text.split('\n').filter(Boolean);
}

const starts = async (name: string) => (await journal(name)).filter((line) => line.startsWith('start'));
const textOf = (message: Message) => message.result?.content?.[0]?.text as string;

/** The machine-readable half of a refused call, after checks that every refusal has to pass. */
function refusalOf({ result }: Message): Record<string, Loose> {
  assert.equal(result?.isError, true, JSON.stringify(result));
  const refusal = result._meta['castellan/error'];
  assert.deepEqual(result.structuredContent, refusal);
  assert.ok(result.content[0].text.length > 20);
  return refusal;
}

/** Calls the healthy server again and again until `work` is done; each call has to be prompt. */
async function meanwhile<T>(agent: Agent, work: Promise<T>): Promise<T> {
  let done = false;
  const watched = work.finally(() => {
    done = true;
  });
  watched.catch(() => undefined);
  do {
    const started = performance.now();
    assert.match(textOf(await agent.call('healthy__echo', { text: 'still here' })), /still here/);
    const took = performance.now() - started;
    assert.ok(took < PROMPT_MS, `a healthy call took ${took} ms`);
  } while (!done);
  return watched;
}

async function residentBytes(castellan: TestCastellan): Promise<number> {
  const status = await readFile(`/proc/${castellan.process.pid}/status`, 'utf8');
  return Number(/VmRSS:\s+(\d+)/.exec(status)?.[1]) * 1024;
}

describe('a server that misbehaves hurts its own calls alone', () => {
  let castellan: TestCastellan;
  let agent: Agent;

  before(async () => {
    const names = ['crash', 'hang', 'garbage', 'babble', 'noise', 'line', 'leave', 'cold', 'sleepy', 'exits'];
    const file = await writeConfig(
      path.join(folder, 'hostile.json'),
      {
        healthy: server('healthy'),
        ...Object.fromEntries(names.map((name) => [name, server(name)])),
        hang: server('hang', '', { callTimeout: '700ms' }),
        cold: server('cold', 'slow'),
        sleepy: server('sleepy', 'slow'),
        dead: server('dead', 'crash'),
        mute: server('mute', 'mute', { callTimeout: '1s' }),
        loud: server('loud', 'garbage'),
        silent: { url: `http://127.0.0.1:${(silent.address() as AddressInfo).port}/mcp` },
      },
      {
        p: { servers: ['healthy', ...names, 'loud'] },
        sick: { servers: ['healthy', 'dead', 'mute', 'silent'] },
      },
    );
    castellan = await startCastellan(['--config', file]);
    agent = await newAgent(castellan, 'p');
    await agent.call('healthy__echo', { text: 'warm' });
  });
  after(async () => {
    // A mute server is being dialled again by now; a stop waits for no dial.
    const started = performance.now();
    await castellan?.[Symbol.asyncDispose]();
    assert.ok(performance.now() - started < 10_000, 'stopping took longer than the children need');
  });

  test('200 concurrent first calls to a cold server start one process', async () => {
    const calls = Array.from({ length: 200 }, (_, text) => agent.call('cold__echo', { text }));
    const answers = await meanwhile(agent, Promise.all(calls));
    const pids = new Set(answers.map((answer) => textOf(answer)?.split(' ')[0]));
    assert.equal(pids.size, 1);
    assert.deepEqual(
      answers.map((answer) => textOf(answer).split(' ')[1]).sort(),
      [...Array(200).keys()].map(String).sort(),
    );
    assert.deepEqual(await starts('cold'), [`start ${[...pids][0]}`]);
  });

  test('a call whose caller left while the server was starting is never made', async () => {
    const client = new AbortController();
    const asked = agent.sendModern('tools/call', { name: 'sleepy__leave', arguments: {} }, client.signal);
    await eventually('it is starting', async () => (await starts('sleepy')).length > 0);
    client.abort();
    await assert.rejects(asked);
    assert.match(textOf(await agent.call('sleepy__echo', { text: 'awake' })), /awake/);
    assert.deepEqual(
      (await journal('sleepy')).filter((line) => line.startsWith('tools/call')),
      ['tools/call echo'],
    );
  });

  test('a crash in mid-call: refused within a second, started again for a later call', async () => {
    await agent.call('crash__echo');
    const started = performance.now();
    const refusal = refusalOf(await meanwhile(agent, agent.call('crash__crash')));
    assert.ok(performance.now() - started < 1_500);
    const { retryAfterMs, ...rest } = refusal;
    assert.deepEqual(rest, {
      code: 'UPSTREAM_UNAVAILABLE',
      retry: 'after_ms',
      server: 'crash',
      state: 'failed',
    });
    assert.equal(typeof retryAfterMs, 'number');
    await eventually('it answers again', async () =>
      textOf(await agent.call('crash__echo', { text: 'back' })).endsWith('back'),
    );
    assert.equal((await starts('crash')).length, 2);
  });

  test('a hung call ends at its timeout and is cancelled at the server', async () => {
    const refusal = refusalOf(await meanwhile(agent, agent.call('hang__hang')));
    assert.deepEqual(refusal, { code: 'UPSTREAM_TIMEOUT', retry: 'never', server: 'hang' });
    await eventually('the server hears of it', async () =>
      (await journal('hang')).includes('notifications/cancelled'),
    );
    assert.match(textOf(await agent.call('hang__echo', { text: 'alive' })), /alive/);
  });

  test('garbage around an answer does not hide it; garbage without end ends the server', async () => {
    assert.equal(textOf(await meanwhile(agent, agent.call('garbage__garbage'))), 'after the garbage');
    assert.equal((await starts('garbage')).length, 1);
    const refusal = refusalOf(await meanwhile(agent, agent.call('babble__babble')));
    assert.equal(refusal.code, 'UPSTREAM_UNAVAILABLE');
    assert.equal(refusal.state, 'protocol');
    const start = await agent.call('loud__echo');
    assert.equal(refusalOf(start).code, 'UPSTREAM_UNAVAILABLE');
  });

  test('a flood on stderr is drained, and kept only in part', async () => {
    assert.equal(textOf(await meanwhile(agent, agent.call('noise__noise'))), 'after the noise');
    const { stderr } = await administrate(castellan, 'GET', '/servers/noise/status');
    assert.ok(stderr.length > 0 && stderr.length <= 200, `${stderr.length} lines`);
  });

  test('a line of 100 MB is cut, the server ended, memory stays bounded', async () => {
    await agent.call('line__echo');
    const before = await residentBytes(castellan);
    const refusal = refusalOf(await meanwhile(agent, agent.call('line__line')));
    assert.deepEqual(refusal, { code: 'RESULT_TOO_LARGE', retry: 'never', server: 'line' });
    const grown = (await residentBytes(castellan)) - before;
    assert.ok(grown < 150 << 20, `${grown >> 20} MB more than before`);
    await eventually('it answers again', async () =>
      textOf(await agent.call('line__echo', { text: 'back' })).endsWith('back'),
    );
  });

  test('servers that die or stay mute at their start: the list shows the rest and says why', async () => {
    const other = await newAgent(castellan, 'sick');
    const first = await other.ask('tools/list');
    const names = (list: Message) => list.result?.tools.map((tool: { name: string }) => tool.name);
    assert.ok(names(first).includes('healthy__echo'));
    assert.ok(names(first).every((name: string) => name.startsWith('healthy__') || name === 'status'));
    const reasons = Object.fromEntries(
      first.result?._meta['castellan/degraded'].map((one: { server: string; reason: string }) => [
        one.server,
        one.reason,
      ]),
    );
    assert.deepEqual(Object.keys(reasons).sort(), ['dead', 'mute', 'silent']);
    assert.match(reasons.dead, /API_KEY is missing/);

    const started = performance.now();
    assert.deepEqual(names(await other.ask('tools/list')), names(first));
    assert.ok(performance.now() - started < PROMPT_MS, 'only the first list waits for a mute server');
    const called = performance.now();
    const calls = await Promise.all([other.call('dead__echo'), meanwhile(other, other.call('mute__echo'))]);
    for (const call of calls) assert.equal(refusalOf(call).code, 'UPSTREAM_UNAVAILABLE');
    assert.ok(performance.now() - called < 5_000, 'a call waits for a start no longer than for an answer');

    const status = performance.now();
    await administrate(castellan, 'GET', '/mcp/status');
    assert.ok(performance.now() - status < 500, 'status answers from memory');
  });
});
