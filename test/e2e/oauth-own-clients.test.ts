import assert from 'node:assert/strict';
import { writeFile } from 'node:fs/promises';
import net, { type AddressInfo } from 'node:net';
import path from 'node:path';
import { after, before, describe, it } from 'node:test';
import { temporaryFolder } from '../support/databases.ts';
import { localhostCertificate } from '../support/localhost-certificate.ts';
import type { Answer } from '../support/oauth-rig.ts';
import { answerOf, OauthWire, pkce, verifier } from '../support/oauth-wire.ts';
import { PageClient } from '../support/page-client.ts';
import { startCastellan, type TestCastellan } from '../support/running-castellan.ts';
import { clientDocument, SecureUpstream } from '../support/secure-upstream.ts';

const CONFIG = 'examples/quickstart.yaml';
const PASSWORD = 'correct horse battery';

let castellan: TestCastellan;
let site: SecureUpstream;
let wire: OauthWire;

before(async () => {
  site = await SecureUpstream.start((_request, response) => void response.writeHead(404).end());
  const certificate = path.join(await temporaryFolder(), 'localhost.pem');
  await writeFile(certificate, localhostCertificate);
  castellan = await startCastellan(['--config', CONFIG], {
    env: { NODE_EXTRA_CA_CERTS: certificate, CASTELLAN_CLIENT_METADATA_HOSTS: `*, ${site.origin}` },
  });
  wire = new OauthWire(castellan.url);
});
after(async () => {
  await castellan[Symbol.asyncDispose]();
  await site[Symbol.asyncDispose]();
});

async function cli(...args: string[]): Promise<string> {
  const { code, stdout, stderr } = await castellan.cli(...args);
  assert.equal(code, 0, `${args.join(' ')}: ${stderr}`);
  return stdout.trim();
}

describe('clients that register themselves', () => {
  const register = (metadata: unknown, headers: Record<string, string> = {}): Promise<Answer> =>
    fetch(`${castellan.url}/register`, {
      method: 'POST',
      headers: { 'content-type': 'application/json', ...headers },
      body: typeof metadata === 'string' ? metadata : JSON.stringify(metadata),
    }).then(answerOf);
  const wanted = { client_name: 'Tried', redirect_uris: ['http://127.0.0.1/callback'] };

  it('authorization server checklist 23: get an id that they do not choose, and are refused by RFC 7591', async () => {
    const open = await register({ ...wanted, token_endpoint_auth_method: 'none', client_id: 'mine', x: 1 });
    assert.equal(open.status, 201, JSON.stringify(open.body));
    assert.equal(open.headers.get('cache-control'), 'no-store');
    assert.match(String(open.body.client_id), /^dcr_[0-9A-Za-z]{22}$/);
    assert.equal(open.body.client_secret, undefined);
    const proven = await register(wanted);
    assert.match(String(proven.body.client_secret), /^cst_cs_/);
    assert.equal(proven.body.client_secret_expires_at, 0);
    const form = { grant_type: 'client_credentials', client_id: String(proven.body.client_id) };
    const denied = await wire.token({ ...form, client_secret: String(proven.body.client_secret) });
    assert.deepEqual([denied.status, denied.body.access_token], [400, undefined]);
    const answer = await wire.authorize({
      client_id: String(open.body.client_id),
      redirect_uri: 'http://127.0.0.1:43210/callback',
    });
    assert.match(answer.headers.get('location') ?? '', /\/sign-in/, 'a person decides; the port may vary');
    for (const [metadata, error] of [
      [{ redirect_uris: ['javascript:alert(1)'] }, 'invalid_redirect_uri'],
      [{ redirect_uris: ['http://evil.example/'] }, 'invalid_redirect_uri'],
      [{ redirect_uris: ['http://127.0.0.1/'], application_type: 'web' }, 'invalid_redirect_uri'],
      [{ ...wanted, redirect_uris: Array(1000).fill('https://a.example/') }, 'invalid_redirect_uri'],
      [{ ...wanted, grant_types: ['password'] }, 'invalid_client_metadata'],
      [{ ...wanted, scope: 'api' }, 'invalid_client_metadata'],
      [{ ...wanted, padding: 'x'.repeat(40 * 1024) }, 'invalid_client_metadata'],
      ['{', 'invalid_client_metadata'],
      ['[]', 'invalid_client_metadata'],
    ] as const) {
      const refused = await register(metadata);
      assert.deepEqual([refused.status, refused.body.error], [400, error], JSON.stringify(refused.body));
    }
    const form2 = await register('a=b', { 'content-type': 'application/x-www-form-urlencoded' });
    assert.equal(form2.status, 400);
    assert.equal((await fetch(`${castellan.url}/register`)).status, 405);
  });

  it('authorization server checklist 23: are so many from one place', async () => {
    let last: Answer | undefined;
    for (let n = 0; n < 40; n += 1) last = await register(wanted);
    assert.equal(last?.status, 429);
    assert.ok(Number(last.headers.get('retry-after')) > 0);
  });

  it('authorization server checklist 3: are offered only where they can be, as documents are', async () => {
    const of = async (url: string, host?: string) => {
      const headers: Record<string, string> = host === undefined ? {} : { host };
      const { body } = await new PageClient(url).get('/.well-known/oauth-authorization-server', headers);
      return JSON.parse(body) as Record<string, unknown>;
    };
    const here = await of(castellan.url);
    assert.equal(here.registration_endpoint, `${castellan.url}/register`);
    assert.equal(here.client_id_metadata_document_supported, true);
    await using closed = await startCastellan(['--public-url', 'https://mcp.example.com'], {
      env: { CASTELLAN_CLIENT_METADATA_HOSTS: 'none' },
    });
    const [, local] = /listening on (http:[^"]+)/.exec(closed.stderr()) ?? [];
    assert.ok(local);
    const there = await of(local, 'mcp.example.com');
    assert.equal(there.issuer, 'https://mcp.example.com');
    assert.equal(there.registration_endpoint, undefined);
    assert.equal(there.client_id_metadata_document_supported, undefined);
    const refused = await new PageClient(local).send('POST', '/register', JSON.stringify(wanted), {
      'content-type': 'application/json',
      host: 'mcp.example.com',
    });
    assert.equal(refused.status, 404);
  });
});

/** Goes where it is sent, as long as that is here; `at` is where it ended. */
async function follow(browser: PageClient, from: string) {
  for (let at = from; ; ) {
    const answer = await browser.get(at);
    if (answer.headers.location === undefined) return { ...answer, at };
    const to = new URL(answer.headers.location, castellan.url);
    if (to.origin !== castellan.url) return { ...answer, at: to.href };
    at = to.pathname + to.search;
  }
}

async function registeredClient(): Promise<string> {
  // Not from where the registrations of other tests came.
  const browser = new PageClient(castellan.url, '127.0.5.2');
  const metadata = {
    client_name: 'Tried client',
    redirect_uris: ['http://127.0.0.1/callback'],
    token_endpoint_auth_method: 'none',
  };
  const headers = { 'content-type': 'application/json' };
  const { body } = await browser.send('POST', '/register', JSON.stringify(metadata), headers);
  return (JSON.parse(body) as { client_id: string }).client_id;
}

describe('clients that are described by a document', () => {
  let person: PageClient;
  const begin = (clientId: string, more: Record<string, string> = {}) => {
    const query = { ...pkce, client_id: clientId, redirect_uri: 'http://127.0.0.1:4321/callback', ...more };
    return person.get(`/authorize?${new URLSearchParams(query)}`);
  };

  before(async () => {
    const link = await cli('create', 'user', 'alice@example.com', '--invite');
    person = new PageClient(castellan.url);
    await person.get(new URL(link).pathname);
    const set = await person.post(new URL(link).pathname, { password: PASSWORD, repeated: PASSWORD });
    assert.equal(set.status, 303, set.body);
  });

  it('authorization server checklist 24: are looked at for a person who is signed in, and for nobody else', async () => {
    const id = `${site.origin}/client.json`;
    site.answer = (_request, response) => {
      response.writeHead(200, { 'content-type': 'application/json', 'cache-control': 'max-age=60' });
      response.end(JSON.stringify(clientDocument(id)));
    };
    const stranger = await wire.authorize({ client_id: id, redirect_uri: 'http://127.0.0.1:4321/callback' });
    assert.equal(stranger.status, 303);
    const next = new URL(stranger.headers.get('location')!, castellan.url);
    assert.equal(next.pathname, '/sign-in');
    assert.match(next.searchParams.get('next') ?? '', /^\/authorize\?.*client_id=https/);
    const form = { grant_type: 'authorization_code', client_id: id, code: 'x', code_verifier: verifier };
    assert.equal((await wire.token(form)).body.error, 'invalid_client');
    assert.deepEqual(site.paths, []);
    const answer = await begin(id);
    assert.equal(answer.status, 303, answer.body);
    assert.match(answer.headers.location ?? '', /^\/consent\//);
    assert.deepEqual(site.paths, ['/client.json']);
    const unlisted = await begin(id, { redirect_uri: 'https://evil.example/' });
    assert.equal(unlisted.status, 400);
    assert.equal(unlisted.headers.location, undefined);
  });

  it('and those that registered themselves get in when a person signs in and consents', async () => {
    const binding = 'role:run,resource:tools,name:memory__*,project:demo';
    await cli('create', 'rbac', 'alice', '--subject', 'User:alice@example.com', '--roleBindings', binding);
    const described = `${site.origin}/consented.json`;
    site.answer = (_request, response) => {
      response.writeHead(200, { 'content-type': 'application/json', 'cache-control': 'max-age=60' });
      response.end(JSON.stringify(clientDocument(described)));
    };
    const registered = await registeredClient();
    for (const client_id of [described, registered]) {
      const browser = new PageClient(castellan.url, '127.0.5.1');
      const redirect_uri = 'http://127.0.0.1:4321/callback';
      const query = new URLSearchParams({ ...pkce, client_id, redirect_uri, state: 's'.repeat(3000) });
      let page = await follow(browser, `/authorize?${query}`);
      assert.match(page.at, /^\/sign-in/);
      const signed = await browser.post(page.at.split('?')[0]!, {
        email: 'alice@example.com',
        password: PASSWORD,
      });
      page = await follow(browser, signed.headers.location ?? '');
      assert.match(page.at, /^\/consent\//);
      assert.match(page.body, /Tried client/);
      assert.match(page.body, /127\.0\.0\.1:4321/);
      const allowed = await browser.post(page.at, { decision: 'allow' });
      const back = new URL((await follow(browser, allowed.headers.location ?? '')).at);
      const code = back.searchParams.get('code');
      assert.ok(code, String(back));
      const form = {
        grant_type: 'authorization_code',
        client_id,
        redirect_uri,
        code,
        code_verifier: verifier,
      };
      const { status, body } = await wire.token(form);
      assert.equal(status, 200, JSON.stringify(body));
      assert.equal((await wire.call(String(body.access_token), 'memory__read_graph')).status, 200);
    }
  });

  it('authorization server checklist 25: lead no request to an address inside', async () => {
    const unreachable = await begin('https://nothing.invalid/client.json');
    assert.equal(unreachable.status, 400);
    let connections = 0;
    const oracle = net.createServer((socket) => {
      connections += 1;
      socket.destroy();
    });
    await new Promise<void>((resolve) => oracle.listen(0, '::', resolve));
    const { port } = oracle.address() as AddressInfo;
    for (const host of [
      '127.0.0.1',
      '127.1',
      'localhost',
      '[::1]',
      '[::ffff:127.0.0.1]',
      '[::ffff:a9fe:a9fe]',
      '169.254.169.254',
      '0.0.0.0',
      '10.0.0.1',
      '192.168.0.1',
      '100.64.0.1',
      '[2002:7f00:1::]',
      '[2001:0:4136:e378:8000:63bf:80ff:fffe]',
      '[64:ff9b::7f00:1]',
      '0177.0.0.1',
      '0x7f000001',
      '2130706433',
      'user@127.0.0.1',
    ]) {
      const answer = await begin(`https://${host}:${port}/client.json`);
      assert.equal(answer.status, 400, host);
      assert.equal(answer.headers.location, undefined, host);
      assert.equal(answer.body, unreachable.body, 'it looks like a host that is not there');
    }
    assert.equal(connections, 0);
    await new Promise((resolve) => oracle.close(resolve));
  });

  it('authorization server checklist 26: come from the hosts that the operator lists', async () => {
    await using listed = await startCastellan([], {
      env: { CASTELLAN_CLIENT_METADATA_HOSTS: '*.example.com, example.org' },
    });
    const { stdout } = await listed.cli('rotate', 'user', 'admin');
    const admin = new PageClient(listed.url);
    await admin.get(new URL(stdout.trim()).pathname);
    await admin.post(new URL(stdout.trim()).pathname, { password: PASSWORD, repeated: PASSWORD });
    const before = site.paths.length;
    const query = {
      ...pkce,
      client_id: `${site.origin}/client.json`,
      redirect_uri: 'http://127.0.0.1/callback',
    };
    const answer = await admin.get(`/authorize?${new URLSearchParams(query)}`);
    assert.equal(answer.status, 400);
    assert.equal(site.paths.length, before);
  });

  it('authorization server checklist 24: are refused soon when their document is not one', async () => {
    let serial = 0;
    const tried = async (status: number, headers: Record<string, string>, body: (id: string) => string) => {
      serial += 1;
      const id = `${site.origin}/bad-${serial}.json`;
      site.answer = (_request, response) => void response.writeHead(status, headers).end(body(id));
      const since = performance.now();
      const answer = await begin(id);
      assert.ok(performance.now() - since < 5_000);
      assert.equal(answer.headers.location, undefined);
      return answer.status;
    };
    const json = { 'content-type': 'application/json' };
    const good = (id: string) => JSON.stringify(clientDocument(id));
    assert.equal(await tried(302, { location: `${site.origin}/client.json` }, () => ''), 400);
    assert.equal(await tried(201, json, good), 400);
    assert.equal(await tried(200, { 'content-type': 'text/html' }, () => '<html>'), 400);
    assert.equal(await tried(200, json, (id) => good(`${id}x`)), 400);
    assert.equal(await tried(200, json, (id) => good(id).padEnd(10 * 1024 * 1024)), 400);
    const secret = (id: string) => JSON.stringify(clientDocument(id, { client_secret: 'x' }));
    assert.equal(await tried(200, json, secret), 400);
  });
});
