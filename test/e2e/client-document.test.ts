import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import path from 'node:path';
import { test } from 'node:test';
import { startCastellan } from '../support/running-castellan.ts';

test('Castellan describes itself as a client where it has an https address, and says so where it has none', async () => {
  const publicUrl = 'https://castellan.example.com';
  await using open = await startCastellan([], { env: { CASTELLAN_PUBLIC_URL: publicUrl } });
  const { url } = JSON.parse(await readFile(path.join(open.dataDir, 'admin.json'), 'utf8')) as {
    url: string;
  };
  const document = await fetch(`${url}/oauth/client-metadata.json`);
  assert.equal(document.status, 200);
  assert.match(document.headers.get('content-type') ?? '', /^application\/json/);
  assert.match(document.headers.get('cache-control') ?? '', /max-age=300/);
  assert.deepEqual(await document.json(), {
    client_id: `${publicUrl}/oauth/client-metadata.json`,
    client_name: 'Castellan',
    client_uri: publicUrl,
    redirect_uris: [`${publicUrl}/oauth/callback/any`, 'http://127.0.0.1/callback'],
    grant_types: ['authorization_code', 'refresh_token', 'urn:ietf:params:oauth:grant-type:device_code'],
    response_types: ['code'],
    token_endpoint_auth_method: 'none',
  });
  await using closed = await startCastellan([]);
  const none = await fetch(`${closed.url}/oauth/client-metadata.json`);
  assert.equal(none.status, 404);
  assert.match(JSON.stringify(await none.json()), /no https address of its own/);
});
