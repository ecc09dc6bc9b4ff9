import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { Agent, Events, type Message, newAgent } from '../support/agent.ts';
import { EndpointRig, errorOf, LIST } from '../support/endpoint-rig.ts';
import { eventually } from '../support/processes.ts';

let rig: EndpointRig;

before(async () => {
  rig = await EndpointRig.start();
});
after(async () => {
  await rig[Symbol.asyncDispose]();
});

describe('the modern envelope', () => {
  const PARAMS = { name: 'modern__echo', arguments: { text: 'm' } };
  const bend = async (
    change: (request: ReturnType<Agent['modern']> & { meta: Record<string, unknown> }) => void,
  ) => {
    const request = rig.agent.modern('tools/call', PARAMS, 5);
    change({ ...request, meta: request.body.params._meta });
    return errorOf(await rig.agent.send(request.body, { headers: request.headers }));
  };
  const VERSION = 'io.modelcontextprotocol/protocolVersion';

  test('headers that disagree with the body: 400, -32020', async () => {
    const before = rig.forwarded();
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
    assert.equal(rig.forwarded(), before);
    const { body, headers } = rig.agent.modern('tools/call', PARAMS);
    Object.assign(headers, { 'mcp-name': '  =?base64?bW9kZXJuX19lY2hv?=  ' });
    assert.equal((await rig.agent.send(body, { headers })).status, 200);
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
      await rig.agent.send(LIST, { headers: { 'mcp-protocol-version': '2027-01-01' } }),
    );
    assert.deepEqual([unsupported.status, unsupported.code], [400, -32022]);
    assert.ok(
      unsupported.data.supported.includes('2026-07-28') && unsupported.data.supported.includes('2025-11-25'),
    );
  });

  test('session and resumption headers mean nothing, and no session is named', async () => {
    const { body, headers } = rig.agent.modern('tools/call', PARAMS);
    const response = await rig.agent.send(body, {
      headers: { ...headers, 'mcp-session-id': 'x', 'last-event-id': '9' },
    });
    assert.equal(response.status, 200);
    assert.equal(response.headers.get('mcp-session-id'), null);
  });

  test('a client that closes the stream cancels its call upstream', async () => {
    for (const [name, oracle] of [
      ['modern__hold', rig.modern],
      ['legacy__hold', rig.legacy],
    ] as const) {
      const before = oracle.calls.length;
      const client = new AbortController();
      const asked = rig.agent.sendModern('tools/call', { name, arguments: {} }, client.signal);
      const call = await oracle.arrival(before);
      client.abort();
      await assert.rejects(asked);
      await eventually(`${name} is cancelled`, () => call.left, 1_000);
    }
    await eventually(
      'the legacy server is told',
      () => rig.legacy.methods.includes('notifications/cancelled'),
      1_000,
    );
  });
});

describe('legacy sessions', () => {
  test('a session opens to its own principal on its own surface, until it is deleted', async () => {
    const session = await rig.agent.openSession();
    assert.equal((await rig.agent.send(LIST, { headers: session })).status, 200);
    const both = await newAgent(rig.castellan, 'p', { surfaces: ['consumer', 'operator'] });
    const own = await both.openSession();
    const operator = new Agent(`${rig.castellan.url}/projects/p/operator-mcp`, both.token);
    const unknown = await errorOf(await rig.other.send(LIST, { headers: { 'mcp-session-id': 'made-up' } }));
    assert.equal(unknown.status, 404);
    const cut = { 'mcp-session-id': session['mcp-session-id'].slice(0, -2) };
    const twice = { 'mcp-session-id': `${session['mcp-session-id']}, ${session['mcp-session-id']}` };
    const refused = [
      rig.other.send(LIST, { headers: session }),
      rig.other.send(undefined, { method: 'GET', headers: session }),
      rig.other.send(undefined, { method: 'DELETE', headers: session }),
      operator.send(LIST, { headers: own }),
      rig.agent.send(LIST, { headers: cut }),
      rig.agent.send(LIST, { headers: twice }),
    ];
    for (const response of await Promise.all(refused)) assert.deepEqual(await errorOf(response), unknown);

    const stream = new Events(await rig.agent.send(undefined, { method: 'GET', headers: session }));
    assert.equal((await rig.agent.send(undefined, { method: 'DELETE', headers: session })).status, 204);
    for (const method of ['POST', 'GET', 'DELETE']) {
      const body = method === 'POST' ? LIST : undefined;
      assert.equal((await rig.agent.send(body, { method, headers: session })).status, 404, method);
    }
    assert.equal(await stream.ended, true, 'the stream of the session ends with it');
  });

  test('notifications/cancelled ends the call that it names; a lost connection does not', async () => {
    const session = await rig.agent.openSession();
    const hold = {
      jsonrpc: '2.0',
      id: 'h',
      method: 'tools/call',
      params: { name: 'legacy__hold', arguments: {} },
    };
    const note = { jsonrpc: '2.0', method: 'notifications/cancelled', params: { requestId: 'h' } };
    const before = rig.legacy.calls.length;
    const held = rig.agent.send(hold, { headers: session });
    const call = await rig.legacy.arrival(before);
    const elsewhere = await rig.agent.openSession();
    for (const headers of [elsewhere, {}]) {
      assert.equal((await rig.agent.send(note, { headers })).status, 202);
    }
    assert.equal((await rig.other.send(note, { headers: await rig.other.openSession() })).status, 202);
    assert.equal(call.left, false, 'nobody else can cancel it');
    assert.equal((await rig.agent.send(note, { headers: session })).status, 202);
    await eventually('it is cancelled upstream', () => call.left, 1_000);
    const { result } = (await (await held).json()) as Message;
    assert.equal(result?._meta['castellan/error'].code, 'CANCELLED');

    const client = new AbortController();
    const lost = rig.agent.send(hold, { headers: session, signal: client.signal });
    const second = await rig.legacy.arrival(before + 1);
    client.abort();
    await assert.rejects(lost);
    await eventually('the connection is gone', async () => (await rig.openStreams()) === 1);
    assert.equal(second.left, false);
    rig.legacy.letGo();
    await eventually('the call has ended', async () => (await rig.openStreams()) === 0);
    assert.equal(second.left, false);
  });

  test('methods that are none here: 405', async () => {
    const { host } = new URL(rig.castellan.url);
    for (const method of ['GET', 'DELETE', 'PUT', 'PATCH', 'HEAD', 'TRACE', 'OPTIONS']) {
      const head = [
        `${method} /projects/p/mcp HTTP/1.1`,
        `host: ${host}`,
        rig.authorization(),
        'connection: close',
      ];
      const response = await rig.raw(`${head.join('\r\n')}\r\n\r\n`);
      assert.equal(response.status, 405, method);
      assert.match(response.text, /allow: POST/i);
    }
    const session = { ...(await rig.agent.openSession()), 'mcp-protocol-version': '2026-07-28' };
    for (const method of ['GET', 'DELETE']) {
      assert.equal(
        (await rig.agent.send(undefined, { method, headers: session })).status,
        405,
        `modern ${method}`,
      );
    }
  });
});
