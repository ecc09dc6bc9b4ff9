import assert from 'node:assert/strict';
import { describe, it, type TestContext } from 'node:test';
import { INSIDE_ADDRESSES, listener } from '../../test/support/inside-addresses.ts';
import { ScopedVendor } from '../../test/support/scoped-vendor.ts';
import { GuardedClient } from '../net/guarded-client.ts';
import { oauthSpec } from '../resources/oauth-auth.ts';
import type { OAuthSpec } from '../resources/spec.ts';
import type { VendorClient } from './client-proof.ts';
import { discover, metadataPlaces } from './discovery.ts';
import { VendorHttp } from './vendor-http.ts';

const http = new VendorHttp(new GuardedClient());
const HOSTS = INSIDE_ADDRESSES.flatMap(([, ...hosts]) => hosts);

async function started(test: TestContext): Promise<ScopedVendor> {
  const vendor = await ScopedVendor.start();
  test.after(() => vendor[Symbol.asyncDispose]());
  return vendor;
}

const targetAt = (url: string, auth: object = {}) => ({
  ...{ name: 'x', uid: 'u', owner: '', url },
  auth: oauthSpec({ type: 'oauth', ...auth }) as OAuthSpec,
});

async function refusal(url: string, auth: object = {}): Promise<string> {
  const found = await discover(http, targetAt(url, auth));
  assert.equal(found.ok, false);
  return found.ok ? '' : found.error.message;
}

describe('where a server says that it takes tokens of', () => {
  it('is asked for scopes, and offline access goes along where it is offered', async (test) => {
    const vendor = await started(test);
    vendor.metadata = { scopes_supported: ['base', 'offline_access'] };
    const found = await discover(http, targetAt(vendor.url));
    assert.ok(found.ok);
    assert.equal(found.value.scope, 'base offline_access');
    assert.equal(found.value.resource, vendor.url);
    const own = await discover(http, targetAt(vendor.url, { scopes: ['a'], resource: vendor.origin }));
    assert.deepEqual(own.ok && [own.value.scope, own.value.resource], ['a offline_access', vendor.origin]);
  });

  it('has to be this very resource, or above it', async (test) => {
    const vendor = await started(test);
    for (const resource of [
      'https://evil.example/mcp',
      `${vendor.origin}/mcp/below`,
      `${vendor.origin}/mc`,
      vendor.url.replace('127.0.0.1', 'localhost'),
      '',
      7,
    ]) {
      vendor.resource = { resource };
      assert.match(await refusal(vendor.url), /describes another resource than its url/, String(resource));
    }
    vendor.resource = { resource: vendor.origin };
    assert.equal((await discover(http, targetAt(vendor.url))).ok, true);
  });

  it('has to call itself as it was asked for, to the letter', async (test) => {
    const vendor = await started(test);
    for (const issuer of [
      `${vendor.origin}/`,
      vendor.origin.replace('http', 'HTTP'),
      vendor.origin.replace('127.0.0.1', '127.0.0.1.'),
      `${vendor.origin}#`,
      undefined,
      ['a'],
    ]) {
      vendor.metadata = { issuer };
      assert.match(await refusal(vendor.url), /gives itself another name/, String(issuer));
    }
    vendor.metadata = {};
    for (const suffix of ['?tenant=a', '#a']) {
      vendor.resource = { authorization_servers: [vendor.origin + suffix] };
      vendor.metadata = { issuer: vendor.origin + suffix };
      assert.match(await refusal(vendor.url), /names its authorization server in a way/, suffix);
    }
  });

  it('has to offer PKCE with S256 to people, and need not to a machine', async (test) => {
    const vendor = await started(test);
    for (const offered of [undefined, [], ['plain'], 'S256']) {
      vendor.metadata = { code_challenge_methods_supported: offered };
      assert.match(await refusal(vendor.url), /does not offer PKCE with S256/);
    }
    const machine = { grant: 'client_credentials', clientId: 'c', clientSecret: 's' };
    assert.equal((await discover(http, targetAt(vendor.url, machine))).ok, true);
  });

  it('is a place that a browser may be sent to', async (test) => {
    const vendor = await started(test);
    for (const endpoint of [
      'javascript:alert(1)',
      'file:///etc/passwd',
      '--flag',
      'https://x/$(id)',
      '&calc',
      'https://x/&calc',
      `https://x/${'a'.repeat(10_240)}`,
      'https://user:secret@x/',
      'https://x/a#b',
      '//x/a',
      'https:x',
      'data:text/html,x',
      'http://elsewhere.example/authorize',
      7,
    ]) {
      vendor.metadata = { authorization_endpoint: endpoint };
      const message = await refusal(vendor.url);
      assert.match(
        message,
        /names, as its authorization_endpoint, (what nobody is sent to|one without https)/,
      );
      assert.ok(!message.includes(String(endpoint)) || endpoint === 7, message);
    }
  });

  it('lies on another origin only where somebody allowed that one, and the line to write is told', async (test) => {
    const vendor = await started(test);
    const elsewhere = await started(test);
    vendor.resource = { authorization_servers: [elsewhere.origin] };
    const none = await refusal(vendor.url);
    assert.ok(
      none.endsWith(`add to its auth: discovery: true, discoveryAllowlist: [${elsewhere.origin}]`),
      none,
    );
    const others = { discovery: true, discoveryAllowlist: ['https://a.example'] };
    const other = await refusal(vendor.url, others);
    const line = `discoveryAllowlist: [https://a.example, ${elsewhere.origin}]`;
    assert.ok(other.endsWith(`write in its auth: discovery: true, ${line}`), other);
    const allowed = { discovery: true, discoveryAllowlist: [elsewhere.origin] };
    assert.equal((await discover(http, targetAt(vendor.url, allowed))).ok, true);
    assert.ok(elsewhere.paths.length > 0);
  });

  it('is looked for in the places that are specified, and in that order', () => {
    const at = (issuer: string) => metadataPlaces(issuer).map((place) => new URL(place).pathname);
    assert.deepEqual(at('https://a.example'), [
      '/.well-known/oauth-authorization-server',
      '/.well-known/openid-configuration',
    ]);
    assert.deepEqual(at('https://a.example/t/1'), [
      '/.well-known/oauth-authorization-server/t/1',
      '/.well-known/openid-configuration/t/1',
      '/t/1/.well-known/openid-configuration',
    ]);
  });
});

describe('an address inside, wherever a server names it', () => {
  const named: Record<string, (vendor: ScopedVendor, address: string) => void> = {
    resource_metadata: (vendor, address) => {
      // As far as a header can carry it.
      vendor.described = address.replace(/[^ -~]+/g, encodeURIComponent);
    },
    authorization_servers: (vendor, address) => {
      vendor.resource = { authorization_servers: [address] };
    },
    token_endpoint: (vendor, address) => {
      vendor.metadata = { token_endpoint: address };
    },
    device_authorization_endpoint: (vendor, address) => {
      vendor.metadata = { device_authorization_endpoint: address };
    },
    registration_endpoint: (vendor, address) => {
      vendor.metadata = { registration_endpoint: address };
    },
  };

  for (const [field, name] of Object.entries(named))
    it(`${field}: is not asked, and the refusal says what to allow`, async (test) => {
      const vendor = await started(test);
      using oracle = await listener();
      for (const host of HOSTS)
        for (const scheme of ['https', 'http']) {
          vendor.metadata = {};
          vendor.resource = {};
          name(vendor, `${scheme}://${host}:${oracle.port}/x`);
          const message = await refusal(vendor.url);
          assert.match(
            message,
            /which nobody allowed: add to its auth|what nobody is sent to|one without https/,
          );
        }
      assert.equal(oracle.seen(), 0);
    });

  it('is not asked where a redirect leads to it', async (test) => {
    const vendor = await started(test);
    using oracle = await listener();
    for (const path of ['oauth-protected-resource/mcp', 'oauth-authorization-server']) {
      vendor.redirects.clear();
      vendor.redirects.set(`/.well-known/${path}`, `http://127.0.0.1:${oracle.port}/x`);
      await discover(http, targetAt(vendor.url));
      assert.ok(vendor.paths.includes(`/.well-known/${path}`));
    }
    assert.equal(oracle.seen(), 0);
  });

  it('is not asked as a token endpoint that stands in the configuration, unless it is listed', async (test) => {
    using oracle = await listener();
    const client: VendorClient = { id: 'c', secret: 's', method: 'client_secret_post' };
    for (const host of HOSTS) {
      const answer = await http.form(`https://${host}:${oracle.port}/token`, [], {}, client);
      assert.ok(!answer.ok);
      assert.match(answer.error, /cannot be reached at a public address|is no https address/);
    }
    assert.equal(oracle.seen(), 0);
    const vendor = await started(test);
    const listed = await http.form(`${vendor.origin}/token`, [vendor.origin], {}, client);
    assert.equal(listed.ok, true);
  });
});
