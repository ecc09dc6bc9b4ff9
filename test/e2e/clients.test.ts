import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { createRequire } from 'node:module';
import path from 'node:path';
import { after, before, describe, test } from 'node:test';
import { Client, StreamableHTTPClientTransport } from '@modelcontextprotocol/client';
import { Client as OldClient } from '@modelcontextprotocol/sdk/client/index.js';
import { StreamableHTTPClientTransport as OldTransport } from '@modelcontextprotocol/sdk/client/streamableHttp.js';
import { startCastellan, type TestCastellan } from '../support/running-castellan.ts';

const INFO = { name: 'test-client', version: '1.0.0' };
const ECHO = { name: 'everything__echo', arguments: { message: 'hello' } };
const EXPECTED_TOOLS = ['everything__echo', 'filesystem__list_directory', 'memory__read_graph'];

type Listed = { tools: { name: string }[] };
type Called = { content?: unknown; isError?: unknown };

function checkTools({ tools }: Listed): void {
  const names = tools.map((tool) => tool.name);
  for (const expected of EXPECTED_TOOLS)
    assert.ok(names.includes(expected), `${expected} is in ${names.join()}`);
}

function checkEcho(result: unknown): void {
  const { content, isError } = result as Called;
  assert.deepEqual(content, [{ type: 'text', text: 'Echo: hello' }]);
  assert.ok(!isError);
}

/** One tool of each of the three servers. */
async function callAll(call: (params: typeof ECHO) => Promise<unknown>): Promise<void> {
  checkEcho(await call(ECHO));
  const listing = (await call({
    name: 'filesystem__list_allowed_directories',
    arguments: {} as never,
  })) as Called;
  assert.match(JSON.stringify(listing.content), /folders\/sandbox/);
  const graph = (await call({ name: 'memory__read_graph', arguments: {} as never })) as Called;
  assert.match(JSON.stringify(graph), /entities/);
}

describe('every client reaches every server of the quickstart', () => {
  let castellan: TestCastellan;
  let token: string;
  let url: URL;
  let headers: Record<string, string>;

  before(async () => {
    castellan = await startCastellan();
    token = /Token {5}(cst_pat_\w+)/.exec(castellan.stderr())?.[1] ?? '';
    assert.ok(token, castellan.stderr());
    url = new URL(`${castellan.url}/projects/demo/mcp`);
    headers = { Authorization: `Bearer ${token}` };
  });
  after(() => castellan[Symbol.asyncDispose]());

  test('SDK 1.32', async () => {
    const client = new OldClient(INFO);
    await client.connect(new OldTransport(url, { requestInit: { headers } }) as never);
    checkTools(await client.listTools());
    await callAll((params) => client.callTool(params));
    await client.close();
  });

  for (const mode of ['legacy', 'auto', { pin: '2026-07-28' }] as const) {
    test(`SDK 2.4, version negotiation ${JSON.stringify(mode)}`, async () => {
      const client = new Client(INFO, { versionNegotiation: { mode } });
      await client.connect(new StreamableHTTPClientTransport(url, { requestInit: { headers } }));
      checkTools(await client.listTools());
      await callAll((params) => client.callTool(params));
      const prompts = await client.listPrompts();
      assert.ok(prompts.prompts.some((prompt) => prompt.name === 'everything__simple-prompt'));
      const prompt = await client.getPrompt({ name: 'everything__simple-prompt' });
      assert.ok(prompt.messages.length > 0);
      const { resources } = await client.listResources();
      const read = await client.readResource({ uri: resources[0]!.uri });
      assert.equal(read.contents[0]!.uri, resources[0]!.uri);
      await client.close();
    });
  }

  test('SDK 2.4 hears progress of a long call, in both eras', async () => {
    for (const mode of ['legacy', { pin: '2026-07-28' }] as const) {
      const client = new Client(INFO, { versionNegotiation: { mode } });
      await client.connect(new StreamableHTTPClientTransport(url, { requestInit: { headers } }));
      const seen: number[] = [];
      await client.callTool(
        { name: 'everything__trigger-long-running-operation', arguments: { duration: 0.4, steps: 4 } },
        { onprogress: ({ progress }) => seen.push(progress) },
      );
      assert.deepEqual(seen, [1, 2, 3, 4]);
      await client.close();
    }
  });

  test('the Inspector on the command line', async () => {
    const require = createRequire(import.meta.url);
    const manifest = require.resolve('@modelcontextprotocol/inspector/package.json');
    const inspector = path.join(path.dirname(manifest), 'clients/launcher/build/index.js');
    const args = [
      '--cli',
      url.href,
      '--transport',
      'http',
      '--method',
      'tools/call',
      '--tool-name',
      ECHO.name,
    ];
    const child = spawn(process.execPath, [
      inspector,
      ...args,
      '--tool-arg',
      'message=hello',
      '--header',
      `Authorization: Bearer ${token}`,
    ]);
    let output = '';
    child.stdout.on('data', (chunk) => {
      output += chunk;
    });
    child.stderr.on('data', (chunk) => {
      output += chunk;
    });
    const code = await new Promise((resolve) => child.on('close', resolve));
    assert.equal(code, 0, output);
    assert.match(output, /Echo: hello/);
  });

  test('a bare POST with nothing but a token and a content type', async () => {
    const post = async (body: object) => {
      const response = await fetch(url, {
        method: 'POST',
        headers: { ...headers, 'content-type': 'application/json' },
        body: JSON.stringify(body),
      });
      assert.equal(response.status, 200);
      assert.match(response.headers.get('content-type') ?? '', /^application\/json/);
      assert.equal(response.headers.get('mcp-session-id'), null);
      return ((await response.json()) as { result: unknown }).result;
    };
    checkTools((await post({ jsonrpc: '2.0', id: 1, method: 'tools/list' })) as Listed);
    checkEcho(await post({ jsonrpc: '2.0', id: 'two', method: 'tools/call', params: ECHO }));
  });

  test('a raw modern client: envelope in, discriminator and server identity out', async () => {
    const meta = {
      'io.modelcontextprotocol/protocolVersion': '2026-07-28',
      'io.modelcontextprotocol/clientCapabilities': {},
      'io.modelcontextprotocol/clientInfo': INFO,
      'vendor/key': 'kept',
    };
    const response = await fetch(url, {
      method: 'POST',
      headers: {
        ...headers,
        'content-type': 'application/json',
        accept: 'application/json, text/event-stream',
        'mcp-protocol-version': '2026-07-28',
        'mcp-method': 'tools/call',
        'mcp-name': ECHO.name,
      },
      body: JSON.stringify({ jsonrpc: '2.0', id: 7, method: 'tools/call', params: { ...ECHO, _meta: meta } }),
    });
    const { id, result } = (await response.json()) as { id: number; result: Record<string, unknown> };
    assert.equal(id, 7);
    checkEcho(result);
    assert.equal(result.resultType, 'complete');
    const serverInfo = (result._meta as Record<string, { name: string }>)[
      'io.modelcontextprotocol/serverInfo'
    ];
    assert.equal(serverInfo?.name, 'castellan');
  });

  test('a raw legacy client: handshake, session, end of session', async () => {
    const send = (method: string, body: object | undefined, more: Record<string, string> = {}) =>
      fetch(url, {
        method,
        headers: { ...headers, 'content-type': 'application/json', ...more },
        body: body && JSON.stringify(body),
      });
    const params = { protocolVersion: '2025-11-25', capabilities: {}, clientInfo: INFO };
    const opened = await send('POST', { jsonrpc: '2.0', id: 0, method: 'initialize', params });
    const session = { 'mcp-session-id': opened.headers.get('mcp-session-id') ?? '' };
    assert.match(session['mcp-session-id'], /^[\x21-\x7e]+$/);
    const initialized = await send('POST', { jsonrpc: '2.0', method: 'notifications/initialized' }, session);
    assert.equal(initialized.status, 202);
    const call = { jsonrpc: '2.0', id: 1, method: 'tools/call', params: ECHO };
    const answered = (await (await send('POST', call, session)).json()) as { result: unknown };
    checkEcho(answered.result);
    assert.equal((await send('DELETE', undefined, session)).status, 204);
    assert.equal((await send('POST', call, session)).status, 404);
  });
});
