import assert from 'node:assert/strict';
import { createServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import { describe, test } from 'node:test';
import { setDefaultCACertificates } from 'node:tls';
import { localhostCertificate, localhostKey } from '../../test/support/localhost-certificate.ts';
import { ScriptedUpstream } from '../../test/support/scripted-upstream.ts';
import { ServerClient } from './server-client.ts';

const hello = { path: '/', method: 'GET' } as const;

describe('server client', () => {
  test('leases of one origin share sockets until the last is given back', async () => {
    await using upstream = await ScriptedUpstream.start((_seen, response) => void response.end('hi'));
    await using client = new ServerClient();
    const [first, second] = [client.lease(upstream.origin), client.lease(upstream.origin)];
    assert.equal(first.calls, second.calls);
    assert.notEqual(first.calls, first.streams);
    await first.release();
    await first.release();
    const { body } = await second.calls.request(hello);
    assert.equal(await body.text(), 'hi');
    await second.release();
    assert.equal(second.calls.destroyed, true);
    const third = client.lease(upstream.origin);
    assert.equal(third.calls.destroyed, false);
  });

  test('what still hangs is given up when the client is disposed of', async () => {
    await using upstream = await ScriptedUpstream.start(() => {});
    const client = new ServerClient();
    const lease = client.lease(upstream.origin);
    const hanging = lease.calls.request(hello).catch((error: unknown) => error);
    await client[Symbol.asyncDispose]();
    assert.ok((await hanging) instanceof Error);
    await lease.release();
  });

  test('a certificate has to be trusted and to name the host, whatever the environment says', async () => {
    const server = createServer({ cert: localhostCertificate, key: localhostKey }, (_request, response) =>
      response.end('secure'),
    );
    await new Promise<void>((resolve) => server.listen(0, resolve));
    const { port } = server.address() as AddressInfo;
    const codeOf = async (host: string): Promise<unknown> => {
      await using client = new ServerClient();
      const { calls } = client.lease(`https://${host}:${port}`);
      return await calls.request(hello).then(
        async ({ body }) => await body.text(),
        (error: { code?: unknown }) => error.code,
      );
    };
    process.env.NODE_TLS_REJECT_UNAUTHORIZED = '0';
    try {
      assert.equal(await codeOf('localhost'), 'DEPTH_ZERO_SELF_SIGNED_CERT');
      setDefaultCACertificates([localhostCertificate]);
      assert.equal(await codeOf('localhost'), 'secure');
      assert.equal(await codeOf('127.0.0.1'), 'ERR_TLS_CERT_ALTNAME_INVALID');
    } finally {
      delete process.env.NODE_TLS_REJECT_UNAUTHORIZED;
      server.closeAllConnections();
      server.close();
    }
  });
});
