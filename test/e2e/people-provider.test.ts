import assert from 'node:assert/strict';
import { after, before, beforeEach, describe, it } from 'node:test';
import { OracleProvider } from '../support/oracle-provider.ts';
import { type Answered, PageClient } from '../support/page-client.ts';
import { startCastellan, type TestCastellan } from '../support/running-castellan.ts';

const ALICE = 'alice@example.com';

let provider: OracleProvider;
let castellan: TestCastellan;
before(async () => {
  provider = await OracleProvider.start();
  castellan = await startCastellan([], {
    env: {
      CASTELLAN_SSO_ISSUER: provider.issuer,
      CASTELLAN_SSO_CLIENT_ID: 'castellan',
      CASTELLAN_SSO_CLIENT_SECRET: 'a client secret',
      CASTELLAN_SSO_NAME: 'Example <Login>',
      CASTELLAN_SSO_GROUPS: 'cn=eng,ou=x=developers, ops=oncall',
    },
  });
  for (const group of ['developers', 'oncall', 'local']) await castellan.cli('create', 'group', group);
  await castellan.cli('create', 'user', ALICE, '--group', 'local');
});
after(async () => {
  await castellan[Symbol.asyncDispose]();
  await provider[Symbol.asyncDispose]();
});

let serial = 1;
beforeEach(() => {
  provider.claims = { sub: 'alice', email: ALICE, email_verified: true, name: 'Alice', groups: [] };
  provider.userInfo = {};
  provider.answer = () => {};
  provider.token = () => {};
});

const visitor = () => {
  serial += 1;
  return new PageClient(castellan.url, `127.0.9.${serial}`);
};

/** The path that the provider sends the browser back to. */
async function atProvider(client: PageClient, query = ''): Promise<string> {
  const { status, headers } = await client.get(`/sign-in/provider${query}`);
  assert.equal(status, 303);
  const sent = await fetch(String(headers.location), { redirect: 'manual' });
  const back = new URL(String(sent.headers.get('location')));
  assert.equal(back.origin, castellan.url);
  return back.pathname + back.search;
}

async function signIn(client = visitor()): Promise<{ client: PageClient; answer: Answered }> {
  return { client, answer: await client.get(await atProvider(client)) };
}

async function refused(why: RegExp, client = visitor()): Promise<void> {
  const { answer } = await signIn(client);
  assert.equal(answer.status, 403);
  assert.match(answer.body, why);
  assert.equal((await client.get('/account')).status, 401);
}

describe('signing in at another provider', () => {
  it('opens the account of the verified address, and goes on', async () => {
    const client = visitor();
    assert.match((await client.get('/sign-in?next=/account?x')).body, /Go on with Example &lt;Login&gt;/);
    const { status, headers } = await client.get(await atProvider(client, '?next=/account?x=1'));
    assert.deepEqual([status, headers.location], [303, '/account?x=1']);
    const { body } = await client.get('/account');
    assert.match(body, /<strong>alice@example\.com<\/strong>/);
    assert.match(body, /You have none here/, 'no password');
    const exchange = provider.exchanged.at(-1)!;
    assert.equal(exchange.get('redirect_uri'), `${castellan.url}/sign-in/provider/back`);
    assert.ok(exchange.get('code_verifier'));
    const { stdout } = await castellan.cli('audit', 'query', '-o', 'json');
    assert.match(stdout, /"method":\s*"sso"/);
    assert.ok(!`${stdout}${castellan.stderr()}`.includes('a client secret'));
  });

  it('lets mapped groups follow the provider, and leaves the others', async () => {
    provider.claims = { ...provider.claims, groups: ['cn=eng', 'nowhere', 7] };
    const groups = async () =>
      /Groups<\/dt><dd>([^<]*)/.exec((await (await signIn()).client.get('/account')).body)?.[1];
    assert.equal(await groups(), 'local');
    provider.claims = { ...provider.claims, groups: ['ops', 'ops'] };
    assert.equal(await groups(), 'local, oncall');
    const { groups: _, ...without } = provider.claims as { groups: unknown };
    provider.claims = without;
    provider.userInfo = { groups: ['cn=eng,ou=x', 'ops'] };
    assert.equal(await groups(), 'local, oncall', 'what has a comma cannot be mapped');
    provider.userInfo = {};
    assert.equal(await groups(), 'local');
  });

  it('makes a user of whoever is in a mapped group, and of nobody else', async () => {
    provider.claims = { sub: 'bob', email: 'Bob@Example.com', email_verified: true, name: 'Bob' };
    await refused(/You are no user here/);
    provider.claims = { ...provider.claims, groups: ['ops'] };
    const { client } = await signIn();
    assert.match((await client.get('/account')).body, /bob@example\.com[\s\S]*oncall/);
    const { stdout } = await castellan.cli('audit', 'query', '-o', 'json');
    assert.match(stdout, /"target":\s*"User\/bob@example\.com"/);
  });

  it('knows a person by the subject, whatever address comes later, and ties no second one to a user', async () => {
    await signIn();
    provider.claims = { ...provider.claims, email: 'alice.new@example.com' };
    assert.match((await (await signIn()).client.get('/account')).body, /alice@example\.com/);
    provider.claims = { ...provider.claims, sub: 'mallory', email: ALICE };
    await refused(/another account/);
  });

  for (const [what, claims, why] of [
    ['no verified address', { email_verified: false }, /verified/],
    ['an address that only looks verified', { email_verified: 'true' }, /verified/],
    ['the name of the administrator', { email: 'admin' }, /verified/],
  ] as const)
    it(`refuses ${what}`, async () => {
      provider.claims = { ...provider.claims, sub: what, ...claims };
      await refused(why);
    });

  it('refuses a disabled user', async () => {
    await castellan.cli('create', 'user', 'carol@example.com', '--disabled');
    provider.claims = { sub: 'carol', email: 'carol@example.com', email_verified: true };
    await refused(/disabled/);
  });

  for (const [what, lie] of [
    ['another issuer', () => (provider.answer = (answer) => answer.set('iss', 'https://evil.example'))],
    [
      'an issuer with a slash more',
      () => (provider.answer = (answer) => answer.set('iss', `${provider.issuer}/`)),
    ],
    ['no issuer though it is promised', () => (provider.answer = (answer) => answer.delete('iss'))],
    ['another state', () => (provider.answer = (answer) => answer.set('state', 'x'))],
    ['no state', () => (provider.answer = (answer) => answer.delete('state'))],
  ] as const)
    it(`T62, T63: refuses ${what} before it asks for a token`, async () => {
      lie();
      const before = provider.exchanged.length;
      await refused(/Start again/);
      assert.equal(provider.exchanged.length, before);
    });

  for (const [what, lie] of [
    ['another nonce', (claims: Record<string, unknown>) => Object.assign(claims, { nonce: 'x' })],
    ['a token for another client', (claims: Record<string, unknown>) => Object.assign(claims, { aud: 'x' })],
    [
      'a token of another issuer',
      (claims: Record<string, unknown>) => Object.assign(claims, { iss: 'https://x' }),
    ],
    ['an expired token', (claims: Record<string, unknown>) => Object.assign(claims, { exp: 1 })],
  ] as const)
    it(`refuses ${what}`, async () => {
      provider.token = lie;
      await refused(/Start again/);
    });

  it('T63: refuses a way back that is used twice, or in another browser, and shows nothing that strangers wrote', async () => {
    const client = visitor();
    const back = await atProvider(client);
    const cookie = client.cookies.get('castellan-provider')!;
    const stranger = visitor();
    assert.equal((await stranger.get(back)).status, 403);
    assert.equal((await client.get(back)).status, 303);
    client.cookies.set('castellan-provider', cookie);
    const again = await client.get(back);
    assert.equal(again.status, 403);
    assert.doesNotMatch(again.body, /canary/);
    const denied = visitor();
    provider.answer = (answer) => {
      answer.delete('code');
      answer.set('error', 'access_denied');
      answer.set('error_description', '<b>canary</b>');
    };
    const answer = await denied.get(await atProvider(denied));
    assert.equal(answer.status, 403);
    assert.doesNotMatch(answer.body, /canary/);
    assert.doesNotMatch(castellan.stderr(), /canary/);
  });

  it('two sign-ins in two browsers go on side by side', async () => {
    const [one, two] = [visitor(), visitor()];
    const [first, second] = [await atProvider(one), await atProvider(two)];
    assert.equal((await two.get(second)).status, 303);
    assert.equal((await one.get(first)).status, 303);
  });

  it('proves nobody anew who was not', async () => {
    const { client } = await signIn();
    const again = await client.get('/sign-in?again=1&next=/account');
    assert.equal(again.status, 200, 'the provider did not say when');
    assert.match(again.body, /provider\?next=%2Faccount&amp;again=1/);
    provider.token = (claims) => Object.assign(claims, { auth_time: Math.floor(Date.now() / 1_000) - 3_600 });
    assert.equal((await client.get(await atProvider(client, '?again=1'))).status, 403);
    provider.token = () => {};
    assert.equal((await client.get(await atProvider(client, '?again=1'))).status, 303);
    assert.equal((await client.get('/sign-in?again=1&next=/account')).status, 303, 'it is fresh now');
  });
});

describe('the settings of another provider', () => {
  for (const [what, env, said] of [
    ['plain http', { CASTELLAN_SSO_ISSUER: 'http://login.example.com' }, /https URL/],
    ['no client', { CASTELLAN_SSO_ISSUER: 'https://login.example.com' }, /CLIENT_ID is missing/],
    [
      'a group without ours',
      {
        CASTELLAN_SSO_ISSUER: 'https://login.example.com',
        CASTELLAN_SSO_CLIENT_ID: 'c',
        CASTELLAN_SSO_CLIENT_SECRET: 's',
        CASTELLAN_SSO_GROUPS: 'x',
      },
      /THEIR-GROUP=our-group/,
    ],
  ] as const)
    it(`are refused with ${what}`, () => assert.rejects(startCastellan([], { env }), said));
});
