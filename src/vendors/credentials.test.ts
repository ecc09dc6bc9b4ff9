import assert from 'node:assert/strict';
import { describe, it, type TestContext } from 'node:test';
import { sql } from 'kysely';
import { onEachDatabase, openAudit, quietLogger, type TestDatabase } from '../../test/support/databases.ts';
import { eventually } from '../../test/support/processes.ts';
import { ScriptedUpstream, sendJson } from '../../test/support/scripted-upstream.ts';
import { GuardedClient } from '../net/guarded-client.ts';
import { KeyRotation } from '../resources/key-rotation.ts';
import { Resources } from '../resources/registry.ts';
import type { OAuthSpec } from '../resources/spec.ts';
import { isResourceOf, VendorCredential } from './credentials.ts';
import type { Grant } from './grants.ts';
import { isDue, tokensOf } from './tokens.ts';
import { Vault } from './vault.ts';
import { VendorHttp } from './vendor-http.ts';
import { WantedScopes } from './wanted-scopes.ts';

const AUTH = { custom: false, allowOrigins: [] } as unknown as OAuthSpec;
const logger = quietLogger();
const KEY = { server: 'server-uid', owner: '' };

async function openProcess(database: TestDatabase, test: TestContext) {
  const { store, dataDir } = await database.open();
  const audit = await openAudit({ store, dataDir });
  const resources = await Resources.open({
    ...{ store, audit, files: [], env: {}, logger, dataDir: dataDir.path, nodePath: '' },
  });
  test.after(() => resources.close());
  return { store, audit, resources, vault: new Vault(store, resources), scopes: new WantedScopes(store) };
}

type Answer = { status?: number; body: object | string; waitFor?: Promise<void> };

/** A token endpoint that answers as it is told, and a grant of it that is over. */
async function vendorWith(test: TestContext, answer: (count: number) => Answer) {
  const forms: URLSearchParams[] = [];
  const upstream = await ScriptedUpstream.start(async (seen, response) => {
    forms.push(new URLSearchParams(seen.body));
    const { status = 200, body, waitFor } = answer(forms.length);
    await waitFor;
    if (typeof body === 'string') response.writeHead(status, { 'content-type': 'text/html' }).end(body);
    else sendJson(response, body, status);
  });
  test.after(() => upstream[Symbol.asyncDispose]());
  const url = `${upstream.origin}/mcp`;
  const grant: Grant = {
    tokens: { access: 'a0', refresh: 'r0', issuedAt: 0, expiresAt: 1, scope: undefined },
    issuer: upstream.origin,
    url,
    resource: url,
    tokenEndpoint: `${upstream.origin}/token`,
    client: { id: 'c', secret: undefined, method: 'none' },
  };
  const target = { name: 'x', uid: KEY.server, owner: KEY.owner, url, auth: AUTH };
  return { forms, grant, target };
}

async function signIn(vault: Vault, grant: Grant, key = KEY): Promise<void> {
  const login = { id: 'l', flow: 'paste', details: {}, pollAt: 0, expiresAt: Date.now() + 60_000 } as const;
  await vault.begin(key, login);
  assert.equal(await vault.settle(key, 'l', grant), true);
}

const credentialOf = (
  target: ConstructorParameters<typeof VendorCredential>[0],
  { vault, scopes }: { vault: Vault; scopes: WantedScopes },
) => {
  const lost: string[] = [];
  const http = new VendorHttp(new GuardedClient());
  const deps = { store: vault, http, scopes, onLost: (_: unknown, reason: string) => void lost.push(reason) };
  return { credential: new VendorCredential(target, deps), lost };
};

onEachDatabase('the credential of a server', (make) => {
  async function opened(test: TestContext) {
    const database = await make();
    test.after(() => database.dispose());
    return { database, process: await openProcess(database, test) };
  }

  it('is renewed once for 200 calls of two processes, and stored before it is used', async (test) => {
    const { database, process } = await opened(test);
    const processes = [process];
    if (database.name === 'PostgreSQL') processes.push(await openProcess(database, test));
    const vendor = await vendorWith(test, (count) => ({
      body: { access_token: `a${count}`, refresh_token: `r${count}`, token_type: 'Bearer', expires_in: 3600 },
    }));
    await signIn(process.vault, vendor.grant);
    // Of each process two that know nothing of each other.
    const credentials = [...processes, ...processes].map((one) => credentialOf(vendor.target, one));
    const calls = Array.from({ length: 200 }, (_, index) =>
      credentials[index % credentials.length]!.credential.prepare(),
    );
    for (const token of await Promise.all(calls)) assert.deepEqual(token, { ok: true, value: 'Bearer a1' });
    assert.equal(vendor.forms.length, 1);
    assert.equal(vendor.forms[0]?.get('refresh_token'), 'r0');
    const kept = await process.vault.read(KEY);
    assert.deepEqual([kept?.grant.tokens.refresh, kept?.version], ['r1', 2]);
    const rows = await process.store.db.selectFrom('upstream_credentials').selectAll().execute();
    // As words: an id that was drawn may hold the letters by chance.
    assert.doesNotMatch(JSON.stringify({ ...rows[0], sealed: '' }), /\b(?:a1|r1|r0)\b/);
  });

  it('keeps its refresh token where the answer has none', async (test) => {
    const { process } = await opened(test);
    const vendor = await vendorWith(test, () => ({ body: { access_token: 'a1', refresh_token: '' } }));
    await signIn(process.vault, vendor.grant);
    const { credential } = credentialOf(vendor.target, process);
    assert.equal((await credential.prepare()).ok, true);
    const kept = await process.vault.read(KEY);
    assert.equal(kept?.grant.tokens.refresh, 'r0');
    assert.equal(kept?.grant.tokens.expiresAt, undefined);
    assert.equal(credential.ready, true);
  });

  it('is lost when the vendor says so, and asked for once', async (test) => {
    const { process } = await opened(test);
    const vendor = await vendorWith(test, () => ({ status: 400, body: { error: 'invalid_grant' } }));
    await signIn(process.vault, vendor.grant);
    const { credential, lost } = credentialOf(vendor.target, process);
    for (const _ of [1, 2, 3]) {
      const token = await credential.prepare();
      assert.ok(!token.ok && token.error.login);
      assert.match(token.error.message, /invalid_grant.*castellan mcp login x/);
    }
    assert.deepEqual([vendor.forms.length, lost.length], [1, 1]);
    await signIn(process.vault, {
      ...vendor.grant,
      tokens: { ...vendor.grant.tokens, expiresAt: undefined },
    });
    assert.equal((await credential.prepare()).ok, true);
  });

  it('stays when the vendor fails, and rests before the next try', async (test) => {
    const { process } = await opened(test);
    for (const answer of [
      { status: 503, body: 'down' },
      { status: 429, body: { error: 'invalid_grant' } },
      { status: 200, body: '<html>' },
      { status: 400, body: '<html>' },
      { status: 200, body: { error: 'server_error' } },
      { status: 400, body: { error: 'temporarily_unavailable' } },
    ]) {
      const vendor = await vendorWith(test, () => answer);
      await signIn(process.vault, vendor.grant);
      const { credential, lost } = credentialOf(vendor.target, process);
      for (const _ of [1, 2]) {
        const token = await credential.prepare();
        assert.ok(!token.ok && !token.error.login && (token.error.retryAfterMs ?? 0) > 0);
      }
      assert.deepEqual([vendor.forms.length, lost.length], [1, 0]);
      const kept = await process.vault.read(KEY);
      assert.deepEqual([kept?.grant.tokens.refresh, kept?.failures, kept?.lost], ['r0', 1, undefined]);
    }
  });

  it('of a sign-in that came meanwhile is not overwritten by a refresh that ends late', async (test) => {
    const { process } = await opened(test);
    const gate = Promise.withResolvers<void>();
    const vendor = await vendorWith(test, () => ({
      status: 400,
      body: { error: 'invalid_grant' },
      waitFor: gate.promise,
    }));
    await signIn(process.vault, vendor.grant);
    const { credential } = credentialOf(vendor.target, process);
    const late = credential.prepare();
    while (vendor.forms.length === 0) await new Promise((resolve) => setImmediate(resolve));
    const fresh = { ...vendor.grant.tokens, access: 'b0', refresh: 'b1', expiresAt: undefined };
    await signIn(process.vault, { ...vendor.grant, tokens: fresh });
    gate.resolve();
    assert.deepEqual(await late, { ok: true, value: 'Bearer b0' });
    assert.equal((await process.vault.read(KEY))?.lost, undefined);
  });

  it('is stored in the end when the store is away while it is renewed, and not used before', async (test) => {
    const { process } = await opened(test);
    let attempts = 0;
    class CountingVault extends Vault {
      override renew(...args: Parameters<Vault['renew']>): Promise<boolean> {
        attempts += 1;
        return super.renew(...args);
      }
    }
    const vault = new CountingVault(process.store, process.resources);
    const gate = Promise.withResolvers<void>();
    const vendor = await vendorWith(test, () => ({
      body: { access_token: 'a1', refresh_token: 'r1', expires_in: 3600 },
      waitFor: gate.promise,
    }));
    await signIn(vault, vendor.grant);
    const { credential } = credentialOf(vendor.target, { ...process, vault });
    const token = credential.prepare();
    await eventually('the vendor is asked', () => vendor.forms.length === 1);
    await sql`alter table upstream_credentials rename to elsewhere`.execute(process.store.db);
    gate.resolve();
    await eventually('it was tried more than once', () => attempts > 1);
    assert.equal(credential.header, undefined);
    await sql`alter table elsewhere rename to upstream_credentials`.execute(process.store.db);
    assert.deepEqual(await token, { ok: true, value: 'Bearer a1' });
    assert.equal((await vault.read(KEY))?.grant.tokens.refresh, 'r1');
    assert.equal(vendor.forms.length, 1);
  });

  it('is renewed by the next one when a process died with it, and the reason says so if that fails', async (test) => {
    for (const forgives of [true, false]) {
      const { process } = await opened(test);
      const vendor = await vendorWith(test, () =>
        forgives ? { body: { access_token: 'a1' } } : { status: 400, body: { error: 'invalid_grant' } },
      );
      await signIn(process.vault, vendor.grant);
      const kept = await process.vault.read(KEY);
      assert.ok(kept);
      assert.equal(await process.vault.lease(KEY, kept, 'dead/1', Date.now() + 5_000), true);
      assert.equal(await process.vault.lease(KEY, kept, 'late/1', Date.now() + 5_000), false);
      const token = await credentialOf(vendor.target, process).credential.prepare();
      if (forgives) assert.deepEqual(token, { ok: true, value: 'Bearer a1' });
      else assert.match(token.ok ? '' : token.error.message, /a renewal was cut off.*castellan mcp login x/);
      assert.equal(vendor.forms.length, 1);
    }
  });

  it('belongs to one user alone where each has their own', async (test) => {
    const { process } = await opened(test);
    const vendor = await vendorWith(test, () => ({ body: {} }));
    const lasting = (access: string) => ({
      ...vendor.grant,
      tokens: { ...vendor.grant.tokens, access, expiresAt: undefined },
    });
    const of = (owner: string) => credentialOf({ ...vendor.target, owner }, process).credential.prepare();
    await signIn(process.vault, lasting('of ann'), { ...KEY, owner: 'ann@example.com' });
    assert.deepEqual(await of('ann@example.com'), { ok: true, value: 'Bearer of ann' });
    for (const other of ['', 'bob@example.com']) {
      const token = await of(other);
      assert.ok(!token.ok && token.error.login);
    }
    await process.vault.prune([]);
    const pruned = await of('ann@example.com');
    assert.ok(!pruned.ok, 'nobody of that name is a user');
    await signIn(process.vault, lasting('shared'));
    await process.vault.prune(['another-server']);
    assert.equal((await of('')).ok, true);
    await process.vault.prune([KEY.server]);
    assert.equal((await of('')).ok, false);
  });

  it('goes to no other address, and counts for no other client', async (test) => {
    const { process } = await opened(test);
    const vendor = await vendorWith(test, () => ({ body: {} }));
    await signIn(process.vault, {
      ...vendor.grant,
      tokens: { ...vendor.grant.tokens, expiresAt: undefined },
    });
    for (const [more, said] of [
      [{ url: 'http://127.0.0.1:1/mcp' }, /address of the server/],
      [
        { url: 'http://127.0.0.1:1/mcp', auth: { ...AUTH, resource: vendor.target.url } },
        /address of the server/,
      ],
      [{ auth: { ...AUTH, resource: 'http://127.0.0.1:1/' } }, /resource was changed/],
      [{ auth: { ...AUTH, clientId: 'other' } }, /clientId was changed/],
      [{ auth: { ...AUTH, tokenEndpoint: 'https://x.example/token' } }, /tokenEndpoint was changed/],
    ] as const) {
      const token = await credentialOf({ ...vendor.target, ...more }, process).credential.prepare();
      assert.ok(!token.ok && token.error.login);
      assert.match(token.error.message, said);
    }
  });

  it('is sealed anew when the key changes, and opens after the old one is forgotten', async (test) => {
    const { process } = await opened(test);
    const { store, resources, audit, vault } = process;
    const vendor = await vendorWith(test, () => ({ body: {} }));
    await signIn(vault, vendor.grant);
    const login = {
      id: 'm',
      flow: 'paste',
      details: { x: 1 },
      pollAt: 0,
      expiresAt: Date.now() + 60_000,
    } as const;
    await vault.begin(KEY, login);
    const rotation = new KeyRotation({ store, resources, others: [vault], audit, logger });
    test.after(() => rotation.close());
    const done = await rotation.rotate(0);
    assert.deepEqual([done.resealed, done.keys], [2, 1]);
    assert.equal((await vault.read(KEY))?.grant.tokens.refresh, 'r0');
    assert.deepEqual((await vault.logins(KEY))[0]?.details, { x: 1 });
  });
});

describe('what a token endpoint answers', () => {
  const lifeOf = (expires_in: unknown) => {
    const tokens = tokensOf({ access_token: 'a', expires_in }, 1_000);
    return tokens.ok ? tokens.value.expiresAt : tokens.error;
  };
  it('has an expiry only where it makes sense, and none that overflows', () => {
    for (const none of [undefined, null, -1, 0, Number.NaN, 'soon', '', {}])
      assert.equal(lifeOf(none), undefined);
    assert.equal(lifeOf(10), 11_000);
    assert.equal(lifeOf('10'), 11_000);
    for (const huge of [1e300, Number.MAX_SAFE_INTEGER, Number.POSITIVE_INFINITY])
      assert.equal(lifeOf(huge), 1_000 + 10 * 365 * 86_400_000);
  });
  it('is refused without a token that a header can carry', () => {
    for (const body of [null, 'x', {}, { access_token: '' }, { access_token: 'a\nb' }, { access_token: 7 }])
      assert.equal(tokensOf(body, 0).ok, false);
    assert.equal(tokensOf({ access_token: 'a', token_type: 'mac' }, 0).ok, false);
    for (const token_type of ['bearer', 'Bearer', 'user'])
      assert.equal(tokensOf({ access_token: 'a', token_type }, 0).ok, true);
  });
  it('is due a minute ahead, and a tenth of a short life', () => {
    assert.equal(isDue({ issuedAt: 0, expiresAt: 3_600_000 }, 3_539_999), false);
    assert.equal(isDue({ issuedAt: 0, expiresAt: 3_600_000 }, 3_540_000), true);
    assert.equal(isDue({ issuedAt: 0, expiresAt: 10_000 }, 8_999), false);
    assert.equal(isDue({ issuedAt: 0, expiresAt: 10_000 }, 9_000), true);
    assert.equal(isDue({ issuedAt: 0, expiresAt: undefined }, 9e15), false);
  });
  it('is for a resource and what lies below it', () => {
    assert.equal(isResourceOf('https://a.example', 'https://a.example/mcp'), true);
    assert.equal(isResourceOf('https://a.example/mcp', 'https://a.example/mcp/x'), true);
    assert.equal(isResourceOf('https://a.example/mc', 'https://a.example/mcp'), false);
    assert.equal(isResourceOf('https://a.example/mcp', 'https://b.example/mcp'), false);
    assert.equal(isResourceOf('https://a.example/mcp', 'http://a.example/mcp'), false);
  });
});
