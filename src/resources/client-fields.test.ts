import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { checkObject } from './objects.ts';
import { describeProblems } from './problems.ts';
import { locateField } from './snapshot.ts';

const faults = (spec: unknown, name = 'bot'): string =>
  describeProblems(checkObject({ kind: 'OAuthClient', metadata: { name }, spec }).problems.map(locateField));

const headless = {
  user: 'alice@example.com',
  project: 'demo',
  redirectUris: ['https://bot.example/callback'],
  autoApprove: true,
};
const publicKey = { kty: 'EC', crv: 'P-256', x: 'eA', y: 'eQ' };

describe('fields of an OAuthClient', () => {
  test('what makes sense is taken', () => {
    for (const spec of [
      {},
      headless,
      { redirectUris: ['https://a.example/cb', 'http://127.0.0.1/cb', 'com.example.app:/cb'] },
      { tokenEndpointAuthMethod: 'none', redirectUris: ['http://localhost/cb'] },
      { ...headless, tokenEndpointAuthMethod: 'private_key_jwt', jwks: { keys: [publicKey] } },
      { ...headless, tokenEndpointAuthMethod: 'client_secret_post', scopes: ['mcp', 'mcp:operator'] },
    ])
      assert.equal(faults(spec), '', JSON.stringify(spec));
  });

  test('what does not is refused by its field', () => {
    const cases: [object, RegExp][] = [
      [{ redirectUris: ['javascript:alert(1)'] }, /^spec\.redirectUris\[0\]: has the scheme javascript/],
      [
        { redirectUris: ['https://a.example/', 'https://a.example/'] },
        /^spec\.redirectUris: names one a second/,
      ],
      [{ ...headless, redirectUris: [] }, /^spec\.redirectUris: must be exactly one with autoApprove/],
      [{ ...headless, redirectUris: ['https://a.example/', 'https://b.example/'] }, /exactly one/],
      [{ autoApprove: true, redirectUris: ['https://a.example/'] }, /^spec\.autoApprove: needs a user/],
      [{ user: 'alice@example.com' }, /^spec\.project: is missing/],
      [{ ...headless, tokenEndpointAuthMethod: 'none' }, /^spec\.user: needs a client that proves itself/],
      [{ tokenEndpointAuthMethod: 'private_key_jwt' }, /^spec\.jwks: is missing/],
      [{ jwks: { keys: [publicKey] } }, /^spec\.jwks: needs tokenEndpointAuthMethod/],
      [
        { tokenEndpointAuthMethod: 'private_key_jwt', jwks: { keys: [{ ...publicKey, d: 'c2VjcmV0' }] } },
        /^spec\.jwks\.keys\[0\]: is a private key/,
      ],
      [
        { tokenEndpointAuthMethod: 'private_key_jwt', jwks: { keys: [{ kty: 'oct', k: 'eA' }] } },
        /one of RSA/,
      ],
      [{ scopes: ['api'] }, /^spec\.scopes\[0\]: must be one of mcp, mcp:operator/],
      [{ scopes: [] }, /^spec\.scopes: is too small/],
      [{ redirectUri: 'x' }, /did you mean redirectUris/],
      [{ user: 'Alice' }, /^spec\.user: "Alice" is no e-mail/],
    ];
    for (const [spec, said] of cases) assert.match(faults(spec), said);
    assert.doesNotMatch(faults(cases[9]![0]), /c2VjcmV0/);
  });

  test('nobody takes the name of the command line', () => {
    assert.match(faults({}, 'castellan-cli'), /metadata\.name: "castellan-cli" is the command line itself/);
  });
});
