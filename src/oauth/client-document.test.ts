import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { clientDocument } from '../../test/support/secure-upstream.ts';
import { clientOfDocument, documentRecord, documentUrl, freshFor } from './client-document.ts';

const ID = 'https://app.example.com/client.json';

describe('client ids that are addresses', () => {
  test('authorization server checklist 24: https, with a path, written in one way', () => {
    for (const id of [ID, 'https://app.example.com:8443/a/b?v=1', 'https://xn--bcher-kva.example/c'])
      assert.equal(documentUrl(id)?.href, id);
    for (const id of [
      'http://app.example.com/client.json',
      'https://app.example.com',
      'https://app.example.com/',
      'https://app.example.com/client.json#x',
      'https://app.example.com/client.json#',
      'https://user@app.example.com/client.json',
      'https://user:secret@app.example.com/client.json',
      'https://app.example.com/a/../client.json',
      'https://app.example.com/./client.json',
      'https://app.example.com/a/%2e%2E/client.json',
      'https://app.example.com:443/client.json',
      'HTTPS://app.example.com/client.json',
      'https://APP.example.com/client.json',
      'https://bücher.example/client.json',
      'https://app.example.com\\client.json',
      ' https://app.example.com/client.json',
      'https://127.1/client.json',
      'https://0x7f000001/client.json',
      'https:///client.json',
      `https://app.example.com/${'a'.repeat(1000)}`,
      'voice-bot',
    ])
      assert.equal(documentUrl(id), undefined, id.slice(0, 60));
  });
});

describe('documents of clients', () => {
  const read = (more: object) => clientOfDocument(ID, JSON.stringify(clientDocument(ID, more)));

  test('what they say is taken, unknown keys and grants left out', () => {
    const client = read({
      client_uri: 'https://app.example.com/',
      grant_types: ['authorization_code', 'implicit', 'refresh_token'],
      scope: 'mcp whatever',
      'x-unknown': true,
    });
    assert.ok(client.ok);
    assert.deepEqual(documentRecord(ID, client.value), {
      clientId: ID,
      source: 'metadata-document',
      name: 'Tried client',
      redirectUris: ['http://127.0.0.1/callback'],
      grantTypes: ['authorization_code', 'refresh_token'],
      tokenEndpointAuthMethod: 'none',
    });
  });

  test('authorization server checklist 24: what a document must not say', () => {
    const cases: [object, RegExp][] = [
      [{ client_id: `${ID}x` }, /another client_id/],
      [{ client_id: undefined }, /another client_id/],
      [{ client_name: undefined }, /no client_name/],
      [{ redirect_uris: undefined }, /no redirect_uris/],
      [{ redirect_uris: [] }, /no redirect_uris/],
      [{ client_secret: 'x' }, /client_secret/],
      [{ client_secret_expires_at: 0 }, /client_secret/],
      [{ token_endpoint_auth_method: 'client_secret_basic' }, /token_endpoint_auth_method/],
      [{ token_endpoint_auth_method: 'client_secret_post' }, /token_endpoint_auth_method/],
      [{ token_endpoint_auth_method: 'private_key_jwt' }, /jwks/],
      [{ redirect_uris: ['javascript:alert(1)'] }, /redirect_uris\[0\]/],
      [{ redirect_uris: [1] }, /redirect_uris/],
      [{ redirect_uris: Array.from({ length: 21 }, (_, n) => `https://a.example/${n}`) }, /at most 20/],
      [{ grant_types: ['client_credentials'] }, /grant_types/],
      [{ response_types: ['token'] }, /response_types/],
      [{ application_type: 'web' }, /web client needs https/],
      [{ client_name: 'x'.repeat(201) }, /client_name/],
      [{ client_name: 'Cla\u202eude' }, /client_name/],
      ...['client_uri', 'logo_uri', 'tos_uri', 'policy_uri'].flatMap((key): [object, RegExp][] =>
        ['javascript:alert(1)', 'data:text/html,x', 'file:///x', 'vbscript:x', 'http://a.example'].map(
          (uri) => [{ [key]: uri }, new RegExp(`^${key}: must be an https URL$`)],
        ),
      ),
    ];
    for (const [more, reason] of cases) {
      const client = read(more);
      assert.ok(!client.ok, JSON.stringify(more));
      assert.match(client.error, reason);
    }
    for (const text of ['', '<html>', '[]', 'null', '"x"']) assert.ok(!clientOfDocument(ID, text).ok);
  });

  test('their answer says how long it is fresh, within a day', () => {
    const now = Date.parse('2026-11-21T12:00:00Z');
    const cases: [Record<string, string>, number][] = [
      [{}, 0],
      [{ 'cache-control': 'max-age=60' }, 60_000],
      [{ 'cache-control': 'public, max-age=60', age: '20' }, 40_000],
      [{ 'cache-control': 'no-store, max-age=60' }, 0],
      [{ 'cache-control': 'no-cache' }, 0],
      [{ 'cache-control': 'max-age=99999999' }, 86_400_000],
      [{ 'cache-control': 's-maxage=5' }, 0],
      [{ expires: 'Sat, 21 Nov 2026 12:05:00 GMT' }, 300_000],
      [{ expires: '0' }, 0],
    ];
    for (const [headers, ms] of cases) assert.equal(freshFor(headers, now), ms, JSON.stringify(headers));
  });
});
