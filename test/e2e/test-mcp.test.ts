import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { createServer, type IncomingMessage, type RequestListener, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { createServer as createTcpServer } from 'node:net';
import { after, before, describe, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { getRequestListener } from '@hono/node-server';
import { McpServer as LegacyMcpServer } from '@modelcontextprotocol/sdk/server/mcp.js';
import { StreamableHTTPServerTransport } from '@modelcontextprotocol/sdk/server/streamableHttp.js';
import { createMcpHandler, McpServer } from '@modelcontextprotocol/server';
import { z } from 'zod';
import { eventually } from '../support/processes.ts';
import { type CliResult, runCli } from '../support/running-castellan.ts';
import { idOf, type Script, ScriptedUpstream, sendJson, startSse } from '../support/scripted-upstream.ts';

const TOKEN = 'a-token.of_this-server';

function testMcp(url: string, args: readonly string[] = [], more: { token?: string; input?: string } = {}) {
  return runCli(['test', 'mcp', url, ...args], {
    env: { CASTELLAN_TOKEN: more.token ?? '', NO_COLOR: '1' },
    ...(more.input === undefined ? {} : { input: more.input }),
  });
}

function expect(result: CliResult, code: number, said: RegExp): void {
  const all = result.stdout + result.stderr;
  assert.equal(result.code, code, all);
  assert.match(all, said);
}

describe('against server-everything', () => {
  for (const [mode, path, transport] of [
    ['streamableHttp', '/mcp', 'streamable-http'],
    ['sse', '/sse', 'http+sse'],
  ] as const) {
    test(`over ${mode}`, async () => {
      await using it = await startEverything(mode);
      const url = `${it.origin}${path}`;
      const called = await testMcp(url, ['--tool', 'echo', '--args', '{"message":"hi"}', '-o', 'json']);
      assert.equal(called.code, 0, called.stderr);
      const report = JSON.parse(called.stdout);
      assert.deepEqual(report.protocol, { era: 'legacy', revision: '2025-11-25', transport });
      assert.ok(report.tools.includes('echo'));
      assert.deepEqual(report.result.content, [{ type: 'text', text: 'Echo: hi' }]);
      expect(await testMcp(url, ['--expect-tools', 'echo,nope']), 2, /no such tool: nope/);
      expect(await testMcp(url, ['--tool', 'nope']), 2, /no such tool: nope/);
      expect(await testMcp(url, ['--tool', 'get-sum']), 2, /get-sum answers isError/);
      expect(await testMcp(url, ['--protocol', 'modern']), 1, /does not speak 2026-07-28/);
    });
  }
});

describe('against servers that ask for a token', () => {
  const sessions = new Map<string, StreamableHTTPServerTransport>();
  const dual = createMcpHandler(sdkServer, { keepAliveMs: 0 });
  const strict = createMcpHandler(sdkServer, { keepAliveMs: 0, legacy: 'reject' });
  const listeners: Record<string, RequestListener> = {
    legacy: (request, response) => void serveLegacy(sessions, request, response),
    dual: getRequestListener((request) => dual.fetch(request)),
    strict: getRequestListener((request) => strict.fetch(request)),
  };
  const server = createServer((request, response) => {
    const given = request.headers.authorization;
    const kind = (request.url ?? '').slice(1);
    if (kind === 'healthz') return void response.writeHead(204).end();
    if (given === 'Bearer of-another-project') return sendJson(response, { error: 'wrong project' }, 403);
    if (given === `Bearer ${TOKEN}`) return listeners[kind]?.(request, response);
    const challenge = 'Bearer error="invalid_token", error_description="expired yesterday"';
    sendJson(response, {}, 401, { 'www-authenticate': challenge });
  });
  let origin = '';
  before(async () => {
    origin = await listen(server);
  });
  after(() => {
    server.closeAllConnections();
    server.close();
  });

  for (const [kind, protocol, revision] of [
    ['legacy', 'auto', '2025-11-25'],
    ['legacy', 'legacy', '2025-11-25'],
    ['dual', 'auto', '2026-07-28'],
    ['dual', 'legacy', '2025-11-25'],
    ['dual', 'modern', '2026-07-28'],
    ['strict', 'auto', '2026-07-28'],
  ] as const) {
    test(`${kind} server, --protocol ${protocol}`, async () => {
      const args = [
        '--protocol',
        protocol,
        '--tool',
        'say',
        '--args',
        '{"text":"ü"}',
        '--expect-tools',
        'say',
      ];
      const passed = await testMcp(`${origin}/${kind}`, args, { token: TOKEN });
      expect(passed, 0, new RegExp(`speaks ${revision}`));
      assert.match(passed.stdout, /say: said ü/);
      await eventually('its session is ended', () => sessions.size === 0);
      expect(await testMcp(`${origin}/${kind}`, args, { token: 'wrong' }), 1, /401.*expired yesterday/);
      expect(await testMcp(`${origin}/${kind}`, args), 1, /401.*set CASTELLAN_TOKEN/);
      expect(
        await testMcp(`${origin}/${kind}`, args, { token: 'of-another-project' }),
        1,
        /403.*wrong project/,
      );
    });
  }

  test('a modern server refuses the old handshake', async () => {
    const refused = await testMcp(`${origin}/strict`, ['--protocol', 'legacy'], { token: TOKEN });
    expect(refused, 1, /-32022/);
  });

  test('the token may come from stdin, and one on the command line earns a warning', async () => {
    const piped = await testMcp(`${origin}/dual`, ['--token', '-'], { input: `${TOKEN}\n` });
    expect(piped, 0, /PASS/);
    const shown = await testMcp(`${origin}/dual`, ['--token', TOKEN]);
    expect(shown, 0, /warning: --token shows the token/);
    assert.doesNotMatch(shown.stdout + shown.stderr, new RegExp(TOKEN));
  });
});

/** A modern server that answers by method; what is missing answers -32601. */
function modern(answers: Record<string, unknown>): Script {
  return (seen, response) => {
    if (seen.method === 'GET') return void response.writeHead(404).end();
    const { method } = JSON.parse(seen.body) as { method: string };
    const discovered = {
      resultType: 'complete',
      supportedVersions: ['2026-07-28'],
      capabilities: { tools: {} },
    };
    const result = answers[method] ?? (method === 'server/discover' ? discovered : undefined);
    const failure = { error: { code: -32601, message: 'no such method' } };
    sendJson(
      response,
      { jsonrpc: '2.0', id: idOf(seen), ...(result ? { result } : failure) },
      result ? 200 : 404,
    );
  };
}

const listing = (...names: string[]) => ({
  resultType: 'complete',
  tools: names.map((name) => ({ name, inputSchema: { type: 'object' } })),
});

describe('against endpoints that misbehave', () => {
  const cases: [string, Script, string[], number, RegExp][] = [
    ['health 503', (_, response) => sendJson(response, {}, 503), [], 1, /\/healthz answers HTTP 503/],
    [
      'server error',
      (_, response) => sendJson(response, { error: 'boom' }, 500),
      ['--no-health'],
      1,
      /HTTP 500.*boom/,
    ],
    ['HTML', (_, response) => html(response, 200), [], 1, /does not speak MCP.*HTML page/],
    ['no such page', (_, response) => html(response, 404), [], 1, /does not speak MCP.*HTTP 404/],
    ['invalid JSON', (_, response) => sendJson(response, '{"jsonrpc":', 200), [], 1, /does not speak MCP/],
    ['a JSON array', (_, response) => sendJson(response, '[]', 200), [], 1, /does not speak MCP/],
    [
      'a cut connection',
      (_, response) => void response.destroy(),
      ['--no-health'],
      1,
      /closed before an answer/,
    ],
    ['silence', () => undefined, ['--timeout', '0.5'], 1, /no answer from http.* within 0.5 s/],
    ['a cut stream', cutStream, ['--no-health'], 1, /event stream ended before the answer came/],
    ['tools that are no list', modern({ 'tools/list': { tools: {} } }), [], 2, /without a `tools` array/],
    ['an error to tools/list', modern({}), [], 2, /-32601/],
    [
      'pages without end',
      modern({ 'tools/list': { ...listing('a'), nextCursor: 'again' } }),
      [],
      2,
      /its pages never end/,
    ],
    [
      'a tool that needs input',
      modern({
        'tools/list': listing('a'),
        'tools/call': { resultType: 'input_required', requestState: 's' },
      }),
      ['--tool', 'a'],
      2,
      /asks its user for input/,
    ],
  ];
  for (const [name, script, args, code, said] of cases) {
    test(name, async () => {
      await using upstream = await ScriptedUpstream.start(script);
      expect(await testMcp(upstream.url, args), code, said);
    });
  }

  test('405 on the health page is no failure, and neither is a page that asks for a login', async () => {
    for (const status of [404, 405, 401]) {
      const script = modern({ 'tools/list': listing('a') });
      await using upstream = await ScriptedUpstream.start((seen, response) =>
        seen.method === 'GET' ? void response.writeHead(status).end() : script(seen, response),
      );
      expect(await testMcp(upstream.url), 0, /PASS/);
      assert.equal(upstream.requests[0]?.url, '/healthz');
      assert.equal(upstream.requests[0]?.headers.authorization, undefined);
    }
  });

  test('a redirect is named and not followed', async () => {
    await using other = await ScriptedUpstream.start(modern({}));
    await using upstream = await ScriptedUpstream.start(
      (_, response) => void response.writeHead(307, { location: `${other.origin}/mcp` }).end(),
    );
    expect(await testMcp(upstream.url, [], { token: TOKEN }), 1, /redirects to http/);
    assert.deepEqual(other.requests, []);
  });

  test('an HTTP+SSE stream that names another origin gets no token', async () => {
    await using other = await ScriptedUpstream.start(modern({}));
    await using upstream = await ScriptedUpstream.start((seen, response) => {
      if (seen.method === 'POST') return void response.writeHead(405).end();
      startSse(response);
      response.write(`event: endpoint\ndata: ${other.origin}/messages\n\n`);
    });
    const refused = await testMcp(upstream.url, ['--no-health'], { token: TOKEN });
    expect(refused, 1, /endpoint on another origin/);
    assert.deepEqual(other.requests, []);
  });

  test('names from outside cannot drive the terminal', async () => {
    const script = modern({ 'tools/list': listing('\u001b]0;pwned\u0007evil\u001b[2J\u202e') });
    await using upstream = await ScriptedUpstream.start(script);
    const result = await testMcp(upstream.url, ['--expect-tools', 'x']);
    expect(result, 2, /listed are evil/);
    assert.doesNotMatch(result.stdout + result.stderr, /[\u001b\u0007\u202e]/);
  });

  test('nobody listens', async () => {
    const port = await freePort();
    expect(await testMcp(`http://127.0.0.1:${port}/mcp`), 1, /connection refused/);
    expect(await testMcp('http://no-such-host.invalid/mcp'), 1, /cannot reach/);
  });
});

test('every wrong flag is named, with the fix', async () => {
  const url = 'http://127.0.0.1:9/mcp';
  const cases: [string[], RegExp][] = [
    [[], /missing required argument 'url'/],
    [['ftp://x'], /"ftp:\/\/x" is not an http/],
    [['http://user:secret@x/'], /carries a user or password/],
    [[url, '--args', '{}'], /--args needs --tool/],
    [[url, '--tool', 't', '--args', '{'], /--args: no valid JSON/],
    [[url, '--tool', 't', '--args', '[]'], /--args: must be a JSON object/],
    [[url, '--timeout', 'soon'], /--timeout.*seconds/],
    [[url, '--timeout', '0'], /--timeout.*seconds/],
    [[url, '--protocol', 'http2'], /--protocol.*auto, legacy, modern/],
    [[url, '-o', 'xml'], /--output.*text, json/],
    [[url, '--expect-tools', 'a,,b'], /--expect-tools.*none of them empty/],
    [[url, '--token', ''], /--token holds no usable token/],
    [[url, '--tools', 't'], /unknown option '--tools'[\s\S]*Did you mean --tool/],
    [[url, 'again'], /too many arguments/],
  ];
  for (const [args, said] of cases) expect(await runCli(['test', 'mcp', ...args]), 64, said);
});

function cutStream(_: unknown, response: ServerResponse): void {
  startSse(response);
  response.end(': nothing follows\n\n');
}

function html(response: ServerResponse, status: number): void {
  response.writeHead(status, { 'content-type': 'text/html' });
  response.end('<!doctype html><title>Hello</title>');
}

async function serveLegacy(
  sessions: Map<string, StreamableHTTPServerTransport>,
  request: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  const known = sessions.get(String(request.headers['mcp-session-id']));
  if (known) return known.handleRequest(request, response);
  const transport: StreamableHTTPServerTransport = new StreamableHTTPServerTransport({
    sessionIdGenerator: () => randomUUID(),
    onsessioninitialized: (id) => void sessions.set(id, transport),
    onsessionclosed: (id) => void sessions.delete(id),
  });
  const server = new LegacyMcpServer({ name: 'guarded', version: '1' });
  server.registerTool('say', { inputSchema: { text: z.string() } }, async ({ text }, { sendRequest }) => {
    // A client answers a ping in the middle of its call.
    await sendRequest({ method: 'ping' }, z.object({}));
    return { content: [{ type: 'text', text: `said ${text}` }] };
  });
  await server.connect(transport);
  await transport.handleRequest(request, response);
}

function sdkServer(): McpServer {
  const server = new McpServer({ name: 'guarded', version: '2' });
  server.registerTool('say', { inputSchema: z.object({ text: z.string() }) }, ({ text }) => ({
    content: [{ type: 'text', text: `said ${text}` }],
  }));
  return server;
}

async function listen(server: ReturnType<typeof createServer>): Promise<string> {
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

async function startEverything(mode: string): Promise<{ origin: string } & AsyncDisposable> {
  const port = await freePort();
  const script = fileURLToPath(import.meta.resolve('@modelcontextprotocol/server-everything/dist/index.js'));
  const child = spawn(process.execPath, [script, mode], { env: { PORT: String(port) }, stdio: 'ignore' });
  const exited = once(child, 'exit');
  const origin = `http://127.0.0.1:${port}`;
  const answers = () =>
    fetch(origin).then(
      () => true,
      () => false,
    );
  await eventually('server-everything listens', answers, 15_000);
  return {
    origin,
    [Symbol.asyncDispose]: async () => {
      child.kill('SIGKILL');
      await exited;
    },
  };
}

async function freePort(): Promise<number> {
  const server = createTcpServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  return port;
}
