import assert from 'node:assert/strict';
import type { ServerResponse } from 'node:http';
import net, { type AddressInfo } from 'node:net';
import { describe, it, test } from 'node:test';
import { setDefaultCACertificates } from 'node:tls';
import { gzipSync } from 'node:zlib';
import { onEachDatabase, quietLogger, type TestDatabase } from '../../test/support/databases.ts';
import { localhostCertificate } from '../../test/support/localhost-certificate.ts';
import { eventually } from '../../test/support/processes.ts';
import { clientDocument, SecureUpstream } from '../../test/support/secure-upstream.ts';
import { GuardedClient } from '../net/guarded-client.ts';
import { ClientDocuments } from './client-documents.ts';
import type { DocumentHosts } from './document-hosts.ts';
import { HostTurns } from './host-turns.ts';

const SIGNED_IN = { mayFetch: true };
const NOBODY = { mayFetch: false };

setDefaultCACertificates([localhostCertificate]);

type Scene = {
  site: SecureUpstream;
  id: string;
  documents: ClientDocuments;
  /** Another process on the same database. */
  again(hosts?: Partial<DocumentHosts>): Promise<ClientDocuments>;
  says(more?: object, headers?: Record<string, string>): void;
  wait(ms: number): void;
};

async function scene(
  make: () => Promise<TestDatabase>,
  play: (scene: Scene) => Promise<void>,
): Promise<void> {
  const database = await make();
  await using site = await SecureUpstream.start((_request, response) => void response.writeHead(404).end());
  const first = await database.open();
  let now = Date.now();
  const over = async ({ store }: typeof first, hosts: Partial<DocumentHosts> = {}) =>
    new ClientDocuments({
      store,
      client: new GuardedClient(),
      hosts: { names: [], origins: [site.origin], ...hosts },
      logger: quietLogger(),
      now: () => now,
    });
  const id = `${site.origin}/client.json`;
  try {
    await play({
      site,
      id,
      documents: await over(first),
      again: async (hosts) => over(database.name === 'SQLite' ? first : await database.open(), hosts),
      says: (more = {}, headers = {}) => {
        site.answer = (_request, response) => json(response, clientDocument(id, more), headers);
      },
      wait: (ms) => {
        now += ms;
      },
    });
  } finally {
    await database.dispose();
  }
}

function json(response: ServerResponse, value: object, headers: Record<string, string> = {}): void {
  response.writeHead(200, { 'content-type': 'application/json', ...headers }).end(JSON.stringify(value));
}

onEachDatabase('documents of clients', (make) => {
  it('are asked for the first time for somebody who is signed in, by one process for all', () =>
    scene(make, async ({ site, id, documents, again, says }) => {
      says({}, { 'cache-control': 'max-age=600' });
      assert.equal(await documents.find(id, NOBODY), undefined);
      assert.deepEqual(site.paths, []);
      const all = await Promise.all(Array.from({ length: 20 }, () => documents.find(id, SIGNED_IN)));
      assert.ok(all.every((client) => client?.name === 'Tried client'));
      assert.equal((await documents.find(id, NOBODY))?.clientId, id);
      assert.equal((await (await again()).find(id, NOBODY))?.clientId, id);
      assert.deepEqual(site.paths, ['/client.json']);
    }));

  it('are asked for again when they are not fresh any more, and say who the client is now', () =>
    scene(make, async ({ site, id, documents, says, wait }) => {
      says({}, { 'cache-control': 'max-age=600' });
      await documents.find(id, SIGNED_IN);
      says({ client_name: 'Renamed' });
      assert.equal((await documents.find(id, NOBODY))?.name, 'Tried client');
      wait(601_000);
      assert.equal((await documents.find(id, NOBODY))?.name, 'Renamed');
      says({ client_id: 'https://other.example/client.json' });
      assert.equal(await documents.find(id, NOBODY), undefined);
      assert.equal(site.paths.length, 3);
      // What was taken back is not remembered as a client that only has to be refreshed.
      wait(60_000);
      says();
      assert.equal(await documents.find(id, NOBODY), undefined);
      assert.equal((await documents.find(id, SIGNED_IN))?.name, 'Tried client');
    }));

  it('count for a day while their host is away', () =>
    scene(make, async ({ site, id, documents, says, wait }) => {
      says();
      await documents.find(id, SIGNED_IN);
      site.answer = (_request, response) => void response.writeHead(503).end();
      assert.equal((await documents.find(id, NOBODY))?.name, 'Tried client');
      const asked = site.paths.length;
      assert.equal((await documents.find(id, NOBODY))?.name, 'Tried client');
      assert.equal(site.paths.length, asked, 'what failed is not asked again at once');
      wait(86_400_001);
      assert.equal(await documents.find(id, NOBODY), undefined);
    }));

  it('authorization server checklist 24: that are not what they should be make no client, soon', () =>
    scene(make, async ({ site, id, documents, says, wait }) => {
      const bomb = gzipSync(Buffer.alloc(10 * 1024 * 1024));
      const bad: Record<string, (response: ServerResponse) => void> = {
        redirect: (response) => void response.writeHead(302, { location: `${site.origin}/other.json` }).end(),
        created: (response) => void response.writeHead(201).end(JSON.stringify(clientDocument(id))),
        html: (response) => void response.writeHead(200, { 'content-type': 'text/html' }).end('<html>'),
        'json as html': (response) =>
          void response
            .writeHead(200, { 'content-type': 'text/html' })
            .end(JSON.stringify(clientDocument(id))),
        large: (response) => json(response, clientDocument(id, { padding: 'x'.repeat(10 * 1024 * 1024) })),
        'gzip bomb': (response) =>
          void response
            .writeHead(200, { 'content-type': 'application/json', 'content-encoding': 'gzip' })
            .end(bomb),
        secret: (response) => json(response, clientDocument(id, { client_secret: 'x' })),
        slow: (response) => {
          response.writeHead(200, { 'content-type': 'application/json' }).flushHeaders();
          const drip = setInterval(() => response.write(' '), 100);
          response.on('close', () => clearInterval(drip));
        },
      };
      for (const [name, answer] of Object.entries(bad)) {
        site.answer = (_request, response) => answer(response);
        const before = performance.now();
        assert.equal(await documents.find(id, SIGNED_IN), undefined, name);
        assert.ok(performance.now() - before < 5_000, name);
        const asked = site.paths.length;
        assert.equal(await documents.find(id, SIGNED_IN), undefined, name);
        assert.equal(site.paths.length, asked, `${name}: remembered for a while`);
        wait(20_000);
      }
      assert.ok(!site.paths.includes('/other.json'));
      says();
      assert.ok(await documents.find(id, SIGNED_IN));
    }));

  it('may name where their keys are, which are read with them', () =>
    scene(make, async ({ site, id, documents, wait }) => {
      const keys = { keys: [{ kty: 'EC', crv: 'P-256', x: 'eA', y: 'eQ' }] };
      const proof = { token_endpoint_auth_method: 'private_key_jwt', jwks_uri: `${site.origin}/keys.json` };
      site.answer = ({ url }, response) =>
        json(response, url === '/keys.json' ? keys : clientDocument(id, proof));
      assert.deepEqual((await documents.find(id, SIGNED_IN))?.jwks, keys);
      wait(1);
      site.answer = ({ url }, response) =>
        json(
          response,
          url === '/keys.json' ? { keys: [{ kty: 'oct', k: 'eA' }] } : clientDocument(id, proof),
        );
      assert.equal(await documents.find(id, SIGNED_IN), undefined);
    }));

  it('of hosts that are not allowed are nobody, even when they were once', () =>
    scene(make, async ({ site, id, documents, again, says }) => {
      says({}, { 'cache-control': 'max-age=600' });
      await documents.find(id, SIGNED_IN);
      const closed = await again({ origins: [], names: ['*.example.com'] });
      assert.equal(await closed.find(id, SIGNED_IN), undefined);
      // A name alone opens no network of one's own.
      const named = await again({ origins: [], names: ['*'] });
      assert.ok(await named.find(id, NOBODY), 'it is fresh');
      assert.equal(await named.find(`${site.origin}/other.json`, SIGNED_IN), undefined);
      assert.deepEqual(site.paths, ['/client.json']);
    }));
});

describe('documents of clients', () => {
  onEachDatabase('whoever they are from', (make) => {
    it('authorization server checklist 25: no address inside is connected to', () =>
      scene(make, async ({ again }) => {
        let connections = 0;
        const oracle = net.createServer((socket) => {
          connections += 1;
          socket.destroy();
        });
        await new Promise<void>((resolve) => oracle.listen(0, '::', resolve));
        const { port } = oracle.address() as AddressInfo;
        const documents = await again({ origins: [], names: ['*'] });
        for (const host of [
          '127.0.0.1',
          'localhost',
          '[::1]',
          '[::ffff:a9fe:a9fe]',
          '169.254.169.254',
          '0.0.0.0',
          '10.0.0.1',
          '100.64.0.1',
          '[2002:7f00:1::]',
          '[2001:0:4136:e378:8000:63bf:80ff:fffe]',
          '[64:ff9b::7f00:1]',
          '127.1',
          '0x7f.0.0.1',
          '2130706433',
        ])
          assert.equal(
            await documents.find(`https://${host}:${port}/client.json`, SIGNED_IN),
            undefined,
            host,
          );
        assert.equal(connections, 0);
        await new Promise((resolve) => oracle.close(resolve));
      }));
  });

  test('one host is asked one thing at a time, others meanwhile', async () => {
    const turns = new HostTurns();
    let atOnce = 0;
    let most = 0;
    const release = Promise.withResolvers<void>();
    const work = async () => {
      atOnce += 1;
      most = Math.max(most, atOnce);
      await release.promise;
      atOnce -= 1;
      return 'done';
    };
    const same = Array.from({ length: 20 }, () => turns.take('a.example', work));
    const other = turns.take('b.example', async () => 'other');
    assert.equal(await other, 'other');
    await eventually('the first is under way', () => atOnce === 1);
    release.resolve();
    const done = await Promise.all(same);
    assert.equal(most, 1);
    assert.equal(done.filter((one) => one === 'done').length, 16, 'the line is bounded');
    await assert.rejects(
      turns.take('a.example', () => Promise.reject(new Error('failed'))),
      /failed/,
    );
    assert.equal(await turns.take('a.example', work), 'done');
  });
});
