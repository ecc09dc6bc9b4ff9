import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import * as oauth from 'oauth4webapi';
import * as openid from 'openid-client';
import { newPerson, Person } from '../support/person.ts';
import { startCastellan, type TestCastellan } from '../support/running-castellan.ts';

const ALICE = 'alice@example.com';
const REDIRECT = 'http://127.0.0.1:9/callback';
const DEVICE_GRANT = 'urn:ietf:params:oauth:grant-type:device_code';
/** What a client of any kind registers. */
const METADATA = {
  client_name: 'A library',
  redirect_uris: [REDIRECT],
  grant_types: ['authorization_code', 'refresh_token', DEVICE_GRANT],
  token_endpoint_auth_method: 'none',
};

let castellan: TestCastellan;
let issuer: URL;
let resource = '';
let secret = '';

before(async () => {
  castellan = await startCastellan();
  issuer = new URL(castellan.url);
  resource = `${castellan.url}/projects/demo/mcp`;
  await newPerson(castellan, ALICE);
  const made = await castellan.cli(
    ...['create', 'oauthclient', 'bot', '-p', 'demo', '--user', ALICE, '--auth', 'basic'],
  );
  assert.equal(made.code, 0, made.stderr);
  secret = made.stdout.trim();
});
after(() => castellan[Symbol.asyncDispose]());

/** Whether a token lists the tools of the project. */
async function opens(accessToken: string): Promise<boolean> {
  const answer = await fetch(resource, {
    method: 'POST',
    headers: { authorization: `Bearer ${accessToken}`, 'content-type': 'application/json' },
    body: JSON.stringify({ jsonrpc: '2.0', id: 1, method: 'tools/list' }),
  });
  const text = await answer.text();
  return answer.status === 200 && text.includes('everything__echo');
}

describe('oauth4webapi, unmodified', () => {
  const insecure = { [oauth.allowInsecureRequests]: true };
  const none = oauth.None();
  let server: oauth.AuthorizationServer;
  let client: oauth.Client;

  test('finds the server from the resource, and registers', async () => {
    const answer = await oauth.resourceDiscoveryRequest(new URL(resource), insecure);
    const { authorization_servers: servers } = await oauth.processResourceDiscoveryResponse(
      new URL(resource),
      answer,
    );
    assert.deepEqual(servers, [castellan.url]);
    const found = await oauth.discoveryRequest(issuer, { algorithm: 'oauth2', ...insecure });
    server = await oauth.processDiscoveryResponse(issuer, found);
    const registration = await oauth.dynamicClientRegistrationRequest(server, METADATA, insecure);
    client = await oauth.processDynamicClientRegistrationResponse(registration);
    assert.match(client.client_id, /\S/);
  });

  test('completes the code flow, a refresh and a revocation', async () => {
    const verifier = oauth.generateRandomCodeVerifier();
    const state = oauth.generateRandomState();
    const asked = {
      client_id: client.client_id,
      redirect_uri: REDIRECT,
      response_type: 'code',
      resource,
      state,
      code_challenge: await oauth.calculatePKCECodeChallenge(verifier),
      code_challenge_method: 'S256',
    };
    const page = new URL(server.authorization_endpoint!);
    page.search = String(new URLSearchParams(asked));
    const back = await new Person(castellan.url, ALICE).decide(page);
    const parameters = oauth.validateAuthResponse(server, client, back, state);
    const codeAnswer = await oauth.authorizationCodeGrantRequest(
      server,
      client,
      none,
      parameters,
      REDIRECT,
      verifier,
      insecure,
    );
    const first = await oauth.processAuthorizationCodeResponse(server, client, codeAnswer);
    assert.equal(first.scope, 'mcp');
    assert.equal(await opens(first.access_token), true);

    const refreshAnswer = await oauth.refreshTokenGrantRequest(
      server,
      client,
      none,
      first.refresh_token!,
      insecure,
    );
    const second = await oauth.processRefreshTokenResponse(server, client, refreshAnswer);
    assert.notEqual(second.refresh_token, first.refresh_token);
    assert.equal(await opens(second.access_token), true);

    const revocation = await oauth.revocationRequest(server, client, none, second.refresh_token!, insecure);
    await oauth.processRevocationResponse(revocation);
    assert.equal(await opens(second.access_token), false);
  });

  test('completes the device flow', async () => {
    const parameters = { resource, scope: 'mcp' };
    const answer = await oauth.deviceAuthorizationRequest(server, client, none, parameters, insecure);
    const device = await oauth.processDeviceAuthorizationResponse(server, client, answer);
    assert.equal(device.verification_uri, `${castellan.url}/device`);
    await new Person(castellan.url, ALICE).enter(device.user_code);
    const granted = await oauth.deviceCodeGrantRequest(server, client, none, device.device_code, insecure);
    const tokens = await oauth.processDeviceCodeResponse(server, client, granted);
    assert.equal(await opens(tokens.access_token), true);
  });

  test('gets a token with client credentials, and has it introspected', async () => {
    const bot = { client_id: 'bot' };
    const basic = oauth.ClientSecretBasic(secret);
    const answer = await oauth.clientCredentialsGrantRequest(server, bot, basic, {}, insecure);
    const tokens = await oauth.processClientCredentialsResponse(server, bot, answer);
    assert.equal(await opens(tokens.access_token), true);
    const asked = await oauth.introspectionRequest(server, bot, basic, tokens.access_token, insecure);
    const { active, scope } = await oauth.processIntrospectionResponse(server, bot, asked);
    assert.deepEqual([active, scope], [true, 'mcp']);
  });
});

describe('openid-client, unmodified', () => {
  const options = { algorithm: 'oauth2' as const, execute: [openid.allowInsecureRequests] };
  let config: openid.Configuration;

  test('finds the server, and registers', async () => {
    config = await openid.dynamicClientRegistration(issuer, METADATA, openid.None(), options);
    assert.match(config.clientMetadata().client_id, /\S/);
  });

  test('completes the code flow, a refresh and a revocation', async () => {
    const pkceCodeVerifier = openid.randomPKCECodeVerifier();
    const expectedState = openid.randomState();
    const page = openid.buildAuthorizationUrl(config, {
      redirect_uri: REDIRECT,
      resource,
      state: expectedState,
      code_challenge: await openid.calculatePKCECodeChallenge(pkceCodeVerifier),
      code_challenge_method: 'S256',
    });
    const back = await new Person(castellan.url, ALICE).decide(page);
    const first = await openid.authorizationCodeGrant(config, back, { pkceCodeVerifier, expectedState });
    assert.equal(await opens(first.access_token), true);
    const second = await openid.refreshTokenGrant(config, first.refresh_token!);
    assert.notEqual(second.refresh_token, first.refresh_token);
    assert.equal(await opens(second.access_token), true);
    await openid.tokenRevocation(config, second.refresh_token!);
    assert.equal(await opens(second.access_token), false);
  });

  test('completes the device flow', async () => {
    const device = await openid.initiateDeviceAuthorization(config, { resource, scope: 'mcp' });
    const polling = openid.pollDeviceAuthorizationGrant(config, device);
    const [tokens] = await Promise.all([polling, new Person(castellan.url, ALICE).enter(device.user_code)]);
    assert.equal(await opens(tokens.access_token), true);
  });

  test('gets a token with client credentials, and has it introspected', async () => {
    const auth = openid.ClientSecretBasic(secret);
    const bot = await openid.discovery(issuer, 'bot', undefined, auth, options);
    const tokens = await openid.clientCredentialsGrant(bot);
    assert.equal(await opens(tokens.access_token), true);
    assert.equal((await openid.tokenIntrospection(bot, tokens.access_token)).active, true);
  });
});
