import assert from 'node:assert/strict';
import path from 'node:path';
import { test } from 'node:test';
import { Agent, Events, type Loose, newAgent, writeConfig } from '../support/agent.ts';
import { temporaryFolder } from '../support/databases.ts';
import { MenuUpstream } from '../support/menu-upstream.ts';
import { eventually } from '../support/processes.ts';
import { startCastellan } from '../support/running-castellan.ts';

test('a legacy session goes on after a restart with the same id, and ends for good with DELETE', async () => {
  const dataDir = await temporaryFolder();
  let url: string;
  let token: string;
  const send = (method: string, body: object | undefined, session?: string) =>
    fetch(url, {
      method,
      headers: {
        authorization: `Bearer ${token}`,
        'content-type': 'application/json',
        ...(session === undefined ? {} : { 'mcp-session-id': session }),
      },
      ...(body && { body: JSON.stringify(body) }),
    });
  const call = { name: 'everything__echo', arguments: { message: 'still here' } };
  const request = { jsonrpc: '2.0', id: 1, method: 'tools/call', params: call };
  let session: string;
  {
    await using castellan = await startCastellan(undefined, { dataDir });
    url = `${castellan.url}/projects/demo/mcp`;
    token = /cst_pat_\w+/.exec(castellan.stderr())?.[0] ?? '';
    const clientInfo = { name: 'test', version: '1' };
    const params = { protocolVersion: '2025-11-25', capabilities: {}, clientInfo };
    const opened = await send('POST', { jsonrpc: '2.0', id: 0, method: 'initialize', params });
    session = opened.headers.get('mcp-session-id') ?? '';
    assert.equal((await send('POST', request, session)).status, 200);
  }
  await using castellan = await startCastellan(undefined, { dataDir });
  url = `${castellan.url}/projects/demo/mcp`;
  const answer = (await (await send('POST', request, session)).json()) as { result: { content: unknown } };
  assert.deepEqual(answer.result.content, [{ type: 'text', text: 'Echo: still here' }]);
  assert.equal((await send('DELETE', undefined, session)).status, 204);
  assert.equal((await send('POST', request, session)).status, 404);
});

test('a legacy session that is in use goes on across a rotation of the key, until its key is forgotten', async () => {
  const server = await MenuUpstream.start('modern', {
    capabilities: { tools: {} },
    answers: {
      'tools/list': () => ({ tools: [{ name: 'ask', inputSchema: { type: 'object' } }] }),
      'tools/call': ({ inputResponses }: Loose) =>
        inputResponses
          ? { content: [{ type: 'text', text: inputResponses.sure.action }] }
          : {
              resultType: 'input_required',
              requestState: 'of the server',
              inputRequests: {
                sure: { method: 'elicitation/create', params: { message: 'Sure?', requestedSchema: {} } },
              },
            },
    },
  });
  await using _ = server;
  const config = await writeConfig(
    path.join(await temporaryFolder(), 'castellan.json'),
    { asker: { url: server.url } },
    { demo: { servers: ['asker'] } },
  );
  const dataDir = await temporaryFolder();
  const castellan = await startCastellan(['--config', config], { dataDir });
  let running = castellan;
  await using __ = { [Symbol.asyncDispose]: () => running[Symbol.asyncDispose]() };
  const { url: at, token } = await newAgent(castellan, 'demo');
  const agent = () => new Agent(at.replace(castellan.url, running.url), token);
  const params = {
    protocolVersion: '2025-11-25',
    capabilities: { elicitation: {} },
    clientInfo: { name: 'test', version: '1' },
  };
  const opened = await agent().send({ jsonrpc: '2.0', id: 0, method: 'initialize', params });
  await opened.text();
  const headers = {
    accept: 'application/json, text/event-stream',
    'mcp-session-id': opened.headers.get('mcp-session-id'),
  };
  const lasting = new Events(await agent().send(undefined, { method: 'GET', headers }));
  const asking = async () => {
    const body = { jsonrpc: '2.0', id: 1, method: 'tools/call', params: { name: 'asker__ask' } };
    const events = new Events(await agent().send(body, { headers }));
    const question = () => events.messages.find(({ method }) => method === 'elicitation/create');
    await eventually('a question', () => question() !== undefined);
    return async () => {
      const answer = { jsonrpc: '2.0', id: question()?.id, result: { action: 'accept', content: {} } };
      assert.equal((await agent().send(answer, { headers })).status, 202);
      await events.ended;
      return events.messages.at(-1)?.result?.content[0].text;
    };
  };
  const rotate = async (...more: string[]) => {
    const { code, stderr } = await running.cli('secret', 'rotate-key', ...more);
    assert.equal(code, 0, stderr);
  };

  const answer = await asking();
  await rotate();
  assert.equal(await answer(), 'accept', 'what was asked under the key before');
  assert.equal(await (await asking())(), 'accept');
  await castellan.stop();
  assert.equal(await lasting.ended, true, 'its stream was open until then');
  running = await startCastellan(['--config', config], { dataDir });
  assert.equal(await (await asking())(), 'accept', 'by a process that knows the key from the ring alone');
  await rotate('--retire-old', '0s');
  const list = { jsonrpc: '2.0', id: 2, method: 'tools/list' };
  const refused = async () => (await agent().send(list, { headers })).status === 404;
  await eventually('nobody can open it any more', refused, 10_000);
});
