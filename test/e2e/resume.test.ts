import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { type ClientRequest, type IncomingMessage, request } from 'node:http';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { after, before, describe, test } from 'node:test';
import { Client, StreamableHTTPClientTransport } from '@modelcontextprotocol/client';
import { Client as OldClient } from '@modelcontextprotocol/sdk/client/index.js';
import { StreamableHTTPClientTransport as OldTransport } from '@modelcontextprotocol/sdk/client/streamableHttp.js';
import { startFixture } from '../conformance/fixture/server.ts';
import { type Agent, type Loose, newAgent, writeConfig } from '../support/agent.ts';
import { eventually } from '../support/processes.ts';
import { startCastellan, type TestCastellan } from '../support/running-castellan.ts';

const EVERYTHING = path.resolve(
  import.meta.dirname,
  '../../node_modules/@modelcontextprotocol/server-everything/dist/index.js',
);
const INFO = { name: 'test-client', version: '1.0.0' };
const STEPS = 12;
const LONG = {
  name: 'everything__trigger-long-running-operation',
  arguments: { duration: 1.2, steps: STEPS },
};
const EXPECTED = Array.from({ length: STEPS }, (_, at) => at + 1);

/** One request on a connection of its own, which the client can lose. */
class Wire {
  text = '';
  ended = false;
  response: IncomingMessage | undefined;
  private readonly sent: ClientRequest;

  constructor(agent: Agent, method: string, headers: object, body?: object) {
    this.sent = request(agent.url, {
      method,
      agent: false,
      headers: {
        authorization: `Bearer ${agent.token}`,
        accept: 'application/json, text/event-stream',
        ...(body && { 'content-type': 'application/json' }),
        ...headers,
      },
    });
    this.sent.on('error', () => undefined);
    this.sent.on('response', (response) => {
      this.response = response;
      response.on('data', (chunk) => {
        this.text += chunk;
      });
      response.on('end', () => {
        this.ended = true;
      });
      response.on('error', () => undefined);
    });
    this.sent.end(body && JSON.stringify(body));
  }

  get events(): { id: string; message: Loose }[] {
    const whole = this.text.slice(0, this.text.lastIndexOf('\n\n') + 2);
    return [...whole.matchAll(/^id: (\S+)\n(?:event: message\n|retry: \d+\n)data: (.*)\n\n/gm)].map(
      ([, id, data]) => ({ id: id!, message: data ? JSON.parse(data) : undefined }),
    );
  }

  get lastId(): string {
    return this.events.at(-1)!.id;
  }

  has(count: number): Promise<void> {
    return eventually(`${count} events, now ${this.text}`, () => this.events.length >= count);
  }

  end(): Promise<void> {
    return eventually('the stream ends', () => this.ended);
  }

  lose(): void {
    this.sent.destroy();
  }
}

/** Carries bytes to Castellan until it cuts every connection. */
async function startCutter(target: string) {
  const sockets = new Set<Socket>();
  const { hostname, port } = new URL(target);
  const server = createServer((near) => {
    const far = connect(Number(port), hostname);
    for (const [one, other] of [
      [near, far],
      [far, near],
    ] as const) {
      sockets.add(one);
      one.on('error', () => undefined);
      one.on('close', () => {
        sockets.delete(one);
        other.destroy();
      });
      one.pipe(other);
    }
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const cut = () => {
    for (const socket of sockets) socket.destroy();
  };
  return {
    origin: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    cut,
    [Symbol.asyncDispose]: async () => {
      cut();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

describe('a legacy client loses its connection', () => {
  const used = new AsyncDisposableStack();
  let castellan: TestCastellan;
  let agent: Agent;

  before(async () => {
    const folder = await mkdtemp(path.join(tmpdir(), 'castellan-resume-'));
    used.defer(() => rm(folder, { recursive: true }));
    const fixture = used.use(await startFixture('legacy'));
    const file = await writeConfig(
      path.join(folder, 'config.json'),
      {
        everything: { command: process.execPath, args: [EVERYTHING] },
        fixture: { url: fixture.url },
      },
      { p: { servers: ['everything', 'fixture'] } },
    );
    castellan = used.use(await startCastellan(['--config', file]));
    agent = await newAgent(castellan, 'p');
  });
  after(() => used.disposeAsync());

  async function open(protocolVersion = '2025-11-25', who = agent) {
    const capabilities = { elicitation: {} };
    const params = { protocolVersion, capabilities, clientInfo: INFO };
    const answer = await who.send({ jsonrpc: '2.0', id: 0, method: 'initialize', params });
    await answer.text();
    return {
      'mcp-session-id': answer.headers.get('mcp-session-id')!,
      'mcp-protocol-version': protocolVersion,
    };
  }

  const call = (session: object, params: object, id = 7) =>
    new Wire(agent, 'POST', session, { jsonrpc: '2.0', id, method: 'tools/call', params });
  const resume = (session: object, id: string, who = agent) =>
    new Wire(who, 'GET', { ...session, 'last-event-id': id });
  const long = (session: object) => call(session, { ...LONG, _meta: { progressToken: 't' } });

  function checkLong(wires: Wire[]): void {
    const messages = wires.flatMap((wire) => wire.events.map(({ message }) => message)).filter(Boolean);
    const progress = messages.slice(0, -1).map(({ params }) => params.progress);
    assert.deepEqual(progress, EXPECTED);
    assert.equal(messages.at(-1).id, 7);
    assert.match(messages.at(-1).result.content[0].text, /completed/);
    const ids = wires.flatMap((wire) => wire.events.map(({ id }) => id));
    assert.equal(new Set(ids).size, ids.length);
  }

  for (const revision of ['2025-11-25', '2025-06-18', '2025-03-26']) {
    test(`${revision}: twice during a call, which it then has whole`, async () => {
      const session = await open(revision);
      const first = long(session);
      await first.has(4);
      assert.equal(/^id: \S+\nretry: \d+\ndata: \n\n/.test(first.text), revision === '2025-11-25');
      first.lose();
      const second = resume(session, first.lastId);
      await second.has(3);
      second.lose();
      const third = resume(session, second.lastId);
      await third.end();
      checkLong([first, second, third]);
    });
  }

  test('and comes back when its call has ended', async () => {
    const session = await open();
    const first = long(session);
    await first.has(2);
    first.lose();
    const elsewhere = call(session, { ...LONG, _meta: { progressToken: 'u' } }, 8);
    await elsewhere.end();
    const second = resume(session, first.lastId);
    await second.end();
    checkLong([first, second]);
    assert.ok(elsewhere.events.every(({ message }) => message?.params?.progressToken !== 't'));
  });

  test('a call that takes a moment and says nothing can be resumed too', async () => {
    const session = await open();
    const first = call(session, LONG);
    await first.has(1);
    assert.equal(first.events[0]!.message, undefined);
    first.lose();
    const second = resume(session, first.lastId);
    await second.end();
    assert.equal(second.events.length, 1);
    assert.match(second.events[0]!.message.result.content[0].text, /completed/);
  });

  test('a question stays open, is answered without a stream, and the result is fetched', async () => {
    const session = await open();
    const first = call(session, { name: 'fixture__test_elicitation', arguments: { message: 'Who?' } });
    await eventually('it is asked', () => first.events.some(({ message }) => message?.method));
    const asked = first.events.find(({ message }) => message?.method)!.message;
    first.lose();
    const result = { action: 'accept', content: { username: 'ann', email: 'ann@example.com' } };
    const taken = await agent.send({ jsonrpc: '2.0', id: asked.id, result }, { headers: session });
    assert.equal(taken.status, 202);
    const second = resume(session, first.lastId);
    await second.end();
    assert.match(JSON.stringify(second.events.at(-1)!.message.result), /ann/);
  });

  test('nobody resumes what is not theirs, or what nobody knows', async () => {
    const session = await open();
    const first = long(session);
    await first.has(2);
    first.lose();
    const stranger = await newAgent(castellan, 'p');
    const theirs = await open('2025-11-25', stranger);
    const mine = await open();
    for (const [who, at, id, status] of [
      [stranger, theirs, first.lastId, 400],
      [stranger, session, first.lastId, 404],
      [agent, mine, first.lastId, 400],
      [agent, session, first.lastId.replace(/\d+$/, '999'), 400],
      [agent, session, `c${'x'.repeat(22)}-1`, 400],
      [agent, session, 'event-1', 400],
    ] as const) {
      const refused = resume(at, id, who);
      await refused.end();
      assert.equal(refused.response!.statusCode, status);
      assert.doesNotMatch(refused.text, /"(?:progress|result)"/);
    }
    const second = resume(session, first.lastId);
    await second.end();
    checkLong([first, second]);
    assert.equal((await agent.send(undefined, { method: 'DELETE', headers: session })).status, 204);
    const gone = resume(session, first.lastId);
    await gone.end();
    assert.equal(gone.response!.statusCode, 404);
  });

  test('a standing stream is resumed, or begins anew and says that lists may have changed', async () => {
    const session = await open();
    const first = new Wire(agent, 'GET', session);
    await first.has(1);
    first.lose();
    const second = resume(session, first.lastId);
    await eventually('it is open', () => second.response !== undefined);
    const third = resume(session, `s${'x'.repeat(22)}-1`);
    await third.has(4);
    const methods = third.events.map(({ message }) => message?.method);
    assert.ok(methods.includes('notifications/tools/list_changed'));
    assert.deepEqual(second.events, [], 'what one stream is told is not told to another');
    second.lose();
    third.lose();
  });

  type Options = { onprogress(progress: { progress: number }): void; timeout: number };
  type Connected = { call(options: Options): Promise<object>; close(): Promise<void> };
  const SDKS: Record<string, (url: URL, init: object) => Promise<Connected>> = {
    'SDK 1.32': async (url, init) => {
      const client = new OldClient(INFO);
      await client.connect(new OldTransport(url, init) as never);
      return { call: (options) => client.callTool(LONG, undefined, options), close: () => client.close() };
    },
    'SDK 2.4': async (url, init) => {
      const client = new Client(INFO, { versionNegotiation: { mode: 'legacy' } });
      await client.connect(new StreamableHTTPClientTransport(url, init));
      return { call: (options) => client.callTool(LONG, options), close: () => client.close() };
    },
  };
  for (const [name, start] of Object.entries(SDKS)) {
    test(`${name} resumes by itself`, async () => {
      await using cutter = await startCutter(castellan.url);
      const headers = { Authorization: `Bearer ${agent.token}` };
      const url = new URL(`${cutter.origin}/projects/p/mcp`);
      const client = await start(url, { requestInit: { headers } });
      const seen: number[] = [];
      const onprogress = ({ progress }: { progress: number }) => {
        seen.push(progress);
        if (seen.length === 4) cutter.cut();
      };
      const result = await client.call({ onprogress, timeout: 20_000 });
      assert.match(JSON.stringify(result), /completed/);
      assert.deepEqual(seen, EXPECTED);
      await client.close();
    });
  }
});
