import assert from 'node:assert/strict';
import { once } from 'node:events';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import type { ServerResponse } from 'node:http';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { after, before, describe, test } from 'node:test';
import { gzipSync } from 'node:zlib';
import {
  type Agent,
  Agent as AnyAgent,
  administrate,
  Events,
  type Loose,
  type Message,
  newAgent,
  writeConfig,
} from '../support/agent.ts';
import { OracleUpstream } from '../support/oracle-upstream.ts';
import { eventually } from '../support/processes.ts';
import { startCastellan, type TestCastellan } from '../support/running-castellan.ts';
import { idOf, ScriptedUpstream, type Seen, sendJson, startSse } from '../support/scripted-upstream.ts';

const HOSTILE = path.join(import.meta.dirname, '../support/hostile-server.ts');
const BODY_CAP = 4 * 1024 * 1024;
const LIST = { jsonrpc: '2.0', id: 1, method: 'tools/list' };
const echo = (text: string, id: unknown = 1) => ({
  jsonrpc: '2.0',
  id,
  method: 'tools/call',
  params: { name: 'legacy__echo', arguments: { text } },
});

/** Names that every JavaScript object has. */
const AWKWARD = ['constructor', 'toString', 'hasOwnProperty'];

let folder: string;
const used = new AsyncDisposableStack();
let castellan: TestCastellan;
let legacy: OracleUpstream;
let modern: OracleUpstream;
let odd: ScriptedUpstream;
/** Of the project `p`; `other` is another principal of it. */
let agent: Agent & { tokenName: string };
let other: Agent;

before(async () => {
  folder = await mkdtemp(path.join(tmpdir(), 'castellan-endpoint-'));
  used.defer(() => rm(folder, { recursive: true }));
  legacy = used.use(
    await OracleUpstream.start('legacy', ['echo', 'hold', 'secret_one', 'old_name', ...AWKWARD]),
  );
  modern = used.use(await OracleUpstream.start('modern'));
  odd = used.use(await ScriptedUpstream.start(answerOddly));
  const tools = { deny: ['secret_*'], override: { old_name: { name: 'new_name' } } };
  const stdio = (name: string, ...more: string[]) => ({
    command: process.execPath,
    args: [HOSTILE, path.join(folder, name), ...more],
  });
  const file = await writeConfig(
    path.join(folder, 'config.json'),
    {
      legacy: { url: legacy.url, tools },
      modern: { url: modern.url },
      changing: stdio('changing'),
      workshop: stdio('workshop'),
      gone: { url: 'http://127.0.0.1:1/mcp' },
      alone: { url: 'http://127.0.0.1:1/mcp' },
      ...Object.fromEntries(ODD.map((_, at) => [`odd${at}`, { url: `${odd.origin}/${at}`, tools }])),
    },
    {
      p: { servers: ['legacy', 'modern', 'changing'], operatorServers: ['workshop'] },
      q: { servers: ['modern'] },
      half: { servers: ['gone', 'modern'] },
      none: { servers: ['alone'] },
      odd: { servers: ODD.map((_, at) => `odd${at}`) },
    },
  );
  castellan = used.use(await startCastellan(['--config', file]));
  [agent, other] = await Promise.all([newAgent(castellan, 'p'), newAgent(castellan, 'p')]);
  await agent.ask('tools/list');
});
after(() => used.disposeAsync());

const listing = (id: unknown) => ({
  jsonrpc: '2.0',
  id,
  result: { resultType: 'complete', tools: [{ name: 'secret_plan', inputSchema: { type: 'object' } }] },
});

/** Ways to answer tools/list that a careless reader would hand on as they are. */
const ODD: ((id: unknown, response: ServerResponse) => void)[] = [
  (id, response) => sendJson(response, listing(id)),
  (id, response) => {
    startSse(response);
    response.write('data: {"jsonrpc":"2.0","method":"notifications/message","params":{"level":"info"}}\n\n');
    response.write('data: {secret_plan\n\n: secret_plan\nsecret_plan: x\n\n');
    response.end(`data: ${JSON.stringify(listing(id))}\n\n`);
  },
  (id, response) => sendJson(response, listing(id), 500),
  (id, response) => sendJson(response, listing(id), 404),
  (id, response) => sendJson(response, listing(id), 200, { 'content-type': 'text/html' }),
  (_, response) => sendJson(response, listing('nobody')),
  (id, response) => sendJson(response, { ...listing(id), error: { code: 1, message: 'both' } }),
  (id, response) => sendJson(response, [listing(id)]),
  (id, response) => sendJson(response, `${JSON.stringify(listing(id))}}`),
  (id, response) => {
    startSse(response);
    response.end(`data: ${JSON.stringify(listing(id))}`);
  },
  (_, response) => {
    response.writeHead(200, { 'content-type': 'application/json', 'content-length': 999 });
    response.write(JSON.stringify(listing('cut')), () => response.destroy());
  },
];

function answerOddly(seen: Seen, response: ServerResponse): void {
  const id = idOf(seen);
  const { method } = JSON.parse(seen.body) as { method: string };
  if (method === 'tools/list') {
    ODD[Number(seen.url.slice(1))]!(id, response);
    return;
  }
  const result = { resultType: 'complete', supportedVersions: ['2026-07-28'], capabilities: { tools: {} } };
  sendJson(response, { jsonrpc: '2.0', id, result });
}

const forwarded = () => legacy.calls.length + modern.calls.length;

/** Sends bytes as they are and reads until the server closes; the status and the whole answer. */
async function raw(...parts: (string | Buffer)[]): Promise<{ status: number; text: string }> {
  const { port } = new URL(castellan.url);
  const socket = connect(Number(port), '127.0.0.1');
  let text = '';
  socket.setTimeout(10_000, () => socket.destroy());
  socket.on('error', () => undefined);
  socket.on('data', (chunk) => {
    text += chunk;
  });
  const closed = new Promise((resolve) => socket.on('close', resolve));
  for (const part of parts) socket.write(part);
  await closed;
  return { status: Number(/^HTTP\/1\.1 (\d+)/.exec(text)?.[1]), text };
}

/** A request to `agent`'s endpoint, head by hand. */
function rawPost(
  head: string[],
  body: string,
  target = '/projects/p/mcp',
): Promise<{ status: number; text: string }> {
  const lines = [
    `POST ${target} HTTP/1.1`,
    ...head,
    'content-type: application/json',
    `content-length: ${Buffer.byteLength(body)}`,
    'connection: close',
  ];
  return raw(`${lines.join('\r\n')}\r\n\r\n${body}`);
}

const authorization = () => `authorization: Bearer ${agent.token}`;

async function errorOf(
  response: Response,
): Promise<{ status: number; code: number; message: string; data: Loose; id: unknown }> {
  const { error, id } = (await response.json()) as Message;
  assert.ok(error, 'an error is expected');
  return { status: response.status, id, ...error, data: error.data };
}

describe('credentials', () => {
  test('none, a bad one, one with a wrong checksum: 401 with a challenge, before anything is read', async () => {
    const without = await new AnyAgent(agent.url, undefined).send('not even JSON');
    assert.equal(without.status, 401);
    const challenge = without.headers.get('www-authenticate') ?? '';
    assert.match(challenge, /^Bearer /);
    assert.doesNotMatch(challenge, /error/);
    const token = agent.token!;
    const swapped = token.at(-1) === 'a' ? 'b' : 'a';
    const wrong = [
      token.slice(0, -1) + swapped,
      `${token}x`,
      token.slice(0, -1),
      token.toUpperCase(),
      'cst_pat_',
      'x',
    ];
    const bodies = new Set<string>();
    for (const one of wrong) {
      const response = await new AnyAgent(agent.url, one).send(LIST);
      assert.equal(response.status, 401, one);
      assert.match(response.headers.get('www-authenticate') ?? '', /error="invalid_token"/);
      bodies.add(await response.text());
    }
    assert.equal(bodies.size, 1, 'all are answered alike');
  });

  test('a token anywhere but in the header opens nothing and is in no log', async () => {
    const { token, url } = agent;
    const stranger = new AnyAgent(url, undefined);
    const asked = [
      new AnyAgent(`${url}?access_token=${token}`, undefined).send(LIST),
      stranger.send(`access_token=${token}`, {
        headers: { 'content-type': 'application/x-www-form-urlencoded' },
      }),
      stranger.send(LIST, { headers: { cookie: `token=${token}; access_token=${token}` } }),
      stranger.send(LIST, {
        headers: { 'x-forwarded-user': 'admin', 'x-user': 'admin', authorization: `Basic ${token}` },
      }),
    ];
    for (const response of await Promise.all(asked)) assert.equal(response.status, 401);
    const inPath = await new AnyAgent(`${castellan.url}/projects/${token}/mcp`, token).send(LIST);
    assert.equal(inPath.status, 403);
    assert.ok(!castellan.stderr().includes(token!.slice(8)));
  });

  test('another project and one that does not exist are refused alike; so is the other surface', async () => {
    const at = (project: string, endpoint = 'mcp') =>
      new AnyAgent(`${castellan.url}/projects/${project}/${endpoint}`, agent.token).send(LIST);
    const refused = await Promise.all([at('q'), at('absent'), at('%2e%2e'), at('p%00'), at('P'), at('%zz')]);
    const texts = await Promise.all(refused.map((one) => one.text()));
    assert.deepEqual(
      refused.map((one) => one.status),
      [403, 403, 403, 403, 403, 403],
    );
    assert.equal(new Set(texts).size, 1);
    assert.equal((await at('p', 'operator-mcp')).status, 403);
    assert.equal((await new AnyAgent(`${castellan.url}/mcp`, agent.token).send(LIST)).status, 403);
  });

  test('what upstream servers see carries nothing of ours', async () => {
    await agent.send(echo('x'), {
      headers: { cookie: 'a=b', 'x-api-key': 'k', 'x-forwarded-for': '1.2.3.4' },
    });
    for (const { headers, body, url } of [...legacy.requests, ...modern.requests]) {
      const seen = JSON.stringify(headers) + body + url;
      assert.ok(!seen.includes('cst_'));
      for (const name of ['cookie', 'authorization', 'x-api-key', 'x-forwarded-for', 'mcp-session-id']) {
        assert.equal(headers[name], undefined, name);
      }
    }
  });
});

describe('who may speak to it', () => {
  test('a foreign Origin is refused on every route, before parsing; ours and none are taken', async () => {
    const { port, host } = new URL(castellan.url);
    const evil = [
      'http://evil.example',
      'null',
      'http://localhost.evil.com',
      `http://127.0.0.1.nip.io:${port}`,
      `http://localhost:${Number(port) + 1}`,
      `https://localhost:${port}`,
      `HTTP://LOCALHOST:${port}`,
      `http://localhost:${port}/`,
      `http://localhost:${port}, http://localhost:${port}`,
      '',
    ];
    for (const origin of evil) {
      const response = await rawPost([`host: ${host}`, authorization(), `origin: ${origin}`], '{"not json');
      assert.equal(response.status, 403, `origin ${origin}`);
      assert.doesNotMatch(response.text, /access-control-allow/i);
    }
    for (const route of ['/', '/healthz', '/metrics', '/api/v1/version', '/operator-mcp', '/nowhere']) {
      const response = await fetch(castellan.url + route, { headers: { origin: 'http://evil.example' } });
      assert.equal(response.status, 403, route);
    }
    for (const name of ['localhost', '127.0.0.1', '[::1]']) {
      const own = await agent.send(LIST, { headers: { origin: `http://${name}:${port}` } });
      assert.equal(own.status, 200, name);
    }
    const preflight = await fetch(agent.url, {
      method: 'OPTIONS',
      headers: { origin: `http://localhost:${port}` },
    });
    assert.equal(preflight.headers.get('access-control-allow-origin'), null);
    assert.notEqual(preflight.status, 200);
  });

  test('a Host that is no loopback name, none, two, and a target in absolute form are refused', async () => {
    const { port, host } = new URL(castellan.url);
    const body = JSON.stringify(echo('host'));
    const before = forwarded();
    const heads = [
      ['host: evil.example'],
      [`host: localhost.evil.example:${port}`],
      [`host: 127.0.0.1.nip.io:${port}`],
      ['host:'],
      [],
      [`host: ${host}`, 'host: evil.example'],
      ['host: evil.example', `host: ${host}`],
      [`host: user@${host}`],
      [`host: ${host}, evil.example`],
      ['host: 0x7f000001'],
    ];
    for (const head of heads) {
      const response = await rawPost([...head, authorization()], body);
      assert.ok([400, 403, 421].includes(response.status), `${JSON.stringify(head)}: ${response.status}`);
    }
    for (const target of [`http://evil.example/projects/p/mcp`, `${castellan.url}/projects/p/mcp`, '*']) {
      const response = await rawPost([`host: ${host}`, authorization()], body, target);
      assert.ok([400, 403, 421].includes(response.status), `${target}: ${response.status}`);
    }
    assert.equal(forwarded(), before);
    const accepted = await rawPost([`host: LocalHost:${port}`, authorization()], body);
    assert.equal(accepted.status, 200);
  });

  test('forwarding headers of a stranger change no link', async () => {
    const headers = {
      'x-forwarded-host': 'evil.example',
      forwarded: 'host=evil.example',
      'x-forwarded-proto': 'https',
    };
    const page = await (await fetch(castellan.url, { headers })).text();
    assert.ok(page.includes(`${castellan.url}/projects/PROJECT/mcp`));
    assert.ok(!page.includes('evil'));
    const metrics = await fetch(`${castellan.url}/metrics`, { headers: { 'x-forwarded-for': '127.0.0.1' } });
    assert.equal(metrics.status, 403);
  });
});

describe('bodies', () => {
  test('other media types and codings: 415, nothing forwarded', async () => {
    const before = forwarded();
    const body = JSON.stringify(echo('type'));
    const types = [
      'text/plain',
      'application/jsonx',
      'application/json;charset=utf-16',
      'application/json; charset=utf-8; charset=utf-16',
      'multipart/form-data; boundary=x',
      'application/x-www-form-urlencoded',
      '',
    ];
    for (const type of types) {
      const response = await agent.send(body, { headers: { 'content-type': type } });
      assert.equal(response.status, 415, type);
    }
    for (const coding of ['gzip', 'br', 'zstd', 'deflate', 'identity, gzip']) {
      const compressed = gzipSync(Buffer.alloc(10 << 20, ' '));
      const response = await agent.send(compressed.toString('latin1'), {
        headers: { 'content-encoding': coding },
      });
      assert.equal(response.status, 415, coding);
    }
    assert.equal(forwarded(), before);
    for (const type of [
      'APPLICATION/JSON',
      'application/json; charset=UTF-8',
      'application/json;charset="utf-8"',
    ]) {
      assert.equal((await agent.send(body, { headers: { 'content-type': type } })).status, 200, type);
    }
  });

  test('over the cap, announced or not: 413 that names it, memory flat', async () => {
    const residents = async () =>
      Number(/VmRSS:\s+(\d+)/.exec(await readFile(`/proc/${castellan.process.pid}/status`, 'utf8'))?.[1]) /
      1024;
    const before = await residents();
    const fits = JSON.stringify(echo('y'));
    const padded = fits + ' '.repeat(BODY_CAP - fits.length);
    assert.equal((await agent.send(padded)).status, 200);
    const announced = await agent.send(`${padded} `);
    assert.equal(announced.status, 413);
    assert.match(await announced.text(), new RegExp(`${BODY_CAP}`));

    const { host } = new URL(castellan.url);
    const head = [
      'POST /projects/p/mcp HTTP/1.1',
      `host: ${host}`,
      authorization(),
      'content-type: application/json',
    ];
    const piece = Buffer.alloc(1 << 20, ' ');
    const pieces = Array.from({ length: 200 }, () =>
      Buffer.concat([Buffer.from(`${piece.length.toString(16)}\r\n`), piece, Buffer.from('\r\n')]),
    );
    const chunked = await raw(`${[...head, 'transfer-encoding: chunked'].join('\r\n')}\r\n\r\n`, ...pieces);
    assert.equal(chunked.status, 413);
    const lying = await raw(`${[...head, 'content-length: 99999999999'].join('\r\n')}\r\n\r\n${fits}`);
    assert.equal(lying.status, 413);
    const both = await raw(
      `${[...head, 'content-length: 5', 'transfer-encoding: chunked'].join('\r\n')}\r\n\r\n0\r\n\r\n`,
    );
    assert.equal(both.status, 400);
    const grown = (await residents()) - before;
    assert.ok(grown < 50, `${grown} MB more`);
  });

  test('what is no single JSON-RPC message: 400 with a JSON-RPC error, nothing forwarded', async () => {
    const before = forwarded();
    const deep = `${'['.repeat(100_000)}${']'.repeat(100_000)}`;
    const call = JSON.stringify(echo('z'));
    const cases: [string, number][] = [
      ['[]', -32600],
      [`[${call}]`, -32600],
      [`[[${call}]]`, -32600],
      [`[${Array(10_000).fill(call).join(',')}]`, -32600],
      ['', -32700],
      ['{"jsonrpc":"2.0"', -32700],
      ['{"\\x":1}', -32700],
      ['{"a\\', -32700],
      [`\uFEFF${call}`, -32700],
      ['null', -32600],
      ['"text"', -32600],
      [deep, -32600],
      [`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"a":${deep}}}`, -32600],
      [call.replace('"method"', '"method":"ping","method"'), -32600],
      [call.replace('"name"', '"name":"modern__echo","name"'), -32600],
      [call.replace('"name"', '"n\\u0061me":"modern__echo","name"'), -32600],
      [call.replace('"2.0"', '"1.0"'), -32600],
      [call.replace('"id":1', '"id":null'), -32600],
      [call.replace('"id":1', '"id":1.5'), -32600],
      [call.replace('"id":1', '"id":9007199254740993'), -32600],
      [call.replace('"id":1', '"id":{}'), -32600],
      ['{"jsonrpc":"2.0","id":1,"method":"tools/list","params":[]}', -32600],
    ];
    for (const [body, code] of cases) {
      const error = await errorOf(await agent.send(body));
      assert.deepEqual([error.status, error.code], [400, code], body.slice(0, 80));
    }
    const bytes = Buffer.concat([
      Buffer.from('{"jsonrpc":"2.0","id":"'),
      Buffer.from([0xff]),
      Buffer.from('"}'),
    ]);
    const { host } = new URL(castellan.url);
    const head = [
      'POST /projects/p/mcp HTTP/1.1',
      `host: ${host}`,
      authorization(),
      'content-type: application/json',
    ];
    const invalid = await raw(
      `${[...head, `content-length: ${bytes.length}`, 'connection: close'].join('\r\n')}\r\n\r\n`,
      bytes,
    );
    assert.equal(invalid.status, 400);
    assert.equal(forwarded(), before);
  });

  test('ids come back as they were sent, and answers go to whom they belong', async () => {
    for (const id of ['', '1', 0, -1, 9007199254740991, 'x'.repeat(100_000), '\u0000"\\']) {
      const answer = (await (await agent.send(echo('id', id))).json()) as Message;
      assert.deepEqual(answer.id, id);
    }
    const rounds = Array.from({ length: 300 }, async (_, number) => {
      const who = [agent, other][number % 2]!;
      const answer = (await (await who.send(echo(`${number}`, 7))).json()) as Message;
      assert.deepEqual(JSON.parse(answer.result?.content[0].text), { text: `${number}` });
    });
    await Promise.all(rounds);
  });
});

describe('the modern envelope', () => {
  const PARAMS = { name: 'modern__echo', arguments: { text: 'm' } };
  const bend = async (
    change: (request: ReturnType<Agent['modern']> & { meta: Record<string, unknown> }) => void,
  ) => {
    const request = agent.modern('tools/call', PARAMS, 5);
    change({ ...request, meta: request.body.params._meta });
    return errorOf(await agent.send(request.body, { headers: request.headers }));
  };
  const VERSION = 'io.modelcontextprotocol/protocolVersion';

  test('headers that disagree with the body: 400, -32020', async () => {
    const before = forwarded();
    const changes: ((headers: Record<string, string>) => void)[] = [
      (headers) => delete headers['mcp-protocol-version'],
      (headers) => delete headers['mcp-method'],
      (headers) => delete headers['mcp-name'],
      (headers) => Object.assign(headers, { 'mcp-method': 'tools/list' }),
      (headers) => Object.assign(headers, { 'mcp-method': 'TOOLS/CALL' }),
      (headers) => Object.assign(headers, { 'mcp-method': 'tools/call, tools/call' }),
      (headers) => Object.assign(headers, { 'mcp-name': 'modern__hold' }),
      (headers) => Object.assign(headers, { 'mcp-name': 'Modern__echo' }),
      (headers) => Object.assign(headers, { 'mcp-name': '=?base64?bW9kZXJuX19lY2hv' }),
      (headers) => Object.assign(headers, { 'mcp-name': '=?BASE64?bW9kZXJuX19lY2hv?=' }),
      (headers) => Object.assign(headers, { 'mcp-name': '=?base64?bW9kZXJuX19lY2h?=' }),
      (headers) => Object.assign(headers, { 'mcp-protocol-version': '2025-11-25' }),
    ];
    for (const change of changes) {
      const error = await bend(({ headers }) => void change(headers));
      assert.deepEqual([error.status, error.code, error.id], [400, -32020, 5], change.toString());
    }
    assert.equal(forwarded(), before);
    const { body, headers } = agent.modern('tools/call', PARAMS);
    Object.assign(headers, { 'mcp-name': '  =?base64?bW9kZXJuX19lY2hv?=  ' });
    assert.equal((await agent.send(body, { headers })).status, 200);
  });

  test('a missing or wrong envelope: -32602, -32022, -32601, each with its status', async () => {
    const cases: [Parameters<typeof bend>[0], number, number][] = [
      [({ body }) => Object.assign(body.params, { _meta: undefined }), 400, -32602],
      [({ meta }) => delete meta['io.modelcontextprotocol/clientCapabilities'], 400, -32602],
      [({ meta }) => delete meta[VERSION], 400, -32602],
      [
        ({ meta, headers }) => {
          meta[VERSION] = '2027-01-01';
          headers['mcp-protocol-version'] = '2027-01-01';
        },
        400,
        -32022,
      ],
      ...['initialize', 'ping', 'logging/setLevel', 'resources/subscribe', 'constructor', '__proto__'].map(
        (method): [Parameters<typeof bend>[0], number, number] => [
          ({ body, headers }) => {
            body.method = method;
            headers['mcp-method'] = method;
          },
          404,
          -32601,
        ],
      ),
    ];
    for (const [change, status, code] of cases) {
      const error = await bend(change);
      assert.deepEqual([error.status, error.code], [status, code], change.toString());
    }
    const unsupported = await errorOf(
      await agent.send(LIST, { headers: { 'mcp-protocol-version': '2027-01-01' } }),
    );
    assert.deepEqual([unsupported.status, unsupported.code], [400, -32022]);
    assert.ok(
      unsupported.data.supported.includes('2026-07-28') && unsupported.data.supported.includes('2025-11-25'),
    );
  });

  test('session and resumption headers mean nothing, and no session is named', async () => {
    const { body, headers } = agent.modern('tools/call', PARAMS);
    const response = await agent.send(body, {
      headers: { ...headers, 'mcp-session-id': 'x', 'last-event-id': '9' },
    });
    assert.equal(response.status, 200);
    assert.equal(response.headers.get('mcp-session-id'), null);
  });

  test('a client that closes the stream cancels its call upstream', async () => {
    for (const [name, oracle] of [
      ['modern__hold', modern],
      ['legacy__hold', legacy],
    ] as const) {
      const before = oracle.calls.length;
      const client = new AbortController();
      const asked = agent.sendModern('tools/call', { name, arguments: {} }, client.signal);
      const call = await oracle.arrival(before);
      client.abort();
      await assert.rejects(asked);
      await eventually(`${name} is cancelled`, () => call.left, 1_000);
    }
    await eventually(
      'the legacy server is told',
      () => legacy.methods.includes('notifications/cancelled'),
      1_000,
    );
  });
});

describe('legacy sessions', () => {
  test('a session opens to its own principal on its own surface, until it is deleted', async () => {
    const session = await agent.openSession();
    assert.equal((await agent.send(LIST, { headers: session })).status, 200);
    const both = await newAgent(castellan, 'p', { surfaces: ['consumer', 'operator'] });
    const own = await both.openSession();
    const operator = new AnyAgent(`${castellan.url}/projects/p/operator-mcp`, both.token);
    const unknown = await errorOf(await other.send(LIST, { headers: { 'mcp-session-id': 'made-up' } }));
    assert.equal(unknown.status, 404);
    const cut = { 'mcp-session-id': session['mcp-session-id'].slice(0, -2) };
    const twice = { 'mcp-session-id': `${session['mcp-session-id']}, ${session['mcp-session-id']}` };
    const refused = [
      other.send(LIST, { headers: session }),
      other.send(undefined, { method: 'GET', headers: session }),
      other.send(undefined, { method: 'DELETE', headers: session }),
      operator.send(LIST, { headers: own }),
      agent.send(LIST, { headers: cut }),
      agent.send(LIST, { headers: twice }),
    ];
    for (const response of await Promise.all(refused)) assert.deepEqual(await errorOf(response), unknown);

    const stream = new Events(await agent.send(undefined, { method: 'GET', headers: session }));
    assert.equal((await agent.send(undefined, { method: 'DELETE', headers: session })).status, 204);
    for (const method of ['POST', 'GET', 'DELETE']) {
      const body = method === 'POST' ? LIST : undefined;
      assert.equal((await agent.send(body, { method, headers: session })).status, 404, method);
    }
    assert.equal(await stream.ended, true, 'the stream of the session ends with it');
  });

  test('notifications/cancelled ends the call that it names; a lost connection does not', async () => {
    const session = await agent.openSession();
    const hold = {
      jsonrpc: '2.0',
      id: 'h',
      method: 'tools/call',
      params: { name: 'legacy__hold', arguments: {} },
    };
    const note = { jsonrpc: '2.0', method: 'notifications/cancelled', params: { requestId: 'h' } };
    const before = legacy.calls.length;
    const held = agent.send(hold, { headers: session });
    const call = await legacy.arrival(before);
    const elsewhere = await agent.openSession();
    for (const headers of [elsewhere, {}]) {
      assert.equal((await agent.send(note, { headers })).status, 202);
    }
    assert.equal((await other.send(note, { headers: await other.openSession() })).status, 202);
    assert.equal(call.left, false, 'nobody else can cancel it');
    assert.equal((await agent.send(note, { headers: session })).status, 202);
    await eventually('it is cancelled upstream', () => call.left, 1_000);
    const { result } = (await (await held).json()) as Message;
    assert.equal(result?._meta['castellan/error'].code, 'CANCELLED');

    const client = new AbortController();
    const lost = agent.send(hold, { headers: session, signal: client.signal });
    const second = await legacy.arrival(before + 1);
    client.abort();
    await assert.rejects(lost);
    await eventually('the connection is gone', async () => (await openStreams()) === 1);
    assert.equal(second.left, false);
    legacy.letGo();
    await eventually('the call has ended', async () => (await openStreams()) === 0);
    assert.equal(second.left, false);
  });

  test('methods that are none here: 405', async () => {
    const { host } = new URL(castellan.url);
    for (const method of ['GET', 'DELETE', 'PUT', 'PATCH', 'HEAD', 'TRACE', 'OPTIONS']) {
      const head = [
        `${method} /projects/p/mcp HTTP/1.1`,
        `host: ${host}`,
        authorization(),
        'connection: close',
      ];
      const response = await raw(`${head.join('\r\n')}\r\n\r\n`);
      assert.equal(response.status, 405, method);
      assert.match(response.text, /allow: POST/i);
    }
    const session = { ...(await agent.openSession()), 'mcp-protocol-version': '2026-07-28' };
    for (const method of ['GET', 'DELETE']) {
      assert.equal(
        (await agent.send(undefined, { method, headers: session })).status,
        405,
        `modern ${method}`,
      );
    }
  });
});

async function openStreams(): Promise<number> {
  const text = await (await fetch(`${castellan.url}/metrics`)).text();
  return Number(/^castellan_open_streams (\d+)/m.exec(text)?.[1]);
}

describe('what a surface shows', () => {
  test('unknown, hidden, renamed and other-surface tools are answered alike', async () => {
    const names = [
      'legacy__nothing',
      'legacy__secret_one',
      'legacy__old_name',
      'workshop__echo',
      'echo',
      'absent__echo',
      'gone__echo',
      'legacy__echo ',
      'LEGACY__echo',
      'constructor',
      '__proto__',
      'modern__legacy__echo',
    ];
    const before = forwarded();
    for (const name of names) {
      const asked = [
        agent.send({ jsonrpc: '2.0', id: 3, method: 'tools/call', params: { name, arguments: {} } }),
        agent.sendModern('tools/call', { name, arguments: {} }),
      ];
      for (const response of await Promise.all(asked)) {
        const { status, code, message, data } = await errorOf(response);
        assert.deepEqual(
          { status, code, data },
          { status: 200, code: -32602, data: { code: 'UNKNOWN_TOOL' } },
          name,
        );
        assert.equal(message, `Unknown tool: ${name}`);
      }
    }
    assert.equal(forwarded(), before);
    const { result } = await agent.ask('tools/list');
    const listed = result?.tools.map((tool: Loose) => tool.name);
    assert.ok(
      listed.includes('legacy__new_name') &&
        !listed.some((name: string) => /secret|old_name|workshop/.test(name)),
    );
    for (const name of AWKWARD) assert.ok(listed.includes(`legacy__${name}`), name);
    const operator = await newAgent(castellan, 'p', { surface: 'operator' });
    const theirs = (await operator.ask('tools/list')).result?.tools.map((tool: Loose) => tool.name);
    assert.ok(
      theirs.includes('workshop__echo') && theirs.every((name: string) => name.startsWith('workshop__')),
    );
  });

  test('whatever an upstream answers to tools/list, a hidden tool never shows', async () => {
    const curious = await newAgent(castellan, 'odd');
    for (const response of [await curious.send(LIST), await curious.sendModern('tools/list')]) {
      assert.equal(response.status, 200);
      assert.match(response.headers.get('content-type') ?? '', /^application\/json/);
      const text = await response.text();
      assert.doesNotMatch(text, /secret/);
      const { result } = JSON.parse(text) as Message;
      assert.deepEqual(result?.tools, []);
      const named = new Set(result?._meta['castellan/degraded'].map((one: Loose) => one.server));
      // The first two are proper answers, of which the filter leaves nothing.
      assert.deepEqual(
        [...named],
        ODD.slice(2).map((_, at) => `odd${at + 2}`),
      );
    }
    for (const at of ODD.keys()) {
      const { error, result } = await curious.call(`odd${at}__secret_plan`);
      assert.ok(error?.data.code === 'UNKNOWN_TOOL' || result?.isError === true);
    }
    assert.ok(odd.requests.every((one) => !one.body.includes('tools/call')));
  });

  test('one dead server: the rest is listed at once, and every list says what is missing and why', async () => {
    const half = await newAgent(castellan, 'half');
    await half.ask('tools/list');
    for (const method of ['tools/list', 'prompts/list', 'resources/list', 'resources/templates/list']) {
      const started = performance.now();
      const { result } = await half.ask(method);
      assert.ok(performance.now() - started < 1_000, `${method} is prompt`);
      const [degraded, ...more] = result!._meta['castellan/degraded'];
      assert.deepEqual([degraded.server, more], ['gone', []]);
      assert.ok(degraded.reason.length > 10);
    }
    const answered = await half.call('modern__echo', { text: 'fine' });
    assert.notEqual(answered.result?.isError, true);
    const refused = await half.call('gone__echo');
    assert.equal(refused.result?._meta['castellan/error'].code, 'UPSTREAM_UNAVAILABLE');

    const none = await newAgent(castellan, 'none');
    const empty = await none.ask('tools/list');
    assert.deepEqual(empty.result?.tools, []);
    assert.match(empty.result?._meta['castellan/notice'], /reached/);
  });
});

describe('streams', () => {
  const notifications = {
    toolsListChanged: true,
    taskIds: ['x'],
    resourceSubscriptions: ['file:///etc/passwd'],
  };
  const subscriptionOf = (message: Loose) =>
    (message.params ?? message.result)._meta['io.modelcontextprotocol/subscriptionId'];

  test('a subscription is acknowledged first, with what is honoured, and hears of changes', async () => {
    await agent.call('changing__echo');
    const { body, headers } = agent.modern('subscriptions/listen', { notifications }, 'sub-1');
    const client = new AbortController();
    const stream = new Events(await agent.send(body, { headers, signal: client.signal }));
    const quiet = agent.modern(
      'subscriptions/listen',
      { notifications: { promptsListChanged: true } },
      'sub-2',
    );
    const silent = new Events(
      await agent.send(quiet.body, { headers: quiet.headers, signal: client.signal }),
    );
    const session = await agent.openSession();
    const old = new Events(
      await agent.send(undefined, { method: 'GET', headers: session, signal: client.signal }),
    );
    await eventually(
      'the acknowledgement',
      () => stream.messages.length === 1 && silent.messages.length === 1,
    );
    const [first] = stream.messages;
    assert.equal(first!.method, 'notifications/subscriptions/acknowledged');
    assert.deepEqual(first!.params?.notifications, { toolsListChanged: true });

    await agent.call('changing__grow');
    await eventually('the change is announced', () => stream.messages.length > 1 && old.messages.length > 0);
    assert.deepEqual(
      stream.messages.map((one) => [one.method, subscriptionOf(one)]),
      [
        ['notifications/subscriptions/acknowledged', 'sub-1'],
        ['notifications/tools/list_changed', 'sub-1'],
      ],
      'fifty notices in a burst are one',
    );
    assert.ok(old.messages.some((one) => one.method === 'notifications/tools/list_changed'));
    const heard = silent.messages.map((one) => one.method);
    assert.ok(!heard.includes('notifications/tools/list_changed'), 'only what was asked for');
    const { result } = await agent.ask('tools/list');
    assert.ok(result?.tools.some((tool: Loose) => tool.name.startsWith('changing__grown')));
    client.abort();
    await eventually('all are gone', async () => (await openStreams()) === 0);
  });

  test('a stream follows its project: it hears of a reload, and then of the servers that came with it', async () => {
    const file = path.join(folder, 'config.json');
    const objects = JSON.parse(await readFile(file, 'utf8')) as Loose[];
    const client = new AbortController();
    const other = await newAgent(castellan, 'q');
    const { body, headers } = other.modern('subscriptions/listen', { notifications }, 9);
    const stream = new Events(await other.send(body, { headers, signal: client.signal }));
    await eventually('it listens', () => stream.messages.length === 1);
    const spec = { command: process.execPath, args: [HOSTILE, path.join(folder, 'late')] };
    objects.unshift({ apiVersion: 'castellan/v1', kind: 'Server', metadata: { name: 'late' }, spec });
    objects.find((one) => one.kind === 'Project' && one.metadata.name === 'q').spec.servers.push('late');
    await writeFile(file, JSON.stringify(objects));
    await administrate(castellan, 'POST', '/reload');
    await eventually('the reload is announced', () => stream.messages.length > 1);
    await other.call('late__echo');
    await eventually('its first list is announced', () => stream.messages.length > 2);
    const heard = stream.messages.length;
    await other.call('late__grow');
    await eventually('its change is announced', () => stream.messages.length > heard);
    client.abort();
    await eventually('all are gone', async () => (await openStreams()) === 0);
  });

  test('one principal holds so many streams and no more; others are not affected', async () => {
    const greedy = await newAgent(castellan, 'p');
    const client = new AbortController();
    const listen = () => {
      const { body, headers } = greedy.modern('subscriptions/listen', { notifications });
      return greedy.send(body, { headers, signal: client.signal });
    };
    const streams = await Promise.all(Array.from({ length: 300 }, listen));
    const refused = streams.filter((one) => one.status !== 200);
    assert.ok(
      refused.length >= 40 && refused.every((one) => one.status === 429 && one.headers.get('retry-after')),
    );
    assert.equal((await agent.send(echo('fine'))).status, 200);
    client.abort();
    await eventually('all are gone', async () => (await openStreams()) === 0);
    assert.equal((await greedy.send(LIST)).status, 200);
  });

  test('a revoked token is refused at once and its streams and calls end', async () => {
    const doomed = await newAgent(castellan, 'p');
    const { body, headers } = doomed.modern('subscriptions/listen', { notifications });
    const stream = new Events(await doomed.send(body, { headers }));
    const session = await doomed.openSession();
    const old = new Events(await doomed.send(undefined, { method: 'GET', headers: session }));
    const before = modern.calls.length;
    const held = doomed.sendModern('tools/call', { name: 'modern__hold', arguments: {} });
    held.catch(() => undefined);
    const call = await modern.arrival(before);
    const ticking = doomed.modern('tools/call', { name: 'changing__tick', arguments: {} });
    Object.assign(ticking.body.params._meta, { progressToken: 't' });
    const progress = new Events(await doomed.send(ticking.body, { headers: ticking.headers }));
    await eventually('it listens', () => stream.messages.length === 1 && progress.messages.length === 1);
    await administrate(castellan, 'POST', `/mcptokens/${doomed.tokenName}/revoke?project=p`);
    const revoked = performance.now();
    await Promise.all([stream.ended, old.ended, progress.ended, assert.rejects(held)]);
    await eventually('the call is cancelled upstream', () => call.left);
    const journal = path.join(folder, 'changing');
    await eventually('the call on its stream is too', async () =>
      (await readFile(journal, 'utf8')).includes('notifications/cancelled'),
    );
    assert.ok(performance.now() - revoked < 5_000);
    assert.equal((await doomed.send(LIST)).status, 401);
    assert.equal((await doomed.send(LIST, { headers: session })).status, 401);
  });

  test('SIGTERM: streams end in good order, calls in flight are answered, new ones refused', async () => {
    const { body, headers } = agent.modern('subscriptions/listen', { notifications }, 'last');
    const stream = new Events(await agent.send(body, { headers }));
    await eventually('it listens', () => stream.messages.length === 1);
    const before = legacy.calls.length;
    const held = agent.call('legacy__hold', { text: 'to the end' });
    await legacy.arrival(before);
    const exited = once(castellan.process, 'exit');
    castellan.process.kill('SIGTERM');
    assert.equal(await stream.ended, true);
    const last = stream.messages.at(-1)!;
    assert.equal(last.id, 'last');
    assert.equal(last.result?.resultType, 'complete');
    assert.equal(subscriptionOf(last), 'last');
    await assert.rejects(agent.send(LIST).then((one) => assert.ok(one.ok)));
    legacy.letGo();
    assert.deepEqual(JSON.parse((await held).result?.content[0].text), { text: 'to the end' });
    await exited;
    assert.equal(castellan.process.exitCode, 0);
  });
});
