import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { DEVICE_GRANT } from './built-in-clients.ts';
import { type DescriptionRules, describedClient } from './described-client.ts';

const RULES: DescriptionRules = {
  methods: ['client_secret_basic', 'client_secret_post', 'none', 'private_key_jwt'],
  dropsOtherGrants: false,
};
const REDIRECT = 'https://app.example/callback';
const read = (metadata: unknown) => describedClient(metadata, RULES);
const key = { kty: 'OKP', crv: 'Ed25519', x: 'eA' };

describe('what clients say of themselves', () => {
  test('little is enough, and unknown keys are ignored', () => {
    assert.deepEqual(read({ redirect_uris: [REDIRECT], client_id: 'mine', x: 1 }), {
      ok: true,
      value: {
        name: 'app.example',
        redirectUris: [REDIRECT],
        grantTypes: ['authorization_code'],
        tokenEndpointAuthMethod: 'client_secret_basic',
      },
    });
    const device = read({ grant_types: [DEVICE_GRANT, 'refresh_token'], token_endpoint_auth_method: 'none' });
    assert.deepEqual(device.ok && [device.value.name, device.value.redirectUris], ['unnamed client', []]);
    const native = read({
      application_type: 'native',
      redirect_uris: ['http://127.0.0.1/', 'https://editor.example/redirect', 'com.example.app:/cb'],
      scope: 'mcp mcp:operator offline_access',
    });
    assert.equal(native.ok && native.value.redirectUris.length, 3);
    const proven = read({
      redirect_uris: [REDIRECT],
      token_endpoint_auth_method: 'private_key_jwt',
      jwks: { keys: [key] },
    });
    assert.deepEqual(proven.ok && proven.value.jwks, { keys: [key] });
  });

  test('authorization server checklist 23: what is wrong is said in the words of RFC 7591', () => {
    const redirects = (uri: unknown, more: object = {}) => ({ redirect_uris: [uri], ...more });
    const cases: [unknown, string, RegExp][] = [
      [redirects('javascript:alert(1)'), 'invalid_redirect_uri', /^redirect_uris\[0\]: has the scheme/],
      [redirects('data:text/html,x'), 'invalid_redirect_uri', /scheme data/],
      [redirects('http://app.example/cb'), 'invalid_redirect_uri', /use https/],
      [redirects('https://app.example/cb#x'), 'invalid_redirect_uri', /fragment/],
      [redirects(7), 'invalid_redirect_uri', /list of text/],
      [{ redirect_uris: 'https://app.example/cb' }, 'invalid_redirect_uri', /list of text/],
      [{ redirect_uris: [] }, 'invalid_redirect_uri', /at least one/],
      [{}, 'invalid_redirect_uri', /at least one/],
      [
        { redirect_uris: Array.from({ length: 1000 }, (_, n) => `https://a.example/${n}`) },
        'invalid_redirect_uri',
        /at most 20/,
      ],
      [
        redirects('http://127.0.0.1/cb', { application_type: 'web' }),
        'invalid_redirect_uri',
        /web client needs https/,
      ],
      [redirects('com.example:/cb', { application_type: 'web' }), 'invalid_redirect_uri', /needs https/],
      [redirects(REDIRECT, { application_type: 'tv' }), 'invalid_client_metadata', /native or web/],
      [redirects(REDIRECT, { grant_types: ['password'] }), 'invalid_client_metadata', /grant_types/],
      [redirects(REDIRECT, { grant_types: ['implicit'] }), 'invalid_client_metadata', /grant_types/],
      [
        redirects(REDIRECT, { grant_types: ['client_credentials'] }),
        'invalid_client_metadata',
        /grant_types/,
      ],
      [redirects(REDIRECT, { grant_types: ['refresh_token'] }), 'invalid_client_metadata', /way to get/],
      [redirects(REDIRECT, { response_types: ['token'] }), 'invalid_client_metadata', /response_types/],
      [
        redirects(REDIRECT, { response_types: ['code', 'token'] }),
        'invalid_client_metadata',
        /response_types/,
      ],
      [redirects(REDIRECT, { response_types: [] }), 'invalid_client_metadata', /response_types/],
      [
        redirects(REDIRECT, { grant_types: [DEVICE_GRANT], response_types: ['code'] }),
        'invalid_client_metadata',
        /response_types/,
      ],
      [redirects(REDIRECT, { scope: 'api' }), 'invalid_client_metadata', /scope/],
      [redirects(REDIRECT, { scope: 'mcp admin' }), 'invalid_client_metadata', /scope/],
      [redirects(REDIRECT, { token_endpoint_auth_method: 'tls' }), 'invalid_client_metadata', /auth_method/],
      [
        redirects(REDIRECT, { token_endpoint_auth_method: 'private_key_jwt' }),
        'invalid_client_metadata',
        /jwks/,
      ],
      [
        redirects(REDIRECT, {
          token_endpoint_auth_method: 'private_key_jwt',
          jwks: { keys: [{ ...key, d: 'c2VjcmV0' }] },
        }),
        'invalid_client_metadata',
        /public keys$/,
      ],
      [redirects(REDIRECT, { client_name: 'x'.repeat(10_000) }), 'invalid_client_metadata', /client_name/],
      [redirects(REDIRECT, { client_name: 'a\u200bb' }), 'invalid_client_metadata', /client_name/],
      [redirects(REDIRECT, { logo_uri: 'javascript:alert(1)' }), 'invalid_client_metadata', /^logo_uri/],
      [[], 'invalid_client_metadata', /JSON object/],
      ['x', 'invalid_client_metadata', /JSON object/],
    ];
    for (const [metadata, error, description] of cases) {
      const client = read(metadata);
      assert.ok(!client.ok, JSON.stringify(metadata)?.slice(0, 100));
      assert.equal(client.error.error, error, client.error.description);
      assert.match(client.error.description, description);
      assert.doesNotMatch(client.error.description, /alert|c2VjcmV0/);
    }
  });
});
