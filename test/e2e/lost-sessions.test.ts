import assert from 'node:assert/strict';
import path from 'node:path';
import { after, before, describe, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { type RunningFixture, startFixture } from '../conformance/fixture/server.ts';
import { type Agent, newAgent, writeConfig } from '../support/agent.ts';
import { temporaryFolder } from '../support/databases.ts';
import { startCastellan, type TestCastellan } from '../support/running-castellan.ts';
import { idOf, ScriptedUpstream, sendJson } from '../support/scripted-upstream.ts';

const CHILD = fileURLToPath(new URL('../support/notices-child.ts', import.meta.url));

/** A legacy server without session ids, which therefore remembers nobody. */
function forgetful(): Promise<ScriptedUpstream> {
  return ScriptedUpstream.start((seen, response) => {
    const { method } = seen.body === '' ? { method: '' } : (JSON.parse(seen.body) as { method: string });
    const answer = (result: object) => sendJson(response, { jsonrpc: '2.0', id: idOf(seen), result });
    const serverInfo = { name: 'forgetful', version: '1' };
    if (method === 'initialize') {
      answer({ protocolVersion: '2025-11-25', capabilities: { tools: {} }, serverInfo });
    } else if (method === 'tools/list') answer({ tools: [{ name: 'say', inputSchema: { type: 'object' } }] });
    else if (method === 'tools/call') answer({ content: [{ type: 'text', text: 'said' }] });
    else response.writeHead(method.startsWith('notifications/') ? 202 : 405).end();
  });
}

describe('a session whose server lost its state', () => {
  let castellan: TestCastellan;
  let legacy: RunningFixture;
  let modern: RunningFixture;
  let plain: ScriptedUpstream;
  let folder: string;
  let file: string;

  before(async () => {
    legacy = await startFixture('legacy');
    modern = await startFixture('modern');
    plain = await forgetful();
    folder = await temporaryFolder();
    const child = { command: 'node', args: [CHILD, 'legacy'], prefix: 'never', isolation: 'session' };
    file = await writeConfig(
      path.join(folder, 'castellan.json'),
      {
        legacy: { url: legacy.url, prefix: 'never' },
        modern: { url: modern.url, prefix: 'never' },
        plain: { url: plain.origin, prefix: 'never' },
        shared: { url: legacy.url, prefix: 'never', isolation: 'shared' },
        child,
      },
      Object.fromEntries(
        ['legacy', 'modern', 'plain', 'shared', 'child'].map((name) => [name, { servers: [name] }]),
      ),
    );
    castellan = await start();
  });
  after(async () => {
    await castellan?.[Symbol.asyncDispose]();
    for (const one of [legacy, modern, plain]) await one?.[Symbol.asyncDispose]();
  });

  const start = () => startCastellan(['--config', file], { dataDir: path.join(folder, 'data') });
  const statusOf = async (agent: Agent, tool: string, headers: object) => {
    const params = { name: tool, arguments: {} };
    const body = { jsonrpc: '2.0', id: 7, method: 'tools/call', params };
    const response = await agent.send(body, { headers });
    await response.text();
    return response.status;
  };

  test('with Castellan: 404 where there was state, and no new handshake where there was none', async () => {
    const tools = {
      legacy: 'test_simple_text',
      child: 'log',
      modern: 'test_simple_text',
      plain: 'say',
      shared: 'test_simple_text',
    };
    const open: { agent: Agent; headers: object; tool: string; name: string }[] = [];
    for (const [name, tool] of Object.entries(tools)) {
      const agent = await newAgent(castellan, name);
      const headers = await agent.openSession();
      assert.equal(await statusOf(agent, tool, headers), 200, name);
      open.push({ agent, headers, tool, name });
    }
    const idle = await newAgent(castellan, 'legacy');
    const unused = await idle.openSession();
    await castellan.stop();
    castellan = await start();
    const moved = (agent: Agent) =>
      Object.assign(agent, { url: `${castellan.url}${new URL(agent.url).pathname}` });
    for (const { agent, headers, tool, name } of open) {
      const expected = name === 'legacy' || name === 'child' ? 404 : 200;
      assert.equal(await statusOf(moved(agent), tool, headers), expected, name);
    }
    assert.equal(await statusOf(moved(idle), 'test_simple_text', unused), 200);
  });

  test('with the server: its stream ends and its next use is 404; a new handshake works', async () => {
    const agent = await newAgent(castellan, 'legacy');
    const headers = await agent.openSession();
    assert.equal(await statusOf(agent, 'test_simple_text', headers), 200);
    const get = { method: 'GET', headers: { ...headers, accept: 'text/event-stream' } };
    const stream = await agent.send(undefined, get);
    const port = Number(new URL(legacy.url).port);
    await legacy[Symbol.asyncDispose]();
    legacy = await startFixture('legacy', port);
    assert.equal(await statusOf(agent, 'test_simple_text', headers), 404);
    await stream.text();
    assert.equal(await statusOf(agent, 'test_simple_text', headers), 404);
    assert.equal(await statusOf(agent, 'test_simple_text', await agent.openSession()), 200);
  });

  test('with its process: the next use is 404, and others do not notice', async () => {
    const agent = await newAgent(castellan, 'child');
    const [first, second] = [await agent.openSession(), await agent.openSession()];
    assert.equal(await statusOf(agent, 'log', first), 200);
    const before = await pids(castellan);
    assert.equal(await statusOf(agent, 'log', second), 200);
    const [own] = (await pids(castellan)).filter((pid) => !before.includes(pid));
    process.kill(own!, 'SIGKILL');
    const gone = async () => !(await pids(castellan)).includes(own!);
    for (let look = 0; look < 200 && !(await gone()); look += 1) await new Promise((r) => setTimeout(r, 20));
    assert.equal(await statusOf(agent, 'log', second), 404);
    assert.equal(await statusOf(agent, 'log', first), 200);
  });

  test('to its own principal, who opened too many', async () => {
    const [agent, other] = [await newAgent(castellan, 'legacy'), await newAgent(castellan, 'legacy')];
    const theirs = await other.openSession();
    assert.equal(await statusOf(other, 'test_simple_text', theirs), 200);
    const first = await agent.openSession();
    assert.equal(await statusOf(agent, 'test_simple_text', first), 200);
    for (let one = 0; one < 64; one += 1) {
      assert.equal(await statusOf(agent, 'test_simple_text', await agent.openSession()), 200);
    }
    assert.equal(await statusOf(agent, 'test_simple_text', first), 404);
    assert.equal(await statusOf(other, 'test_simple_text', theirs), 200);
  });
});

async function pids(castellan: TestCastellan): Promise<number[]> {
  const { stdout } = await castellan.cli('describe', 'server', 'child', '-o', 'json');
  return [...stdout.matchAll(/"pid": (\d+)/g)].map((found) => Number(found[1]));
}
