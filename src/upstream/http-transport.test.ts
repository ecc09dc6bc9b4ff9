import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { failure, faultOf, HttpRig, MAX_BYTES, result } from '../../test/support/http-rig.ts';
import { eventually } from '../../test/support/processes.ts';
import { idOf, type Script, sendJson, startSse } from '../../test/support/scripted-upstream.ts';
import { UpstreamFault } from './transport.ts';

const note = { jsonrpc: '2.0', method: 'notifications/tools/list_changed' } as const;
const data = (message: unknown) => `data: ${JSON.stringify(message)}\n\n`;

/** A POST whose stream ends after one event id; GETs are answered by `resumed`. */
function endsEarly(resumed: Script): Script {
  return (seen, response) => {
    if (seen.method === 'GET') return resumed(seen, response);
    startSse(response);
    response.end('id: e1\nretry: 30\ndata: \n\n');
  };
}

describe('a legacy session', () => {
  test('is named in every request, and a notification needs no more than a 2xx', async () => {
    await using it = await HttpRig.start((seen, response) => {
      if (idOf(seen) === undefined) response.writeHead(202, { 'content-type': 'text/plain' }).end('Accepted');
      else sendJson(response, result(idOf(seen)));
    });
    it.transport.setSession('s1', '2025-11-25');
    await it.call();
    await it.transport.send({ jsonrpc: '2.0', method: 'notifications/initialized' });
    for (const { headers } of it.upstream.requests) {
      assert.equal(headers['mcp-session-id'], 's1');
      assert.equal(headers['mcp-protocol-version'], '2025-11-25');
    }
  });

  test('a notification is taken when the status is in, even if a stream is left open', async () => {
    await using it = await HttpRig.start((_seen, response) => startSse(response));
    await it.transport.send(note);
    it.upstream.script = (_seen, response) => sendJson(response, failure(null, -32000), 500);
    assert.equal((await faultOf(it.transport.send(note), 'http')).status, 500);
  });

  test('that the server forgot is lost, whichever way it says so', async () => {
    const answers: Script[] = [
      (_seen, response) => void response.writeHead(404).end(),
      (_seen, response) => sendJson(response, failure(null, -32001, 'Session not found'), 404),
      (seen, response) => sendJson(response, failure(idOf(seen), -32001, 'Session not found'), 404),
      (_seen, response) =>
        sendJson(response, failure(null, -32000, 'Bad Request: No valid session ID provided'), 400),
      (_seen, response) =>
        sendJson(response, failure(null, -32000, 'Bad Request: Server not initialized'), 400),
    ];
    for (const script of answers) {
      await using it = await HttpRig.start(script);
      it.transport.setSession('s1', '2025-11-25');
      await faultOf(it.call(), 'session_lost');
    }
    await using it = await HttpRig.start(answers[0]!);
    await faultOf(it.call(), 'http');
    it.transport.setSession('s1', '2025-11-25');
    await faultOf(it.transport.send(note), 'session_lost');
  });

  test('ends with a DELETE, once; a server that does not answer it holds nobody up', async () => {
    await using it = await HttpRig.start((_seen, response) => void response.writeHead(405).end());
    it.transport.setSession('s1', '2025-11-25');
    await Promise.all([it.transport.close(), it.transport.close()]);
    await it.transport.close();
    assert.deepEqual(
      it.upstream.requests.map(({ method, headers }) => [method, headers['mcp-session-id']]),
      [['DELETE', 's1']],
    );
    await using silent = await HttpRig.start(() => {});
    silent.transport.setSession('s2', '2025-11-25');
    const before = Date.now();
    await silent.transport.close();
    assert.equal(silent.upstream.requests.length, 1);
    assert.ok(Date.now() - before < 3_000);
  });

  test('that never was needs no DELETE', async () => {
    await using it = await HttpRig.start((_seen, response) => void response.writeHead(405).end());
    it.transport.setSession(undefined, '2025-11-25');
    await it.transport.close();
    assert.equal(it.upstream.requests.length, 0);
  });
});

describe('a stream that ends before the answer', () => {
  test('is resumed after the last event, as often as it makes progress', async () => {
    let gets = 0;
    await using it = await HttpRig.start(
      endsEarly((_seen, response) => {
        gets += 1;
        startSse(response);
        if (gets < 9) response.end(`id: e${gets + 1}\nretry: 20\n${data(note)}`);
        else response.write(data(result(1, { late: true })));
      }),
      { authorization: 'Bearer up' },
    );
    it.transport.setSession('s1', '2025-11-25');
    const own: unknown[] = [];
    const answer = await it.call({ onMessage: (message) => own.push(message) });
    assert.deepEqual(answer.message, result(1, { late: true }));
    assert.deepEqual(own, Array(8).fill(note));
    const resumed = it.upstream.requests.slice(1);
    assert.deepEqual(
      resumed.map(({ headers }) => headers['last-event-id']),
      ['e1', 'e2', 'e3', 'e4', 'e5', 'e6', 'e7', 'e8', 'e9'],
    );
    assert.equal(resumed[0]!.headers['mcp-session-id'], 's1');
    assert.equal(resumed[0]!.headers.authorization, 'Bearer up');
    assert.equal(it.upstream.requests.filter(({ method }) => method === 'POST').length, 1);
  });

  test('is resumed when the connection broke', async () => {
    await using it = await HttpRig.start(
      endsEarly((seen, response) => {
        startSse(response);
        if (it.upstream.requests.length === 2) response.write(': \n', () => response.destroy());
        else response.end(data(result(1, { after: seen.headers['last-event-id'] })));
      }),
    );
    it.transport.setSession(undefined, '2025-11-25');
    assert.deepEqual((await it.call()).message, result(1, { after: 'e1' }));
  });

  test('is given up after five resumptions in vain', async () => {
    await using it = await HttpRig.start(endsEarly((_seen, response) => void response.writeHead(503).end()));
    it.transport.setSession('s1', '2025-11-25');
    assert.equal((await faultOf(it.call(), 'http')).status, 503);
    assert.equal(it.upstream.requests.length, 6);
  });

  test('is not resumed when the server refuses', async () => {
    await using it = await HttpRig.start(endsEarly((_seen, response) => void response.writeHead(405).end()));
    it.transport.setSession('s1', '2025-11-25');
    assert.match((await faultOf(it.call(), 'protocol')).message, /does not resume it \(HTTP 405\)/);
    it.upstream.script = endsEarly((_seen, response) => void response.writeHead(404).end());
    await faultOf(it.call(), 'session_lost');
  });

  test('is lost outside a session: the modern era has no resumption', async () => {
    await using it = await HttpRig.start(endsEarly((_seen, response) => startSse(response)));
    await faultOf(it.call(), 'protocol');
    assert.equal(it.upstream.requests.length, 1);
  });

  test('is not resumed once the call is abandoned', async () => {
    await using it = await HttpRig.start(endsEarly((_seen, response) => startSse(response)));
    it.transport.setSession('s1', '2025-11-25');
    const options = { maxBytes: MAX_BYTES };
    const exchange = it.transport.exchange({ jsonrpc: '2.0', id: 1, method: 'x' }, options);
    await eventually('the stream was resumed', () => it.upstream.requests.length === 2);
    const sockets = [...it.upstream.sockets];
    exchange.abandon(new UpstreamFault('timeout', 'late'));
    await faultOf(exchange.answer, 'timeout');
    await eventually('the stream is closed', () => sockets.some((socket) => socket.destroyed));
  });
});

test('a call abandoned while it waits to resume does not resume', async () => {
  await using it = await HttpRig.start((seen, response) => {
    if (idOf(seen) === 3) sendJson(response, result(3));
    else {
      startSse(response);
      if (seen.method === 'GET') response.end(data(result(2)));
      else response.end(`id: e${idOf(seen)}\nretry: ${idOf(seen) === 1 ? 100 : 300}\n\n`);
    }
  });
  it.transport.setSession(undefined, '2025-11-25');
  const options = { maxBytes: MAX_BYTES };
  const first = it.transport.exchange({ jsonrpc: '2.0', id: 1, method: 'x' }, options);
  await eventually('the first arrived', () => it.upstream.requests.length === 1);
  const second = it.call({}, 2);
  await it.call({}, 3);
  first.abandon(new UpstreamFault('timeout', 'late'));
  await faultOf(first.answer, 'timeout');
  await second;
  const gets = it.upstream.requests.filter(({ method }) => method === 'GET');
  assert.deepEqual(
    gets.map(({ headers }) => headers['last-event-id']),
    ['e2'],
  );
});

describe('the standalone stream', () => {
  test('brings what the server says unasked, and is opened again after its end', async () => {
    await using it = await HttpRig.start((_seen, response) => {
      startSse(response);
      const nth = it.upstream.requests.length;
      response.write(`retry: 100\nid: e${nth}\n${data(note)}data: garbage\n\n${data(result(1))}`);
      if (nth < 3) response.end();
    });
    it.transport.setSession('s1', '2025-11-25');
    it.transport.listen();
    it.transport.listen();
    await eventually('three notes came', () => it.stray.length === 3);
    assert.deepEqual(it.stray, [note, note, note]);
    assert.deepEqual(
      it.upstream.requests.map(({ method, headers }) => [
        method,
        headers['last-event-id'],
        headers['mcp-session-id'],
      ]),
      [
        ['GET', undefined, 's1'],
        ['GET', 'e1', 's1'],
        ['GET', 'e2', 's1'],
      ],
    );
    await it.transport.close();
    await eventually('the stream is closed', () => it.upstream.sockets.size === 0);
  });

  for (const status of [405, 404, 400, 200]) {
    test(`${status} to the first GET: there is none`, async () => {
      await using it = await HttpRig.start((_seen, response) => void response.writeHead(status).end('no'));
      it.transport.setSession('s1', '2025-11-25');
      assert.equal(await new Promise((resolve) => it.transport.listen(resolve)), undefined);
      assert.equal(it.upstream.requests.length, 1);
    });
  }

  test('404 once it was open: the session is over', async () => {
    await using it = await HttpRig.start((_seen, response) => {
      if (it.upstream.requests.length > 1) response.writeHead(404).end();
      else {
        startSse(response);
        response.end('retry: 100\n\n');
      }
    });
    it.transport.setSession('s1', '2025-11-25');
    const fault = await new Promise<UpstreamFault | undefined>((resolve) => it.transport.listen(resolve));
    assert.equal(fault?.kind, 'session_lost');
  });

  for (const status of [401, 400, 405]) {
    test(`${status} once it was open: it is asked for until it is open again`, async () => {
      await using it = await HttpRig.start((_seen, response) => {
        const nth = it.upstream.requests.length;
        if (nth === 2 || nth === 3) {
          response.writeHead(status).end();
          return;
        }
        startSse(response);
        if (nth === 1) response.end('retry: 100\n\n');
        else response.write(data(note));
      });
      it.transport.setSession('s1', '2025-11-25');
      it.transport.listen();
      await eventually('a note came', () => it.stray.length === 1);
    });
  }

  test('outlives passing faults', async () => {
    await using it = await HttpRig.start((_seen, response) => {
      const nth = it.upstream.requests.length;
      if (nth === 1) response.writeHead(503).end();
      else {
        startSse(response);
        response.write(data(note));
      }
    });
    it.transport.listen();
    await eventually('a note came', () => it.stray.length === 1);
  });
});
