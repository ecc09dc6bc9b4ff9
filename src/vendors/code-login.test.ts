import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { Refusal } from '../base/errors.ts';
import { codeIn, codeLogin } from './code-login.ts';
import type { Vendor } from './discovery.ts';

const ISSUER = 'https://auth.example.com/t';
const BACK = 'https://castellan.example.com/oauth/callback/x';

function vendor(more: Partial<Vendor>): Vendor {
  return {
    ...{ issuer: ISSUER, audience: ISSUER, namesItself: true, readsDocuments: false },
    authorizationEndpoint: `${ISSUER}/authorize?tenant=a&state=theirs`,
    tokenEndpoint: `${ISSUER}/token`,
    ...{ deviceAuthorizationEndpoint: undefined, registrationEndpoint: undefined },
    ...{ revocationEndpoint: undefined, authMethods: undefined, signingAlgorithms: undefined },
    ...{ resource: 'https://mcp.example.com/', scope: 'a offline_access', parameters: {} },
    ...more,
  };
}

const client = { id: 'c', secret: undefined, method: 'none' } as const;
const begun = (more: Partial<Vendor> = {}) =>
  codeLogin('paste', 'https://mcp.example.com/', vendor(more), {
    client,
    redirectUri: BACK,
    browser: undefined,
  });

function answer(parameters: Record<string, string>, more: Partial<Vendor> = {}) {
  const url = new URL(BACK);
  for (const [name, value] of Object.entries(parameters)) url.searchParams.set(name, value);
  return codeIn(url, begun(more).details);
}

const isRefused = (message: RegExp) => (error: unknown) =>
  error instanceof Refusal && error.kind === 'invalid' && message.test(error.message);

describe('the request that a browser is sent with', () => {
  it('has what the specifications ask for, and nothing of the endpoint takes its place', () => {
    const { details } = begun({ parameters: { access_type: 'offline' } });
    const asked = new URL(details.step.url).searchParams;
    const { state, code_challenge, ...others } = Object.fromEntries(asked);
    assert.deepEqual(others, {
      ...{ tenant: 'a', response_type: 'code', client_id: 'c', redirect_uri: BACK },
      ...{ code_challenge_method: 'S256', scope: 'a offline_access', resource: 'https://mcp.example.com/' },
      ...{ access_type: 'offline', prompt: 'consent' },
    });
    assert.equal(asked.getAll('state').length, 1);
    assert.equal(state, details.state);
    assert.match(code_challenge ?? '', /^[\w-]{43}$/);
  });
});

describe('the issuer in what a browser comes back with', () => {
  const variants = [
    `${ISSUER}/`,
    'https://AUTH.example.com/t',
    'HTTPS://auth.example.com/t',
    'https://auth.example.com:443/t',
    'https://auth.example.com./t',
    'https://auth.example.com/%74',
    'https://evil.example',
    'null',
    '',
  ];

  it('counts to the letter, announced or not', () => {
    for (const namesItself of [true, false]) {
      assert.deepEqual(answer({ code: 'k', iss: ISSUER }, { namesItself }), { code: 'k' });
      for (const iss of variants)
        assert.throws(() => answer({ code: 'k', iss }, { namesItself }), isRefused(/another issuer/), iss);
    }
  });

  it('has to be there where it was announced', () => {
    assert.throws(() => answer({ code: 'k' }), isRefused(/does not name its issuer/));
    assert.deepEqual(answer({ code: 'k' }, { namesItself: false }), { code: 'k' });
  });

  it('is looked at before an error is, of which no word is shown', () => {
    const denied = { error: 'access_denied', error_description: 'call this number' };
    assert.throws(() => answer({ ...denied, iss: 'https://evil.example' }), isRefused(/another issuer/));
    assert.throws(() => answer(denied), isRefused(/does not name its issuer/));
    assert.deepEqual(answer({ ...denied, iss: ISSUER }), { denied: 'access_denied' });
    assert.deepEqual(answer({ error: '\u001b[31m<b>', iss: ISSUER }), { denied: 'unnamed' });
  });
});
