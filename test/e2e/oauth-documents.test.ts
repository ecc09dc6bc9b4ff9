import assert from 'node:assert/strict';
import { after, before, it } from 'node:test';
import { setDefaultCACertificates } from 'node:tls';
import { GuardedClient } from '../../src/net/guarded-client.ts';
import { ClientDocuments } from '../../src/oauth/client-documents.ts';
import { onEachDatabase, quietLogger, type TestDatabase } from '../support/databases.ts';
import { localhostCertificate } from '../support/localhost-certificate.ts';
import { OAuthRig, REDIRECT } from '../support/oauth-rig.ts';
import { clientDocument, SecureUpstream } from '../support/secure-upstream.ts';

setDefaultCACertificates([localhostCertificate]);

let site: SecureUpstream;
let serial = 0;
before(async () => {
  site = await SecureUpstream.start((_request, response) => void response.writeHead(404).end());
});
after(() => site[Symbol.asyncDispose]());

/** A new id, and what its document says from now on. */
function client(more: object = {}, headers: Record<string, string> = {}) {
  serial += 1;
  const id = `${site.origin}/client-${serial}.json`;
  const says = (now: object) => {
    site.answer = (_request, response) => {
      response.writeHead(200, { 'content-type': 'application/json', ...headers });
      response.end(JSON.stringify(clientDocument(id, { redirect_uris: [REDIRECT], ...now })));
    };
  };
  says(more);
  return { id, says };
}

async function scene(
  make: () => Promise<TestDatabase>,
  play: (rig: OAuthRig) => Promise<void>,
): Promise<void> {
  const database = await make();
  const hosts = { names: [], origins: [site.origin] };
  const rig = await OAuthRig.start(database, 0, (store) => [
    new ClientDocuments({ store, client: new GuardedClient(), hosts, logger: quietLogger() }),
  ]);
  try {
    await rig.prepare();
    await play(rig);
  } finally {
    await rig[Symbol.asyncDispose]();
    await database.dispose();
  }
}

onEachDatabase('clients that are described by a document', (make) => {
  it('authorization server checklist 24: get codes and tokens, and refresh them with nobody signed in', () =>
    scene(make, async (rig) => {
      const { id } = client({}, { 'cache-control': 'max-age=60' });
      const tokens = await rig.tokens(await rig.code({ client_id: id }));
      assert.ok(await rig.opens(tokens.access_token));
      const again = await rig.refresh(tokens.refresh_token!, { client_id: id });
      assert.equal(again.status, 200, JSON.stringify(again.body));
      assert.equal(site.paths.filter((path) => id.endsWith(path)).length, 1);
    }));

  it('authorization server checklist 24: are nobody any more once their document says so', () =>
    scene(make, async (rig) => {
      for (const changed of [
        { client_id: 'https://other.example/client.json' },
        { client_secret: 'x' },
        { token_endpoint_auth_method: 'client_secret_post' },
        { redirect_uris: ['javascript:alert(1)'] },
      ]) {
        const { id, says } = client();
        const code = await rig.code({ client_id: id });
        says(changed);
        const { status, body } = await rig.post('/token', code);
        assert.deepEqual([status, body.error], [401, 'invalid_client'], JSON.stringify(changed));
      }
    }));

  it('authorization server checklist 8: lead nowhere that their document does not list', () =>
    scene(make, async (rig) => {
      const { id, says } = client();
      await rig.code({ client_id: id });
      says({ redirect_uris: ['https://elsewhere.example/callback'] });
      const query = { client_id: id, response_type: 'code', redirect_uri: REDIRECT };
      const answer = await rig.get(`/authorize?${new URLSearchParams(query)}`, {
        'x-test-user': 'alice@example.com',
      });
      assert.equal(answer.status, 400);
      assert.equal(answer.headers.get('location'), null);
    }));
});
