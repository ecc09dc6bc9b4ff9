import assert from 'node:assert/strict';
import type { ServerResponse } from 'node:http';
import { describe, test } from 'node:test';
import { gzipSync } from 'node:zlib';
import { ServerClient } from '../../src/net/server-client.ts';
import type { JsonRpcMessage } from '../../src/protocol/jsonrpc.ts';
import { HttpTransport } from '../../src/upstream/http-transport.ts';
import { UpstreamFault } from '../../src/upstream/transport.ts';
import { failure, faultOf, HttpRig, MAX_BYTES, result } from '../support/http-rig.ts';
import { eventually } from '../support/processes.ts';
import { idOf, type Script, ScriptedUpstream, sendJson, startSse } from '../support/scripted-upstream.ts';

const timeout = new UpstreamFault('timeout', 'no answer in time', { sent: true });

describe('answers over Streamable HTTP', () => {
  test('a JSON answer comes with its own text, and our headers win over configured ones', async () => {
    await using it = await HttpRig.start(
      (seen, response) =>
        sendJson(response, `{"jsonrpc":"2.0", "id":${idOf(seen)},"result":{"big":1.0}}`, 200, {
          'Mcp-Session-Id': 's1',
        }),
      { Authorization: 'Bearer up', Accept: 'text/html', 'X-Team': 'a', 'Content-Length': '3' },
    );
    const answer = await it.call({ headers: { 'mcp-method': 'tools/call' } });
    assert.deepEqual(answer.message, { jsonrpc: '2.0', id: 1, result: { big: 1 } });
    assert.equal(answer.written, undefined, 'an envelope in another spelling is not cut');
    assert.equal(answer.sessionId, 's1');
    assert.equal(answer.status, undefined);
    const { headers, url, body } = it.upstream.requests[0]!;
    assert.equal(url, '/mcp?key=1');
    assert.deepEqual(JSON.parse(body), { jsonrpc: '2.0', id: 1, method: 'tools/call' });
    assert.equal(headers.accept, 'application/json, text/event-stream');
    assert.equal(headers['accept-encoding'], 'identity');
    assert.equal(headers.authorization, 'Bearer up');
    assert.equal(headers['x-team'], 'a');
    assert.equal(headers['mcp-method'], 'tools/call');
    assert.equal(headers['mcp-session-id'], undefined);
    assert.equal(headers.cookie, undefined);
  });

  test('an answer of many small pieces is put together, UTF-8 split and all', async () => {
    await using it = await HttpRig.start((seen, response) => {
      response.writeHead(200, { 'content-type': 'Application/JSON; charset=utf-8', 'set-cookie': 'a=b' });
      const bytes = Buffer.from(JSON.stringify(result(idOf(seen), { text: 'grüße 🎉'.repeat(50) })));
      for (const byte of bytes) response.write(Buffer.from([byte]));
      response.end();
    });
    assert.deepEqual((await it.call()).message, result(1, { text: 'grüße 🎉'.repeat(50) }));
    for (let again = 0; again < 9; again += 1) await it.call();
    assert.ok(it.upstream.requests.every((seen) => seen.headers.cookie === undefined));
    assert.ok(it.upstream.connections <= 2, 'connections are used again');
  });

  test('messages before the answer on an event stream go to the exchange, else to the transport', async () => {
    const progress = { jsonrpc: '2.0', method: 'notifications/progress', params: { progress: 1 } };
    await using it = await HttpRig.start((seen, response) => {
      startSse(response, { 'mcp-session-id': 's2' });
      response.write(`data: {"garbage"\n\nevent: other\ndata: ${JSON.stringify(result(1))}\n\n`);
      response.write(`data: ${JSON.stringify(progress)}\n\ndata: ${JSON.stringify(result('other'))}\n\n`);
      response.end(`data: ${JSON.stringify(result(idOf(seen), { ok: true }))}\n\n`);
    });
    const own: JsonRpcMessage[] = [];
    const answer = await it.call({ onMessage: (message) => own.push(message) });
    assert.deepEqual(answer.message, result(1, { ok: true }));
    assert.equal(answer.written?.text, '{"ok":true}');
    assert.equal(answer.sessionId, 's2');
    assert.deepEqual([own, it.stray], [[progress], []]);
    await it.call();
    assert.deepEqual(it.stray, [progress]);
    for (let again = 0; again < 8; again += 1) await it.call();
    assert.ok(it.upstream.connections <= 2, 'connections are used again');
  });

  test('nothing is heard after the answer', async () => {
    const late = `data: ${JSON.stringify({ jsonrpc: '2.0', method: 'notifications/progress' })}\n\n`;
    await using it = await HttpRig.start((seen, response) => {
      startSse(response);
      response.end(`data: ${JSON.stringify(result(idOf(seen)))}\n\n${late}`);
    });
    await it.call();
    await it.call();
    assert.deepEqual(it.stray, []);
  });

  test('a stream that goes on after the answer is cut soon', async () => {
    await using it = await HttpRig.start((seen, response) => {
      startSse(response);
      response.write(`data: ${JSON.stringify(result(idOf(seen)))}\n\n`);
    });
    await it.call();
    const sockets = [...it.upstream.sockets];
    await eventually('its socket is closed', () => sockets.every((socket) => socket.destroyed));
  });

  test('a JSON-RPC error of ours is an answer whatever its status', async () => {
    await using it = await HttpRig.start((seen, response) =>
      sendJson(response, failure(idOf(seen), -32601), 404),
    );
    const { message, status } = await it.call();
    assert.deepEqual(message, failure(1, -32601));
    assert.equal(status, 404);
    it.transport.setSession('s', '2025-11-25');
    assert.equal((await it.call()).status, 404);
    it.upstream.script = (seen, response) => sendJson(response, failure(idOf(seen), -32603), 500);
    assert.equal((await it.call()).status, 500);
  });

  test('an error without id is an answer on 4xx only outside a session', async () => {
    await using it = await HttpRig.start((_seen, response) => sendJson(response, failure(null, -32022), 400));
    const answer = await it.call();
    assert.deepEqual(answer.message, failure(null, -32022));
    assert.equal(answer.written, undefined);
    it.transport.setSession(undefined, '2025-06-18');
    const fault = await faultOf(it.call(), 'http');
    assert.equal(fault.status, 400);
    assert.match(fault.body ?? '', /-32022/);
    it.upstream.script = (_seen, response) => sendJson(response, failure(null, -32603), 500);
    it.transport.setSession(undefined, undefined);
    await faultOf(it.call(), 'http');
  });
});

describe('what a hostile HTTP upstream costs', () => {
  const cases: [string, Script, UpstreamFault['kind'], RegExp][] = [
    [
      'HTML',
      (_s, r) => void r.writeHead(200, { 'content-type': 'text/html' }).end('<html>'),
      'protocol',
      /HTML page/,
    ],
    ['no type', (_s, r) => void r.writeHead(200).end('hello'), 'protocol', /content type none/],
    ['202 to a request', (_s, r) => void r.writeHead(202).end(), 'protocol', /no answer \(HTTP 202\)/],
    ['204 to a request', (_s, r) => void r.writeHead(204).end(), 'protocol', /no answer/],
    [
      'bad JSON',
      (_s, r) => sendJson(r, '{"jsonrpc":"2.0","id":1,"result":{}'),
      'protocol',
      /no JSON-RPC message/,
    ],
    ['empty JSON', (_s, r) => sendJson(r, ''), 'protocol', /no JSON-RPC message/],
    ['wrong id', (_s, r) => sendJson(r, result(2)), 'protocol', /another request/],
    ['an error of another id', (_s, r) => sendJson(r, failure(2, -32603)), 'protocol', /another request/],
    ['an error of another id on 400', (_s, r) => sendJson(r, failure(2, -32603), 400), 'http', /HTTP 400/],
    ['id of another type', (_s, r) => sendJson(r, result('1')), 'protocol', /another request/],
    ['a batch', (_s, r) => sendJson(r, [result(1)]), 'protocol', /no JSON-RPC message/],
    [
      'result and error',
      (_s, r) => sendJson(r, { ...result(1), ...failure(1, 1) }),
      'protocol',
      /no JSON-RPC message/,
    ],
    ['a success on 500', (_s, r) => sendJson(r, result(1), 500), 'http', /HTTP 500/],
    ['plain 500', (_s, r) => void r.writeHead(500).end('secret stack'), 'http', /answered HTTP 500$/],
    [
      'endless 500',
      (_s, r) => void flood(r.writeHead(500, { 'content-type': 'text/html' })),
      'http',
      /HTTP 500/,
    ],
    [
      'gzip',
      (s, r) =>
        void r
          .writeHead(200, { 'content-type': 'application/json', 'content-encoding': 'gzip' })
          .end(gzipSync(JSON.stringify(result(idOf(s))))),
      'protocol',
      /compressed/,
    ],
    [
      'a gzip bomb',
      (_s, r) =>
        void r
          .writeHead(200, { 'content-type': 'application/json', 'content-encoding': 'gzip' })
          .end(gzipSync(Buffer.alloc(50_000_000))),
      'protocol',
      /compressed/,
    ],
    [
      'gzip on 502',
      (_s, r) => void r.writeHead(502, { 'content-encoding': 'gzip' }).end(gzipSync('x')),
      'http',
      /HTTP 502/,
    ],
    [
      'false content-length',
      (_s, r) =>
        void r
          .writeHead(200, { 'content-type': 'application/json', 'content-length': '900000000' })
          .flushHeaders(),
      'too_large',
      /1048576 bytes/,
    ],
    [
      '1 GB of JSON',
      (_s, r) => flood(r.writeHead(200, { 'content-type': 'application/json' })),
      'too_large',
      /1048576 bytes/,
    ],
    [
      '1 GB in one event',
      (_s, r) =>
        flood(
          r.writeHead(200, { 'content-type': 'text/event-stream' }).on('pipe', () => {}),
          'data: ',
        ),
      'too_large',
      /1048576 bytes/,
    ],
    [
      'a truncated stream',
      (_s, r) =>
        void r.writeHead(200, { 'content-type': 'text/event-stream' }).end('data: {"jsonrpc":"2.0","id":1,'),
      'protocol',
      /ended its event stream before the answer$/,
    ],
    [
      'a stream of strays',
      (_s, r) =>
        void r.writeHead(200, { 'content-type': 'text/event-stream' }).end('data: {}\n\ndata: 7\n\n'),
      'protocol',
      /2 of its events/,
    ],
    ['a reset', (_s, r) => void r.socket?.destroy(), 'unreachable', /closed the connection/],
    [
      'a reset inside the body',
      (_s, r) =>
        void r.writeHead(200, { 'content-type': 'application/json' }).write('{', () => r.socket?.destroy()),
      'unreachable',
      /closed the connection/,
    ],
    ['no HTTP', (_s, r) => void r.socket?.end('SSH-2.0-OpenSSH_9.2\r\n'), 'protocol', /not HTTP/],
    [
      'endless headers',
      (_s, r) => void r.socket?.write(`HTTP/1.1 200 OK\r\nx: ${'y'.repeat(100_000)}`),
      'protocol',
      /headers over the limit/,
    ],
  ];
  for (const [name, script, kind, message] of cases) {
    test(`${name}: ${kind}, and the next call is served`, async () => {
      await using it = await HttpRig.start(script);
      const fault = await faultOf(it.call(), kind);
      assert.match(fault.message, message);
      assert.equal(fault.sent, true);
      it.upstream.script = (seen, response) => sendJson(response, result(idOf(seen)));
      assert.deepEqual((await it.call({}, 2)).message, result(2));
    });
  }

  test('401 and 403 carry the challenge', async () => {
    await using it = await HttpRig.start((_seen, response) => {
      response.writeHead(401, { 'www-authenticate': 'Bearer resource_metadata="https://a/b"' }).end('{}');
    });
    assert.equal(
      (await faultOf(it.call(), 'needs_auth')).challenge,
      'Bearer resource_metadata="https://a/b"',
    );
    it.upstream.script = (_seen, response) => sendJson(response, failure(1, -32000), 403);
    const fault = await faultOf(it.call(), 'needs_auth');
    assert.deepEqual([fault.status, fault.challenge], [403, undefined]);
  });

  test('a status is enough: a body that never ends is not waited for', async () => {
    for (const [status, kind] of [
      [500, 'http'],
      [401, 'needs_auth'],
      [302, 'http'],
    ] as const) {
      await using it = await HttpRig.start((_seen, response) => response.writeHead(status).flushHeaders());
      assert.equal((await faultOf(it.call(), kind)).status, status);
      const sockets = [...it.upstream.sockets];
      await eventually('its socket is closed', () => sockets.every((socket) => socket.destroyed));
    }
  });

  test('a redirect is named by its host and not followed', async () => {
    await using elsewhere = await ScriptedUpstream.start((seen, response) =>
      sendJson(response, result(idOf(seen))),
    );
    for (const status of [301, 302, 307, 308]) {
      await using it = await HttpRig.start(
        (_seen, response) =>
          void response.writeHead(status, { location: `${elsewhere.origin}/in?token=secret` }).end(),
        { authorization: 'Bearer up' },
      );
      const fault = await faultOf(it.call(), 'http');
      assert.match(
        fault.message,
        new RegExp(`redirects to ${new URL(elsewhere.origin).host} \\(HTTP ${status}\\)`),
      );
      assert.doesNotMatch(fault.message, /secret/);
    }
    assert.equal(elsewhere.connections, 0);
  });

  test('nothing of a configured header is in any message', async () => {
    await using it = await HttpRig.start((_seen, response) => sendJson(response, {}), {
      authorization: 'Bearer top\nsecret',
    });
    const fault = await faultOf(it.call(), 'protocol');
    assert.match(fault.message, /invalid authorization header/);
    assert.doesNotMatch(fault.message, /secret/);
    assert.equal(fault.sent, false);
  });

  test('a refused connection and an unknown host were not sent', async () => {
    await using client = new ServerClient();
    const gone = await ScriptedUpstream.start(() => {});
    const { url } = gone;
    await gone[Symbol.asyncDispose]();
    const events = { onMessage: () => {}, onClosed: () => {} };
    for (const [target, message] of [
      [url, /refused the connection/],
      ['http://no-such-host.invalid/mcp', /cannot be resolved/],
    ] as const) {
      const transport = new HttpTransport({ url: target, headers: {}, client, serverName: 'x' }, events);
      const { answer } = transport.exchange({ jsonrpc: '2.0', id: 1, method: 'ping' }, { maxBytes: 9 });
      const fault = await faultOf(answer, 'unreachable');
      assert.match(fault.message, message);
      assert.equal(fault.sent, false);
      await transport.close();
    }
  });

  test('a url that is no http, or holds a credential, is refused', async () => {
    await using client = new ServerClient();
    const events = { onMessage: () => {}, onClosed: () => {} };
    for (const url of ['ftp://a/b', 'nonsense', 'http://user:hunter2@a/b']) {
      assert.throws(
        () => new HttpTransport({ url, headers: {}, client, serverName: 'x' }, events),
        (error: unknown) => error instanceof UpstreamFault && !error.message.includes('hunter2'),
      );
    }
  });

  const silences: [string, Script][] = [
    ['silence', () => {}],
    [
      'headers and then silence',
      (_s, r) => void r.writeHead(200, { 'content-type': 'application/json' }).flushHeaders(),
    ],
    ['one byte now and then', (_s, r) => drip(r.writeHead(200, { 'content-type': 'application/json' }))],
    ['a silent stream', (_s, r) => startSse(r)],
    ['comments for ever', (_s, r) => drip(r.writeHead(200, { 'content-type': 'text/event-stream' }), ':\n')],
    ['a slow 500', (_s, r) => drip(r.writeHead(500))],
  ];
  for (const [name, script] of silences) {
    test(`${name}: an abandoned call frees its socket at once`, async () => {
      await using it = await HttpRig.start(script);
      const exchange = it.transport.exchange(
        { jsonrpc: '2.0', id: 1, method: 'ping' },
        { maxBytes: MAX_BYTES },
      );
      await eventually('the request arrived', () => it.upstream.requests.length === 1);
      const sockets = [...it.upstream.sockets];
      exchange.abandon(timeout);
      exchange.abandon(new UpstreamFault('abandoned', 'again'));
      assert.equal(await exchange.answer.catch((error: unknown) => error), timeout);
      await eventually('its socket is closed', () => sockets.every((socket) => socket.destroyed), 500);
      it.upstream.script = (seen, response) => sendJson(response, result(idOf(seen)));
      await it.call();
    });
  }

  test('a call abandoned before it has a connection is never sent', async () => {
    await using it = await HttpRig.start((seen, response) => sendJson(response, result(idOf(seen))));
    const exchange = it.transport.exchange(
      { jsonrpc: '2.0', id: 1, method: 'ping' },
      { maxBytes: MAX_BYTES },
    );
    exchange.abandon(timeout);
    await assert.rejects(exchange.answer, timeout);
    await it.call({}, 2);
    assert.deepEqual(it.upstream.requests.map(idOf), [2]);
  });

  test('memory stays flat under an answer of single-byte chunks', async () => {
    await using it = await HttpRig.start((_seen, response) => {
      response.writeHead(200, { 'content-type': 'application/json' });
      const chunk = Buffer.from('1\r\n \r\n'.repeat(16_384));
      const more = (): void => {
        if (response.socket?.destroyed) return;
        if (response.socket?.write(chunk)) setImmediate(more);
        else response.socket?.once('drain', more);
      };
      response.flushHeaders();
      more();
    });
    const before = process.memoryUsage().rss;
    await faultOf(it.call({ maxBytes: 4 * MAX_BYTES }), 'too_large');
    const grown = process.memoryUsage().rss - before;
    assert.ok(grown < 150 * 1024 * 1024, `grew by ${Math.round(grown / 1024 / 1024)} MiB`);
  });

  test('close rejects what is in flight, then says so once', async () => {
    await using it = await HttpRig.start((_seen, response) => startSse(response));
    const other = it.client.lease(it.upstream.origin);
    const calls = [it.call({}, 1), it.call({}, 2)].map((call) => faultOf(call, 'unreachable'));
    const sent = it.transport
      .send({ jsonrpc: '2.0', method: 'notifications/x' })
      .catch((error: unknown) => error);
    await Promise.all([it.transport.close(), it.transport.close()]);
    await Promise.all(calls);
    assert.ok((await sent) instanceof UpstreamFault);
    assert.equal(it.closed.length, 1);
    await faultOf(it.call({}, 3), 'unreachable');
    await assert.rejects(it.transport.send({ jsonrpc: '2.0', method: 'notifications/x' }), UpstreamFault);
    await other.release();
    await eventually('the sockets are closed', () => it.upstream.sockets.size === 0);
  });
});

/** A gigabyte, as fast as it is read. */
function flood(response: ServerResponse, prefix = '"'): void {
  const block = Buffer.alloc(64 * 1024, 'x');
  response.write(prefix);
  let left = 16 * 1024;
  const more = (): void => {
    while (left > 0 && !response.destroyed) {
      left -= 1;
      if (!response.write(block)) {
        response.once('drain', more);
        return;
      }
    }
    response.end();
  };
  more();
}

function drip(response: ServerResponse, text = ' '): void {
  const timer = setInterval(() => response.write(text), 20);
  response.on('close', () => clearInterval(timer));
}
