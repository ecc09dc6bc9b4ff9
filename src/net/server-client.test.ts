import assert from 'node:assert/strict';
import { createServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import { describe, test } from 'node:test';
import { setDefaultCACertificates } from 'node:tls';
import { localhostCertificate, localhostKey } from '../../test/support/localhost-certificate.ts';
import { eventually } from '../../test/support/processes.ts';
import { ScriptedUpstream } from '../../test/support/scripted-upstream.ts';
import { type Send, ServerClient } from './server-client.ts';

type Reply = { status: number; body: string } | { error: unknown };

/** Sends a GET and resolves with what came of it. */
function get(send: Send): Promise<Reply> {
  return new Promise((resolve) => {
    let status = 0;
    let body = '';
    const sent = send(
      { path: '/', method: 'GET' },
      {
        begun() {},
        head(head) {
          status = head.status;
        },
        data(chunk) {
          body += chunk.toString();
          return true;
        },
        end: () => resolve({ status, body }),
        whole: (head, text) => resolve({ status: head.status, body: text }),
        failed: (error) => resolve({ error: 'code' in error ? error.code : error }),
      },
    );
    if (!sent) resolve({ error: 'full' });
  });
}

describe('server client', () => {
  test('leases of one origin share sockets until the last is given back', async () => {
    await using upstream = await ScriptedUpstream.start((_seen, response) => void response.end('hi'));
    await using client = new ServerClient();
    const [first, second] = [client.lease(upstream.origin), client.lease(upstream.origin)];
    for (let n = 0; n < 5; n += 1) {
      await get(first.call);
      await get(second.call);
    }
    await first.release();
    await first.release();
    assert.deepEqual(await get(second.call), { status: 200, body: 'hi' });
    assert.ok(upstream.connections <= 2, `${upstream.connections} connections`);
    await second.release();
    assert.deepEqual(await get(second.call), { error: 'UND_ERR_DESTROYED' });
    assert.deepEqual(await get(client.lease(upstream.origin).call), { status: 200, body: 'hi' });
  });

  test('streams and requests do not wait for each other, and the line is bounded', async () => {
    await using upstream = await ScriptedUpstream.start((_seen, response) => void response.flushHeaders());
    await using client = new ServerClient();
    const { call, stream } = client.lease(upstream.origin);
    let refused = 0;
    for (let n = 0; n < 256 + 1024 + 40; n += 1) {
      void get(call).then((reply) => {
        if ('error' in reply && reply.error === 'full') refused += 1;
      });
    }
    await eventually('all connections are taken', () => upstream.requests.length === 256);
    assert.equal(refused, 40);
    upstream.script = (_seen, response) => void response.end('stream');
    assert.deepEqual(await get(stream), { status: 200, body: 'stream' });
  });

  test('what still hangs is given up when the client is disposed of', async () => {
    await using upstream = await ScriptedUpstream.start(() => {});
    const client = new ServerClient();
    const lease = client.lease(upstream.origin);
    const hanging = get(lease.call);
    await client[Symbol.asyncDispose]();
    assert.deepEqual(await hanging, { error: 'UND_ERR_DESTROYED' });
    await lease.release();
  });

  test('a certificate has to be trusted and to name the host, whatever the environment says', async () => {
    const options = { cert: localhostCertificate, key: localhostKey };
    const server = createServer(options, (_request, response) => void response.end('secure'));
    await new Promise<void>((resolve) => server.listen(0, resolve));
    const { port } = server.address() as AddressInfo;
    const ask = async (host: string): Promise<Reply> => {
      await using client = new ServerClient();
      return await get(client.lease(`https://${host}:${port}`).call);
    };
    process.env.NODE_TLS_REJECT_UNAUTHORIZED = '0';
    try {
      assert.deepEqual(await ask('localhost'), { error: 'DEPTH_ZERO_SELF_SIGNED_CERT' });
      setDefaultCACertificates([localhostCertificate]);
      assert.deepEqual(await ask('localhost'), { status: 200, body: 'secure' });
      assert.deepEqual(await ask('127.0.0.1'), { error: 'ERR_TLS_CERT_ALTNAME_INVALID' });
    } finally {
      delete process.env.NODE_TLS_REJECT_UNAUTHORIZED;
      server.closeAllConnections();
      server.close();
    }
  });
});
