import assert from 'node:assert/strict';
import { Resolver } from 'node:dns/promises';
import { createServer as createSecureServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import { describe, mock, test } from 'node:test';
import tls from 'node:tls';
import { gzipSync } from 'node:zlib';
import { INSIDE_ADDRESSES, listener } from '../../test/support/inside-addresses.ts';
import { localhostCertificate, localhostKey } from '../../test/support/localhost-certificate.ts';
import { eventually } from '../../test/support/processes.ts';
import { type Script, ScriptedUpstream } from '../../test/support/scripted-upstream.ts';
import { GuardedClient, type GuardedRequest } from './guarded-client.ts';

const SMALL = { maxBytes: 5 * 1024, timeoutMs: 2_000 };

describe('guarded client: where it goes', () => {
  for (const [family, ...hosts] of INSIDE_ADDRESSES) {
    test(`${family}: nothing is asked, and the answer is that of a host that is not there`, async () => {
      using oracle = await listener();
      const client = new GuardedClient();
      for (const host of hosts) {
        const reply = await client.fetch(`https://${host}:${oracle.port}/client.json`, SMALL);
        assert.deepEqual(reply, { ok: false, error: 'unreachable' }, host);
      }
      assert.equal(oracle.seen(), 0);
    });
  }

  test('a name that leads inside, if only with one of its addresses, is not asked', async () => {
    using oracle = await listener();
    for (const answers of [['127.0.0.1'], ['93.184.215.14', '10.0.0.1'], []]) {
      mock.method(Resolver.prototype, 'resolve4', async () => answers);
      mock.method(Resolver.prototype, 'resolve6', async () => []);
      try {
        const reply = await new GuardedClient().fetch(`https://inside.test:${oracle.port}/`, SMALL);
        assert.deepEqual(reply, { ok: false, error: 'unreachable' });
      } finally {
        mock.restoreAll();
      }
    }
    assert.equal(oracle.seen(), 0);
  });

  test('a name is looked up once, and the connection goes to the address that was checked', async () => {
    using oracle = await listener();
    const options = { cert: localhostCertificate, key: localhostKey };
    const server = createSecureServer(
      options,
      (request, response) => void response.end(request.headers.host),
    );
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const { port } = server.address() as AddressInfo;
    const turns = [['93.184.215.14'], ['127.0.0.1']];
    const asked = mock.method(Resolver.prototype, 'resolve4', async () => turns.shift() ?? ['127.0.0.1']);
    mock.method(Resolver.prototype, 'resolve6', async () => []);
    const dialled: string[] = [];
    const dial = tls.connect;
    // The internet is not asked either: what would go to the checked address goes to the server of this test.
    mock.method(tls, 'connect', (wanted: tls.ConnectionOptions) => {
      wanted.lookup?.('localhost', { all: true }, (_error, found) => {
        dialled.push(...(found as { address: string }[]).map(({ address }) => address));
      });
      const { lookup: _, ...rest } = wanted;
      return dial({ ...rest, host: '127.0.0.1', ca: localhostCertificate });
    });
    try {
      const reply = await new GuardedClient().fetch(`https://localhost:${port}/`, SMALL);
      assert.ok(reply.ok, JSON.stringify(reply));
      assert.equal(reply.value.body.toString(), `localhost:${port}`);
      assert.deepEqual(dialled, ['93.184.215.14']);
      assert.equal(asked.mock.callCount(), 1);
      assert.equal(oracle.seen(), 0);
    } finally {
      mock.restoreAll();
      server.closeAllConnections();
      server.close();
    }
  });

  test('only https is spoken, and to nobody with a user in the address', async () => {
    using oracle = await listener();
    const client = new GuardedClient();
    const host = `127.0.0.1:${oracle.port}`;
    for (const url of [
      `http://${host}/`,
      `ftp://${host}/`,
      'file:///etc/passwd',
      'data:text/plain,x',
      `https://user@${host}/`,
      `https://user:secret@${host}/`,
      `https://${host}/${'a'.repeat(2048)}`,
      'https://',
      'nonsense',
    ]) {
      assert.deepEqual(await client.fetch(url, SMALL), { ok: false, error: 'url' }, url.slice(0, 60));
    }
    assert.equal(oracle.seen(), 0);
  });

  test('what the operator named is asked wherever it lies, and its neighbours are not', async () => {
    await using upstream = await ScriptedUpstream.start((_seen, response) => void response.end('here'));
    const request = { ...SMALL, allowOrigins: [upstream.origin] };
    const client = new GuardedClient();
    const reply = await client.fetch(`${upstream.origin}/a?b=c`, request);
    assert.ok(reply.ok);
    assert.equal(reply.value.body.toString(), 'here');
    assert.equal(upstream.requests[0]?.url, '/a?b=c');
    const neighbour = upstream.origin.replace('127.0.0.1', '127.0.0.2');
    assert.deepEqual(await client.fetch(neighbour, request), { ok: false, error: 'url' });
    assert.equal(upstream.connections, 1);
  });
});

describe('guarded client: what it takes', () => {
  const ask = async (script: Script, more: Partial<GuardedRequest> = {}) => {
    await using upstream = await ScriptedUpstream.start(script);
    const request = { ...SMALL, allowOrigins: [upstream.origin], ...more };
    const reply = await new GuardedClient().fetch(upstream.origin, request);
    await eventually('the connection is closed', () => upstream.sockets.size === 0);
    return reply;
  };

  test('an answer of which nobody wants the body is there with its head, however long it is', async () => {
    const endless: Script = (_seen, response) =>
      void response.writeHead(201, { 'content-length': 10 ** 9 }).write('x');
    const encoded: Script = (_seen, response) =>
      void response.writeHead(202, { 'content-encoding': 'br' }).end('x');
    for (const [script, status] of [
      [endless, 201],
      [encoded, 202],
    ] as const) {
      const reply = await ask(script, { maxBytes: 0 });
      assert.deepEqual(reply.ok && [reply.value.status, reply.value.body.length], [status, 0]);
    }
  });

  test('a redirect is an answer, and is not followed', async () => {
    using oracle = await listener();
    const location = `http://127.0.0.1:${oracle.port}/`;
    const reply = await ask((_seen, response) => void response.writeHead(302, { location }).end());
    assert.ok(reply.ok);
    assert.equal(reply.value.status, 302);
    assert.equal(reply.value.headers.location, location);
    assert.equal(oracle.seen(), 0);
  });

  test('a body beyond the cap, announced or not, is refused', async () => {
    const chunk = 'x'.repeat(4096);
    const announced: Script = (_seen, response) =>
      void response.writeHead(200, { 'content-length': '10485760' }).flushHeaders();
    const endless: Script = (_seen, response) => {
      const pour = () => {
        while (!response.destroyed && response.write(chunk));
        if (!response.destroyed) response.once('drain', pour);
      };
      pour();
    };
    for (const script of [announced, endless])
      assert.deepEqual(await ask(script), { ok: false, error: 'too_large' });
  });

  test('a compressed body is not opened', async () => {
    const bomb = gzipSync(Buffer.alloc(1024 * 1024));
    const reply = await ask(
      (_seen, response) => void response.writeHead(200, { 'content-encoding': 'gzip' }).end(bomb),
    );
    assert.deepEqual(reply, { ok: false, error: 'encoded' });
  });

  test('one that never answers, or a byte at a time, is given up at the deadline', async () => {
    const silent: Script = () => {};
    const trickling: Script = (_seen, response) => {
      response.flushHeaders();
      const drip = setInterval(() => response.write('x'), 20);
      response.on('close', () => clearInterval(drip));
    };
    for (const script of [silent, trickling])
      assert.deepEqual(await ask(script, { timeoutMs: 150 }), { ok: false, error: 'timeout' });
  });

  test('one that breaks off is unreachable', async () => {
    const reply = await ask((_seen, response) => {
      response.writeHead(200, { 'content-length': '100' });
      response.write('half', () => response.destroy());
    });
    assert.deepEqual(reply, { ok: false, error: 'unreachable' });
  });

  test('a body is sent, and only so many requests are under way', async () => {
    await using upstream = await ScriptedUpstream.start(() => {});
    const client = new GuardedClient();
    const request = { ...SMALL, allowOrigins: [upstream.origin], method: 'POST', body: 'hello' } as const;
    const hanging = Array.from({ length: 32 }, () => client.fetch(upstream.origin, request));
    assert.deepEqual(await client.fetch(upstream.origin, request), { ok: false, error: 'busy' });
    await eventually('all have arrived', () => upstream.requests.length === 32);
    assert.ok(upstream.requests.every(({ method, body }) => method === 'POST' && body === 'hello'));
    upstream.sockets.forEach((socket) => void socket.destroy());
    const faults = await Promise.all(hanging);
    assert.ok(faults.every((reply) => !reply.ok && reply.error === 'unreachable'));
  });
});
