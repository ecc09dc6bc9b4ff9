import assert from 'node:assert/strict';
import { generateKeyPairSync, type KeyObject } from 'node:crypto';
import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { text } from 'node:stream/consumers';
import { describe, it, type TestContext } from 'node:test';
import { Provider } from 'oidc-provider';
import { ScopedVendor } from '../../test/support/scoped-vendor.ts';
import { GuardedClient } from '../net/guarded-client.ts';
import { oauthSpec } from '../resources/oauth-auth.ts';
import type { OAuthSpec } from '../resources/spec.ts';
import { MachineCredential } from './machine-credential.ts';
import { VendorHttp } from './vendor-http.ts';

type Assertion = { header: Record<string, unknown>; claims: Record<string, unknown> };

const KEYS: Record<string, { privateKey: KeyObject; publicKey: KeyObject }> = {
  ES256: generateKeyPairSync('ec', { namedCurve: 'P-256' }),
  RS256: generateKeyPairSync('rsa', { modulusLength: 2048 }),
  EdDSA: generateKeyPairSync('ed25519'),
};

/** oidc-provider with one client for each way to prove itself, and a resource that describes itself. */
async function authorizationServer(test: TestContext) {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const origin = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  const url = `${origin}/mcp`;
  const client = { redirect_uris: [], response_types: [], grant_types: ['client_credentials'] };
  const secret = { ...client, client_secret: 's:e c+r%e&t' };
  const provider = new Provider(origin, {
    scopes: ['mcp'],
    clients: [
      { ...secret, client_id: 'client_secret_basic', token_endpoint_auth_method: 'client_secret_basic' },
      { ...secret, client_id: 'client_secret_post', token_endpoint_auth_method: 'client_secret_post' },
      ...Object.entries(KEYS).map(([alg, { publicKey }]) => ({
        ...client,
        client_id: alg,
        token_endpoint_auth_method: 'private_key_jwt' as const,
        token_endpoint_auth_signing_alg: alg as 'ES256',
        jwks: { keys: [{ ...publicKey.export({ format: 'jwk' }), kid: 'k1' }] as never },
      })),
    ],
    enabledJWA: {
      clientAuthSigningAlgValues: ['ES256', 'RS256', 'EdDSA'],
    },
    features: {
      devInteractions: { enabled: false },
      clientCredentials: { enabled: true },
      resourceIndicators: {
        enabled: true,
        getResourceServerInfo: () => ({ scope: 'mcp', audience: url, accessTokenFormat: 'opaque' }),
      },
    },
  });
  const assertions: Assertion[] = [];
  server.on('request', async (req, res) => {
    if (req.url === '/.well-known/oauth-protected-resource/mcp') {
      const resource = { resource: url, authorization_servers: [origin], scopes_supported: ['mcp'] };
      res.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify(resource));
      return;
    }
    if (req.url === '/token') {
      const form = new URLSearchParams(await text(req));
      const parts = (form.get('client_assertion') ?? '').split('.');
      const [header, claims] = parts.map((part) => Buffer.from(part, 'base64url').toString());
      if (header && claims) assertions.push({ header: JSON.parse(header), claims: JSON.parse(claims) });
      Object.assign(req, { body: Object.fromEntries(form) });
    }
    await provider.callback()(req, res);
  });
  test.after(() => {
    server.closeAllConnections();
    server.close();
  });
  return { origin, url, assertions };
}

function machine(url: string, auth: object, lost: string[] = []): MachineCredential {
  const spec = oauthSpec({ type: 'oauth', grant: 'client_credentials', ...auth }) as OAuthSpec;
  const target = { name: 'x', uid: 'u', owner: '', url, auth: spec };
  const onLost = (_: unknown, reason: string) => void lost.push(reason);
  return new MachineCredential(target, { http: new VendorHttp(new GuardedClient()), onLost });
}

const pem = ({ privateKey }: { privateKey: KeyObject }) =>
  String(privateKey.export({ type: 'pkcs8', format: 'pem' }));

describe('a machine at oidc-provider', () => {
  it('proves itself with its secret, whatever is in it', async (test) => {
    const { url } = await authorizationServer(test);
    const token = await machine(url, {
      clientId: 'client_secret_basic',
      clientSecret: 's:e c+r%e&t',
    }).prepare();
    assert.equal(token.ok, true, JSON.stringify(token));
    const wrong = await machine(url, { clientId: 'client_secret_basic', clientSecret: 'other' }).prepare();
    assert.ok(!wrong.ok && wrong.error.login);
    assert.match(wrong.error.message, /issued no token \(invalid_client\)/);
    assert.doesNotMatch(wrong.error.message, /other/);
  });

  for (const [alg, key] of Object.entries(KEYS))
    it(`proves itself with an ${alg} key, for the issuer alone, once, and not for long`, async (test) => {
      const { origin, url, assertions } = await authorizationServer(test);
      const jwk = JSON.stringify({ ...key.privateKey.export({ format: 'jwk' }), kid: 'k1' });
      for (const privateKey of [pem(key), jwk]) {
        const token = await machine(url, { clientId: alg, privateKey }).prepare();
        assert.equal(token.ok, true, JSON.stringify(token));
      }
      assert.deepEqual(
        assertions.map(({ header }) => header),
        [{ alg }, { alg, kid: 'k1' }],
      );
      for (const { claims } of assertions) {
        const { iss, sub, aud, iat, exp } = claims as Record<string, number>;
        assert.deepEqual([iss, sub, aud], [alg, alg, origin]);
        assert.ok(Number(exp) - Number(iat) <= 60);
      }
      const [one, other] = assertions.map(({ claims }) => claims.jti);
      assert.ok(one && other && one !== other);
    });

  it('says which algorithm is missing before it asks for anything', async (test) => {
    const { url } = await authorizationServer(test);
    const privateKey = pem(generateKeyPairSync('ec', { namedCurve: 'P-384' }));
    const token = await machine(url, { clientId: 'ES256', privateKey }).prepare();
    assert.ok(!token.ok && token.error.login);
    assert.match(token.error.message, /takes no signature of ES384, which the key in privateKey makes/);
  });
});

describe('a machine at a vendor', () => {
  async function started(test: TestContext): Promise<ScopedVendor> {
    const vendor = await ScopedVendor.start();
    test.after(() => vendor[Symbol.asyncDispose]());
    return vendor;
  }
  const auth = { clientId: 'c', clientSecret: 's' };

  it('fetches one token for a hundred calls, and another when that is about to end', async (test) => {
    const vendor = await started(test);
    vendor.lifeSeconds = 1;
    const credential = machine(vendor.url, auth);
    const tokens = await Promise.all(Array.from({ length: 100 }, () => credential.prepare()));
    assert.equal(new Set(tokens.map((token) => token.ok && token.value)).size, 1);
    assert.equal(vendor.exchanges.length, 1);
    while (credential.ready) await new Promise((resolve) => setImmediate(resolve));
    assert.notDeepEqual(await credential.prepare(), tokens[0]);
    assert.equal(vendor.exchanges.length, 2);
  });

  it('puts its secret where the vendor takes it', async (test) => {
    const vendor = await started(test);
    vendor.metadata = { token_endpoint_auth_methods_supported: ['client_secret_post'] };
    assert.equal((await machine(vendor.url, auth).prepare()).ok, true);
    const [{ form, proof } = { form: new URLSearchParams(), proof: '' }] = vendor.exchanges;
    assert.deepEqual([form.get('client_id'), form.get('client_secret'), proof], ['c', 's', undefined]);
  });

  it('waits before it asks again when the vendor is down', async (test) => {
    for (const denial of [{ status: 503 }, { status: 429, error: 'slow' }, { status: 400 }]) {
      const vendor = await started(test);
      vendor.lifeSeconds = 60;
      const lost: string[] = [];
      const credential = machine(vendor.url, auth, lost);
      vendor.deny = () => denial;
      for (const _ of [1, 2, 3]) {
        const token = await credential.prepare();
        assert.ok(!token.ok && !token.error.login && (token.error.retryAfterMs ?? 0) > 0);
      }
      assert.deepEqual([vendor.exchanges.length, lost], [1, []]);
    }
  });

  it('asks for another token when one is refused, and tells once when a new one is refused too', async (test) => {
    const vendor = await started(test);
    const lost: string[] = [];
    const credential = machine(vendor.url, auth, lost);
    await credential.prepare();
    credential.refuse(credential.version);
    for (const _ of [1, 2]) {
      const token = await credential.prepare();
      assert.ok(!token.ok && token.error.login);
      assert.match(token.error.message, /refuses the token that it was just issued/);
    }
    assert.deepEqual([vendor.exchanges.length, lost.length], [1, 1]);
  });

  it('does not take the refusal of an older token for one of the new', async (test) => {
    const vendor = await started(test);
    const credential = machine(vendor.url, auth);
    await credential.prepare();
    const { version } = credential;
    await credential.widen(['write'], version);
    credential.refuse(version);
    assert.equal(credential.ready, true);
    assert.equal((await credential.prepare()).ok, true);
    assert.equal(vendor.exchanges.length, 2);
  });

  it('widens its token once for calls that want the same, and is told no once', async (test) => {
    const vendor = await started(test);
    const credential = machine(vendor.url, auth);
    await credential.prepare();
    const { version } = credential;
    const wider = await Promise.all([1, 2, 3].map(() => credential.widen(['write'], version)));
    assert.ok(wider.every(({ ok }) => ok));
    assert.deepEqual(
      vendor.exchanges.map(({ form }) => form.get('scope')),
      ['base', 'base write'],
    );
    vendor.deny = () => ({ status: 400, error: 'invalid_scope' });
    const asked = [1, 2, 3].map(() => credential.widen(['admin'], credential.version));
    for (const refused of await Promise.all(asked)) {
      assert.ok(!refused.ok && !refused.error.login);
      assert.match(refused.error.message, /wants admin: .* issued no token \(invalid_scope\)/);
    }
    assert.equal(vendor.exchanges.length, 3);
    assert.equal(credential.ready, true);
  });

  it('goes back to less when the vendor no longer gives what one call wanted', async (test) => {
    const vendor = await started(test);
    const credential = machine(vendor.url, auth);
    await credential.prepare();
    await credential.widen(['write'], credential.version);
    vendor.lifeSeconds = 1;
    vendor.deny = (form) =>
      form.get('scope') === 'base' ? undefined : { status: 400, error: 'invalid_scope' };
    await credential.widen(['other'], credential.version);
    credential.refuse(credential.version);
    test.mock.timers.enable({ apis: ['Date'], now: Date.now() + 60_000 });
    assert.equal((await credential.prepare()).ok, true);
    assert.deepEqual(
      vendor.exchanges.slice(-2).map(({ form }) => form.get('scope')),
      ['base write', 'base'],
    );
  });

  it('gets no more than what somebody wrote down for it', async (test) => {
    const vendor = await started(test);
    const credential = machine(vendor.url, { ...auth, scopes: ['base'] });
    await credential.prepare();
    const wider = await credential.widen(['write'], credential.version);
    assert.ok(!wider.ok);
    assert.match(wider.error.message, /wants write: add it to scopes of its auth/);
    assert.equal(vendor.exchanges.length, 1);
  });
});
