import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { createServer, type Server as HttpServer } from 'node:http';
import { type AddressInfo, createServer as createTcpServer } from 'node:net';
import { after, before, describe, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { getRequestListener } from '@hono/node-server';
import { McpServer as LegacyMcpServer } from '@modelcontextprotocol/sdk/server/mcp.js';
import {
  type EventStore,
  StreamableHTTPServerTransport,
} from '@modelcontextprotocol/sdk/server/streamableHttp.js';
import { createMcpHandler, McpServer } from '@modelcontextprotocol/server';
import { z } from 'zod';
import { ServerClient } from '../../src/net/server-client.ts';
import type {
  JsonObject,
  JsonRpcMessage,
  JsonRpcNotification,
  JsonRpcRequest,
} from '../../src/protocol/jsonrpc.ts';
import { HttpTransport } from '../../src/upstream/http-transport.ts';
import { SseTransport } from '../../src/upstream/sse-transport.ts';
import { type Answer, type Transport, UpstreamFault } from '../../src/upstream/transport.ts';
import { eventually } from '../support/processes.ts';

const client = new ServerClient();
after(() => client[Symbol.asyncDispose]());

const LEGACY = '2025-11-25';
const MODERN = '2026-07-28';
const MAX_BYTES = 4 * 1024 * 1024;
type Incoming = JsonRpcRequest | JsonRpcNotification;

/** A transport with the little of a connection that these tests need. */
class Session implements AsyncDisposable {
  readonly stray: JsonRpcMessage[] = [];
  readonly closed: UpstreamFault[] = [];
  readonly transport: Transport;
  #nextId = 0;

  constructor(url: string, make: typeof HttpTransport | typeof SseTransport = HttpTransport) {
    this.transport = new make(
      { url, headers: {}, client, serverName: 'real' },
      {
        onMessage: (message) => void this.stray.push(message),
        onClosed: (fault) => void this.closed.push(fault),
      },
    );
  }

  ask(method: string, params: JsonObject = {}, onMessage?: (message: Incoming) => void): Promise<Answer> {
    this.#nextId += 1;
    const request = { jsonrpc: '2.0', id: this.#nextId, method, params } as const;
    return this.transport.exchange(request, { maxBytes: MAX_BYTES, onMessage }).answer;
  }

  /** A modern request: the envelope in `_meta` and its headers. */
  modern(method: string, params: JsonObject = {}, onMessage?: (message: Incoming) => void) {
    this.#nextId += 1;
    const _meta = {
      'io.modelcontextprotocol/protocolVersion': MODERN,
      'io.modelcontextprotocol/clientCapabilities': {},
      ...(params._meta as JsonObject | undefined),
    };
    const request = { jsonrpc: '2.0', id: this.#nextId, method, params: { ...params, _meta } } as const;
    const headers: Record<string, string> = { 'mcp-protocol-version': MODERN, 'mcp-method': method };
    if (typeof params.name === 'string') headers['mcp-name'] = params.name;
    return this.transport.exchange(request, { maxBytes: MAX_BYTES, onMessage, headers });
  }

  async initialize(capabilities: JsonObject = {}): Promise<void> {
    await this.transport.open(5_000);
    const clientInfo = { name: 'castellan-test', version: '0' };
    const answer = await this.ask('initialize', { protocolVersion: LEGACY, capabilities, clientInfo });
    const { protocolVersion } = resultOf(answer);
    if (this.transport instanceof HttpTransport) {
      this.transport.setSession(answer.sessionId, String(protocolVersion));
    }
    await this.transport.send({ jsonrpc: '2.0', method: 'notifications/initialized' });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.transport.close();
  }
}

function resultOf(answer: Answer): JsonObject {
  assert.ok('result' in answer.message, JSON.stringify(answer.message));
  if (answer.written) assert.deepEqual(JSON.parse(answer.written.text), answer.message.result);
  return answer.message.result;
}

async function listen(server: HttpServer): Promise<string> {
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}/mcp`;
}

function stop(server: HttpServer): void {
  server.closeAllConnections();
  server.close();
}

const text = (value: string) => ({ content: [{ type: 'text' as const, text: value }] });

describe('SDK 1.32 server', () => {
  for (const enableJsonResponse of [true, false]) {
    describe(enableJsonResponse ? 'answering JSON' : 'answering event streams', () => {
      const sessions = new Map<string, StreamableHTTPServerTransport>();
      const server = createServer((request, response) => void serve(request, response));
      let url = '';

      async function serve(
        ...[request, response]: Parameters<StreamableHTTPServerTransport['handleRequest']>
      ) {
        const id = String(request.headers['mcp-session-id']);
        const transport = sessions.get(id) ?? newSession();
        if (!sessions.has(id)) await legacyServer().connect(transport);
        await transport.handleRequest(request, response);
      }

      function newSession(): StreamableHTTPServerTransport {
        const transport = new StreamableHTTPServerTransport({
          sessionIdGenerator: () => randomUUID(),
          onsessioninitialized: (id) => void sessions.set(id, transport),
          onsessionclosed: (id) => void sessions.delete(id),
          enableJsonResponse,
          eventStore: new MemoryEvents(),
          retryInterval: 40,
        });
        return transport;
      }

      before(async () => {
        url = await listen(server);
      });
      after(() => stop(server));

      test('lists and calls tools, many at once', async () => {
        await using it = new Session(url);
        await it.initialize();
        const tools = resultOf(await it.ask('tools/list')).tools as { name: string }[];
        assert.deepEqual(tools.map(({ name }) => name).sort(), ['ask', 'echo', 'nap', 'steps']);
        const calls = Array.from({ length: 100 }, (_, n) =>
          it.ask('tools/call', { name: 'echo', arguments: { text: `n${n}` } }),
        );
        const answers = await Promise.all(calls);
        assert.deepEqual(
          answers.map(resultOf),
          Array.from({ length: 100 }, (_, n) => text(`n${n}`)),
        );
      });

      test('a session is ended by closing, and is lost to whoever goes on with it', async () => {
        await using it = new Session(url);
        await it.initialize();
        const id = [...sessions.keys()].at(-1)!;
        await it.transport.close();
        assert.equal(sessions.has(id), false);
        await using late = new Session(url);
        assert.ok(late.transport instanceof HttpTransport);
        late.transport.setSession(id, LEGACY);
        const fault = await late.ask('tools/list').catch((error: unknown) => error);
        assert.ok(fault instanceof UpstreamFault);
        assert.equal(fault.kind, 'session_lost', fault.message);
      });

      if (enableJsonResponse) return;

      test('progress and a question come on the stream of their call, and the answer is posted', async () => {
        await using it = new Session(url);
        await it.initialize({ elicitation: {} });
        const seen: Incoming[] = [];
        const steps = await it.ask(
          'tools/call',
          { name: 'steps', arguments: {}, _meta: { progressToken: 7 } },
          (message) => void seen.push(message),
        );
        assert.deepEqual(resultOf(steps), text('done'));
        assert.deepEqual(
          seen.map(({ method, params }) => [method, params?.progress]),
          [1, 2, 3].map((progress) => ['notifications/progress', progress]),
        );
        const asked = await it.ask('tools/call', { name: 'ask', arguments: {} }, (message) => {
          assert.ok('id' in message && message.method === 'elicitation/create');
          const result = { action: 'accept', content: { name: 'Ada' } };
          void it.transport.send({ jsonrpc: '2.0', id: message.id, result });
        });
        assert.deepEqual(resultOf(asked), text('hello Ada'));
        assert.deepEqual(it.stray, []);
      });

      test('a call whose stream the server closes is resumed', async () => {
        await using it = new Session(url);
        await it.initialize();
        const answers = await Promise.all(
          [1, 2, 3].map(() => it.ask('tools/call', { name: 'nap', arguments: {} })),
        );
        assert.deepEqual(answers.map(resultOf), Array(3).fill(text('rested')));
      });

      test('a change is heard on the standalone stream', async () => {
        await using it = new Session(url);
        await it.initialize();
        const { transport } = it;
        assert.ok(transport instanceof HttpTransport);
        transport.listen();
        const server = [...sessions.values()].at(-1)!;
        const change = { jsonrpc: '2.0', method: 'notifications/tools/list_changed' } as const;
        await eventually('the change arrived', async () => {
          await server.send(change);
          return it.stray.length > 0;
        });
        assert.deepEqual(it.stray[0], change);
      });
    });
  }
});

describe('SDK 2.4 server', () => {
  const handler = createMcpHandler(modernServer, { keepAliveMs: 0 });
  const strict = createMcpHandler(modernServer, { legacy: 'reject' });
  const server = createServer(getRequestListener((request) => handler.fetch(request)));
  const strictServer = createServer(getRequestListener((request) => strict.fetch(request)));
  let url = '';
  let strictUrl = '';
  before(async () => {
    url = await listen(server);
    strictUrl = await listen(strictServer);
  });
  after(() => {
    stop(server);
    stop(strictServer);
  });

  test('is discovered, lists and calls tools without a session', async () => {
    await using it = new Session(url);
    const found = resultOf(await it.modern('server/discover').answer);
    assert.ok((found.supportedVersions as string[]).includes(MODERN));
    const tools = resultOf(await it.modern('tools/list').answer).tools as { name: string }[];
    assert.deepEqual(tools.map(({ name }) => name).sort(), ['echo', 'steps']);
    const answer = await it.modern('tools/call', { name: 'echo', arguments: { text: 'hi' } }).answer;
    assert.deepEqual(resultOf(answer).content, text('hi').content);
    assert.equal(answer.sessionId, undefined);
  });

  test('sends progress before its answer', async () => {
    await using it = new Session(url);
    const seen: Incoming[] = [];
    const params = { name: 'steps', arguments: {}, _meta: { progressToken: 'p' } };
    const { answer } = it.modern('tools/call', params, (message) => void seen.push(message));
    assert.deepEqual(resultOf(await answer).content, text('done').content);
    assert.deepEqual(
      seen.map(({ params: sent }) => sent?.progress),
      [1, 2, 3],
    );
  });

  test('its refusals are answers, with their status', async () => {
    await using it = new Session(url);
    const unknown = await it.modern('no/such').answer;
    assert.ok('error' in unknown.message);
    assert.deepEqual([unknown.message.error.code, unknown.status], [-32601, 404]);
    const _meta = { 'io.modelcontextprotocol/protocolVersion': '2020-01-01' };
    const mismatch = await it.modern('tools/list', { _meta }).answer;
    assert.ok('error' in mismatch.message);
    assert.deepEqual([mismatch.message.error.code, mismatch.status], [-32020, 400]);
    await using only = new Session(strictUrl);
    const legacy = await only.ask('initialize', {
      protocolVersion: LEGACY,
      capabilities: {},
      clientInfo: { name: 'x', version: '0' },
    });
    assert.ok('error' in legacy.message);
    assert.deepEqual([legacy.message.error.code, legacy.status], [-32022, 400]);
  });

  test('a subscription stays open, brings changes, and ends when it is abandoned', async () => {
    await using it = new Session(url);
    const seen: string[] = [];
    const exchange = it.modern(
      'subscriptions/listen',
      { notifications: { toolsListChanged: true } },
      (message) => seen.push(message.method),
    );
    await eventually('it was acknowledged', () => seen.length === 1);
    handler.notify.toolsChanged();
    await eventually('the change arrived', () => seen.length === 2);
    assert.deepEqual(seen, ['notifications/subscriptions/acknowledged', 'notifications/tools/list_changed']);
    const bus = handler.bus as typeof handler.bus & { listenerCount: number };
    assert.equal(bus.listenerCount, 1);
    exchange.abandon(new UpstreamFault('abandoned', 'enough'));
    await assert.rejects(exchange.answer, { kind: 'abandoned' });
    await eventually('the server noticed', () => bus.listenerCount === 0);
  });

  test('serves the legacy era as well', async () => {
    await using it = new Session(url);
    await it.initialize();
    assert.deepEqual(
      resultOf(await it.ask('tools/call', { name: 'echo', arguments: { text: 'a' } })),
      text('a'),
    );
    const { transport } = it;
    assert.ok(transport instanceof HttpTransport);
    assert.equal(await new Promise((resolve) => transport.listen(resolve)), undefined, 'GET answers 405');
  });
});

describe('server-everything', () => {
  for (const [mode, path, make] of [
    ['streamableHttp', '/mcp', HttpTransport],
    ['sse', '/sse', SseTransport],
  ] as const) {
    test(`over ${mode}: tools, progress and twenty calls at once`, async () => {
      await using child = await startEverything(mode);
      await using it = new Session(`${child.origin}${path}`, make);
      await it.initialize();
      const tools = resultOf(await it.ask('tools/list')).tools as unknown[];
      assert.ok(tools.length > 5);
      const calls = Array.from({ length: 20 }, (_, n) =>
        it.ask('tools/call', { name: 'echo', arguments: { message: `n${n}` } }),
      );
      assert.deepEqual(
        (await Promise.all(calls)).map(resultOf),
        Array.from({ length: 20 }, (_, n) => text(`Echo: n${n}`)),
      );
      const own: Incoming[] = [];
      const args = { duration: 0.2, steps: 2 };
      const params = { name: 'trigger-long-running-operation', arguments: args, _meta: { progressToken: 1 } };
      resultOf(await it.ask('tools/call', params, (message) => void own.push(message)));
      const progress = [...own, ...(it.stray as Incoming[])].filter(
        ({ method }) => method === 'notifications/progress',
      );
      assert.equal(progress.length, 2);
      const gone = once(child.process, 'exit');
      child.process.kill('SIGKILL');
      await gone;
      const fault = await it.ask('tools/list').catch((error: unknown) => error);
      assert.ok(fault instanceof UpstreamFault);
      assert.equal(fault.kind, 'unreachable');
      if (make === SseTransport) await eventually('it is closed', () => it.closed.length === 1);
    });
  }
});

async function startEverything(
  mode: string,
): Promise<{ process: ChildProcess; origin: string } & AsyncDisposable> {
  const port = await freePort();
  const script = fileURLToPath(import.meta.resolve('@modelcontextprotocol/server-everything/dist/index.js'));
  const child = spawn(process.execPath, [script, mode], { env: { PORT: String(port) }, stdio: 'ignore' });
  const exited = once(child, 'exit');
  const origin = `http://127.0.0.1:${port}`;
  await eventually(
    'server-everything listens',
    () =>
      fetch(origin).then(
        () => true,
        () => false,
      ),
    15_000,
  );
  return {
    process: child,
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

function legacyServer(): LegacyMcpServer {
  const server = new LegacyMcpServer({ name: 'legacy', version: '1' });
  server.registerTool('echo', { inputSchema: { text: z.string() } }, ({ text: value }) => text(value));
  server.registerTool('steps', {}, async ({ _meta, sendNotification }) => {
    for (const progress of [1, 2, 3]) {
      const params = { progressToken: _meta?.progressToken ?? 0, progress };
      await sendNotification({ method: 'notifications/progress', params });
    }
    return text('done');
  });
  server.registerTool('ask', {}, async ({ sendRequest }) => {
    const requestedSchema = { type: 'object' as const, properties: { name: { type: 'string' as const } } };
    const params = { mode: 'form' as const, message: 'who?', requestedSchema };
    const reply = await sendRequest(
      { method: 'elicitation/create', params },
      z.object({ action: z.string(), content: z.object({ name: z.string() }) }),
    );
    return text(`hello ${reply.content.name}`);
  });
  server.registerTool('nap', {}, async ({ closeSSEStream }) => {
    assert.ok(closeSSEStream);
    closeSSEStream();
    await new Promise((resolve) => setTimeout(resolve, 100));
    return text('rested');
  });
  return server;
}

function modernServer(): McpServer {
  const server = new McpServer(
    { name: 'modern', version: '1' },
    { capabilities: { tools: { listChanged: true } } },
  );
  server.registerTool('echo', { inputSchema: z.object({ text: z.string() }) }, ({ text: value }) =>
    text(value),
  );
  server.registerTool('steps', {}, async (context) => {
    for (const progress of [1, 2, 3]) {
      const params = { progressToken: context.mcpReq._meta?.progressToken ?? 0, progress };
      await context.mcpReq.notify({ method: 'notifications/progress', params });
    }
    return text('done');
  });
  return server;
}

class MemoryEvents implements EventStore {
  readonly #events: { stream: string; message: Parameters<EventStore['storeEvent']>[1] }[] = [];

  async storeEvent(stream: string, message: Parameters<EventStore['storeEvent']>[1]): Promise<string> {
    return `e${this.#events.push({ stream, message })}`;
  }

  async replayEventsAfter(
    lastEventId: string,
    { send }: Parameters<EventStore['replayEventsAfter']>[1],
  ): Promise<string> {
    const from = Number(lastEventId.slice(1));
    const { stream } = this.#events[from - 1]!;
    for (const [index, event] of this.#events.entries()) {
      if (index >= from && event.stream === stream) await send(`e${index + 1}`, event.message);
    }
    return stream;
  }
}
