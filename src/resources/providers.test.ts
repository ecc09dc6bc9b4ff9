import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { endpointFault } from './endpoint-url.ts';
import { oauthSpec } from './oauth-auth.ts';
import { fieldName } from './problems.ts';
import { PROVIDER_NAMES, PROVIDERS, providerAt } from './providers.ts';
import { serverProblems } from './server-fields.ts';

const url = 'https://mcp.example.com/mcp';
const written = (auth: object) =>
  serverProblems({ url, auth: { type: 'oauth', ...auth } }).map(
    ({ path, message }) => `${fieldName(path)}: ${message}`,
  );

describe('the catalogue of providers', () => {
  it('holds https endpoints alone, that a browser may be sent to', () => {
    for (const { endpoints, parameters } of Object.values(PROVIDERS)) {
      for (const endpoint of Object.values(endpoints ?? {})) {
        assert.equal(endpointFault(endpoint), undefined);
        assert.match(endpoint, /^https:/);
      }
      for (const reserved of ['state', 'client_id', 'redirect_uri', 'code_challenge'])
        assert.ok(!(reserved in (parameters ?? {})));
    }
    assert.deepEqual(PROVIDER_NAMES.slice(1), Object.keys(PROVIDERS).sort());
  });

  it('fills in what is known, and takes no redirect URI of its own', () => {
    const auth = { provider: 'github', clientId: 'c', redirectUri: 'https://elsewhere.example/back' };
    assert.deepEqual(written(auth), []);
    const spec = oauthSpec({ type: 'oauth', ...auth });
    assert.equal(spec?.tokenEndpoint, 'https://github.com/login/oauth/access_token');
    assert.equal(spec?.redirectUri, undefined);
    assert.equal(spec?.custom, false);
  });

  it('is known by the place where tokens are issued, whoever names that', () => {
    const tenant = 'https://login.microsoftonline.com/acme/oauth2/v2.0/token';
    assert.equal(providerAt(tenant).refusesResource, true);
    assert.deepEqual(providerAt('https://login.example.com/token'), {});
  });

  it('says what is missing, superfluous or unknown', () => {
    assert.match(written({ provider: 'github' }).join(), /clientId: is missing: github registers nobody/);
    assert.deepEqual(written({ provider: 'notion' }), []);
    assert.match(written({ provider: 'githbu' }).join(), /provider: is not known: did you mean github\?/);
    assert.match(written({ provider: 'zzzzzzzz' }).join(), /use one of custom, atlassian, github/);
    const more = { provider: 'github', clientId: 'c', tokenEndpoint: 'https://a.example/t' };
    assert.match(written(more).join(), /tokenEndpoint: counts only with provider: custom; remove this/);
  });
});
