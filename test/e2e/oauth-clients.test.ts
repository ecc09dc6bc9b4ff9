import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { createHash, generateKeyPairSync, randomBytes, sign } from 'node:crypto';
import { once } from 'node:events';
import { chmod, mkdir, readFile, stat, writeFile } from 'node:fs/promises';
import net, { type AddressInfo } from 'node:net';
import path from 'node:path';
import { text } from 'node:stream/consumers';
import { after, before, describe, it } from 'node:test';
import { temporaryFolder } from '../support/databases.ts';
import { localhostCertificate } from '../support/localhost-certificate.ts';
import { PageClient } from '../support/page-client.ts';
import { startCastellan, type TestCastellan } from '../support/running-castellan.ts';
import { clientDocument, SecureUpstream } from '../support/secure-upstream.ts';

const CONFIG = 'examples/quickstart.yaml';
const VOICE = 'voice@example.com';
const REDIRECT = 'https://voice.example.com/callback';
const PASSWORD = 'correct horse battery';

let castellan: TestCastellan;
let site: SecureUpstream;

before(async () => {
  site = await SecureUpstream.start((_request, response) => void response.writeHead(404).end());
  const certificate = path.join(await temporaryFolder(), 'localhost.pem');
  await writeFile(certificate, localhostCertificate);
  castellan = await startCastellan(['--config', CONFIG], {
    env: { NODE_EXTRA_CA_CERTS: certificate, CASTELLAN_CLIENT_METADATA_HOSTS: `*, ${site.origin}` },
  });
  await cli('create', 'user', VOICE);
  const binding = 'role:run,resource:tools,name:memory__*,project:demo';
  await cli('create', 'rbac', 'voice', '--subject', `User:${VOICE}`, '--roleBindings', binding);
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

/** Puts the client `made`, as an administrator. */
async function applied(spec: object): Promise<void> {
  const { credential } = JSON.parse(await readFile(path.join(castellan.dataDir, 'admin.json'), 'utf8'));
  const answer = await fetch(`${castellan.url}/api/v1/oauthclients/made`, {
    method: 'PUT',
    headers: { authorization: `Bearer ${credential}`, 'content-type': 'application/json' },
    body: JSON.stringify({ kind: 'OAuthClient', metadata: { name: 'made' }, spec }),
  });
  assert.equal(answer.status, 200, await answer.text());
}

type Answer = { status: number; headers: Headers; body: Record<string, unknown> };

async function answerOf(response: Response): Promise<Answer> {
  const text = await response.text();
  const body = text.startsWith('{') ? (JSON.parse(text) as Record<string, unknown>) : { text };
  return { status: response.status, headers: response.headers, body };
}

const token = (form: Record<string, string>, headers: Record<string, string> = {}): Promise<Answer> =>
  fetch(`${castellan.url}/token`, { method: 'POST', body: new URLSearchParams(form), headers }).then(
    answerOf,
  );

async function call(bearer: string, name: string, args: object = {}): Promise<Answer> {
  const request = { jsonrpc: '2.0', id: 1, method: 'tools/call', params: { name, arguments: args } };
  const response = await fetch(`${castellan.url}/projects/demo/mcp`, {
    method: 'POST',
    headers: { authorization: `Bearer ${bearer}`, 'content-type': 'application/json' },
    body: JSON.stringify(request),
  });
  return answerOf(response);
}

function listen(bearer: string): Promise<Response> {
  const method = 'subscriptions/listen';
  const meta = 'io.modelcontextprotocol';
  const _meta = { [`${meta}/protocolVersion`]: '2026-07-28', [`${meta}/clientCapabilities`]: {} };
  const params = { notifications: { toolsListChanged: true }, _meta };
  return fetch(`${castellan.url}/projects/demo/mcp`, {
    method: 'POST',
    headers: {
      authorization: `Bearer ${bearer}`,
      'content-type': 'application/json',
      accept: 'application/json, text/event-stream',
      'mcp-protocol-version': '2026-07-28',
      'mcp-method': method,
    },
    body: JSON.stringify({ jsonrpc: '2.0', id: 1, method, params }),
    signal: AbortSignal.timeout(20_000),
  });
}

const verifier = randomBytes(48).toString('base64url');
const challenge = createHash('sha256').update(verifier).digest('base64url');
const pkce = { response_type: 'code', code_challenge: challenge, code_challenge_method: 'S256' };

const authorize = (query: Record<string, string>, headers: Record<string, string> = {}): Promise<Response> =>
  fetch(`${castellan.url}/authorize?${new URLSearchParams({ ...pkce, ...query })}`, {
    redirect: 'manual',
    headers,
  });

describe('a client that acts for a user', () => {
  it('gets a token with its secret alone, sent in either way, for its own project', async () => {
    const secret = await cli('create', 'oauthclient', 'worker', '-p', 'demo', '--user', VOICE);
    const form = { grant_type: 'client_credentials' };
    const basic = `Basic ${Buffer.from(`worker:${secret}`).toString('base64')}`;
    const posted = await token({ ...form, client_id: 'worker', client_secret: secret });
    const sent = await token(form, { authorization: basic });
    for (const { status, body, headers } of [posted, sent]) {
      assert.equal(status, 200, JSON.stringify(body));
      assert.equal(headers.get('cache-control'), 'no-store');
      assert.equal(body.scope, 'mcp');
      assert.equal(body.refresh_token, undefined);
      const { body: answer } = await call(String(body.access_token), 'memory__read_graph');
      assert.ok(JSON.stringify(answer).includes('entities'), JSON.stringify(answer));
      const { body: refused } = await call(String(body.access_token), 'everything__echo', { message: 'x' });
      assert.equal(
        (refused.error as { code: number }).code,
        -32602,
        'what the user may not run is not there',
      );
    }
    for (const wrong of [{ client_secret: `${secret}x` }, { client_secret: '' }, {}]) {
      const answer = await token({ ...form, client_id: 'worker', ...wrong } as Record<string, string>);
      assert.equal(answer.status, 401);
      assert.equal(answer.body.error, 'invalid_client');
    }
    const other = await token({
      ...form,
      client_id: 'worker',
      client_secret: secret,
      resource: `${castellan.url}/projects/other/mcp`,
    });
    assert.equal(other.body.error, 'invalid_target');
  });

  it('proves itself with either secret while a rotation overlaps, and with none once it is gone', async () => {
    const first = await cli('create', 'oauthclient', 'turning', '-p', 'demo', '--user', VOICE);
    const form = { grant_type: 'client_credentials', client_id: 'turning' };
    const second = await cli('rotate', 'oauthclient', 'turning', '--overlap', '1h');
    const works = async (client_secret: string) => (await token({ ...form, client_secret })).status;
    assert.deepEqual([await works(first), await works(second)], [200, 200]);
    const shown = await cli('describe', 'oauthclient', 'turning', '-o', 'json');
    const { status } = JSON.parse(shown) as { status: { state: string; secrets: { expiresAt: unknown }[] } };
    assert.equal(status.state, 'ready');
    assert.deepEqual(
      status.secrets.map(({ expiresAt }) => typeof expiresAt),
      ['object', 'string'],
    );
    assert.ok(![first, second].some((one) => shown.includes(one)));
    const third = await cli('rotate', 'oauthclient', 'turning');
    assert.deepEqual([await works(first), await works(second), await works(third)], [401, 401, 200]);
    const { body } = await token({ ...form, client_secret: third });
    const bearer = String(body.access_token);
    assert.equal((await call(bearer, 'memory__read_graph')).status, 200);
    await cli('delete', 'oauthclient', 'turning');
    assert.equal(await works(third), 401);
    const until = Date.now() + 5_000;
    while ((await call(bearer, 'memory__read_graph')).status !== 401) assert.ok(Date.now() < until);
    await cli('create', 'oauthclient', 'turning', '-p', 'demo', '--user', VOICE);
    assert.equal((await call(bearer, 'memory__read_graph')).status, 401, 'a namesake brings nothing back');
  });

  it('loses what whoever answers for it loses, and what it is not given any more', async () => {
    const rights = [
      'role:run,resource:tools',
      'role:edit,resource:oauthclients',
      'role:create,resource:oauthclients',
    ];
    await cli('create', 'user', 'maker@example.com');
    const bindings = [...rights, 'action:impersonate'].flatMap((one) => ['--roleBindings', one]);
    await cli('create', 'rbac', 'maker', '--subject', 'User:maker@example.com', ...bindings);
    const spec = ['-p', 'demo', '--user', VOICE];
    const secret = await cli('create', 'oauthclient', 'made', ...spec, '--as', 'User:maker@example.com');
    const form = { grant_type: 'client_credentials', client_id: 'made', client_secret: secret };
    const bearerOf = async () => String((await token(form)).body.access_token);
    const bearer = await bearerOf();
    const status = async (one: string) => (await call(one, 'memory__read_graph')).status;
    assert.equal(await status(bearer), 200);
    const ends = async (one: string) => {
      const until = Date.now() + 5_000;
      while ((await status(one)) !== 401) assert.ok(Date.now() < until, 'it ends within five seconds');
    };
    await cli('delete', 'rbac', 'maker');
    await ends(bearer);
    assert.equal((await token(form)).body.access_token, undefined);
    await applied({ user: VOICE, project: 'demo', displayName: 'Made' });
    const another = await bearerOf();
    assert.equal(await status(another), 200);
    await applied({ user: VOICE, project: 'demo', scopes: ['mcp', 'mcp:operator'] });
    await ends(another);
  });

  it('has nothing open any more once whoever answers for it may not, whatever rights they keep', async () => {
    const [maker, by] = ['sponsor@example.com', ['--as', 'User:sponsor@example.com']];
    await cli('create', 'user', maker);
    const granted = (name: string, ...bindings: string[]) => {
      const flags = bindings.flatMap((one) => ['--roleBindings', one]);
      return cli('create', 'rbac', name, '--subject', `User:${maker}`, ...flags);
    };
    await granted('sponsor', 'role:run,resource:tools', 'role:create,resource:oauthclients');
    await granted('sponsor-acts', 'action:impersonate');
    const secret = await cli('create', 'oauthclient', 'held', '-p', 'demo', '--user', VOICE, ...by);
    const form = { grant_type: 'client_credentials', client_id: 'held', client_secret: secret };
    const bearer = String((await token(form)).body.access_token);
    const stream = await listen(bearer);
    assert.equal(stream.headers.get('content-type'), 'text/event-stream');
    await cli('delete', 'rbac', 'sponsor-acts');
    const since = Date.now();
    await stream.text();
    assert.ok(Date.now() - since < 5_000, 'the stream has ended');
    assert.equal((await call(bearer, 'memory__read_graph')).status, 401);
  });

  it('signs an assertion instead of having a secret, each once', async () => {
    const { publicKey, privateKey } = generateKeyPairSync('ed25519');
    const jwks = path.join(await temporaryFolder(), 'public.json');
    await writeFile(jwks, JSON.stringify({ keys: [{ ...publicKey.export({ format: 'jwk' }), kid: 'one' }] }));
    const said = await cli(
      ...['create', 'oauthclient', 'signer', '-p', 'demo', '--user', VOICE],
      ...['--auth', 'private_key_jwt', '--jwks', jwks],
    );
    assert.equal(said, 'oauthclient/signer created');
    const assertion = (claims: object) => {
      const part = (value: object) => Buffer.from(JSON.stringify(value)).toString('base64url');
      const now = Math.floor(Date.now() / 1000);
      const all = { iss: 'signer', sub: 'signer', aud: castellan.url, jti: randomBytes(8).toString('hex') };
      const text = `${part({ alg: 'EdDSA', kid: 'one' })}.${part({ ...all, iat: now, exp: now + 60, ...claims })}`;
      return `${text}.${sign(null, Buffer.from(text), privateKey).toString('base64url')}`;
    };
    const ask = (client_assertion: string) =>
      token({
        grant_type: 'client_credentials',
        client_assertion_type: 'urn:ietf:params:oauth:client-assertion-type:jwt-bearer',
        client_assertion,
      });
    const good = assertion({});
    const { status, body } = await ask(good);
    assert.equal(status, 200, JSON.stringify(body));
    for (const bad of [
      good,
      assertion({ aud: 'https://elsewhere.example' }),
      assertion({ exp: 1 }),
      assertion({ iss: 'worker' }),
      `${good.slice(0, -4)}AAAA`,
    ])
      assert.equal((await ask(bad)).body.error, 'invalid_client');
    const secret = await token({ grant_type: 'client_credentials', client_id: 'signer', client_secret: 'x' });
    assert.equal(secret.body.error, 'invalid_client');
  });
});

describe('a code without a page', () => {
  let secret = '';
  const query = { client_id: 'voice-bot', redirect_uri: REDIRECT };

  before(async () => {
    secret = await cli(
      ...['create', 'oauthclient', 'voice-bot', '-p', 'demo', '--user', VOICE, '--auth', 'post'],
      ...['--redirect-uri', REDIRECT, '--auto-approve'],
    );
  });

  it('is in the Location of the answer, and no browser session is touched', async () => {
    for (const headers of [{}, { cookie: 'castellan-session=made-up' }] as Record<string, string>[]) {
      const answer = await authorize({ ...query, state: 'a+b c' }, headers);
      assert.equal(answer.status, 303);
      assert.deepEqual(answer.headers.getSetCookie(), []);
      const to = new URL(answer.headers.get('location')!);
      assert.equal(to.origin + to.pathname, REDIRECT);
      assert.equal(to.searchParams.get('state'), 'a+b c');
      assert.equal(to.searchParams.get('iss'), castellan.url);
      const form = { grant_type: 'authorization_code', redirect_uri: REDIRECT, code_verifier: verifier };
      const proof = { client_id: 'voice-bot', client_secret: secret, code: to.searchParams.get('code')! };
      const { status, body } = await token({ ...form, ...proof });
      assert.equal(status, 200, JSON.stringify(body));
      assert.equal(body.refresh_token, undefined, 'whether somebody answers for it is asked each time');
      assert.equal((await call(String(body.access_token), 'memory__read_graph')).status, 200);
    }
    const trail = await cli('audit', 'query', '-o', 'json');
    assert.match(trail, /"event": ?"client\.approved"/);
  });

  it('is no human act, and gives no rights beyond those of the user', async () => {
    const to = new URL((await authorize(query)).headers.get('location')!);
    const form = { grant_type: 'authorization_code', redirect_uri: REDIRECT, code_verifier: verifier };
    const proof = { client_id: 'voice-bot', client_secret: secret, code: to.searchParams.get('code')! };
    const { body } = await token({ ...form, ...proof });
    const headers = { authorization: `Bearer ${String(body.access_token)}` };
    const api = await fetch(`${castellan.url}/api/v1/users`, { headers });
    assert.equal(api.status, 403);
    assert.equal((await fetch(`${castellan.url}/account`, { headers, redirect: 'manual' })).status, 401);
  });

  it('is given to nobody else', async () => {
    await cli('create', 'oauthclient', 'asking', '-p', 'demo', '--redirect-uri', REDIRECT);
    const ordinary = await authorize({ client_id: 'asking', redirect_uri: REDIRECT });
    assert.match(ordinary.headers.get('location') ?? '', /\/sign-in/);
    for (const [more, status] of [
      [{ redirect_uri: 'https://evil.example/' }, 400],
      [{ redirect_uri: `${REDIRECT}/x` }, 400],
      [{ client_id: 'voice-bott' }, 400],
    ] as const) {
      const answer = await authorize({ ...query, ...more });
      assert.equal(answer.status, status);
      assert.equal(answer.headers.get('location'), null);
    }
    const url = new URL((await authorize({ ...query, code_challenge: '' })).headers.get('location')!);
    assert.equal(url.searchParams.get('error'), 'invalid_request');
    const scope = new URL((await authorize({ ...query, scope: 'api' })).headers.get('location')!);
    assert.equal(scope.searchParams.get('code'), null);
  });

  it('is only for as long as somebody answers for it, and so many a minute', async () => {
    await cli('create', 'user', 'gone@example.com');
    await cli(
      ...['create', 'oauthclient', 'leaving', '-p', 'demo', '--user', 'gone@example.com'],
      ...['--redirect-uri', REDIRECT, '--auto-approve'],
    );
    const leaving = { client_id: 'leaving', redirect_uri: REDIRECT };
    assert.match((await authorize(leaving)).headers.get('location') ?? '', /[?&]code=/);
    await cli('delete', 'user', 'gone@example.com');
    assert.match((await authorize(leaving)).headers.get('location') ?? '', /\/sign-in/);
    let refused: Response | undefined;
    for (let n = 0; n < 80 && refused?.status !== 429; n += 1) refused = await authorize(query);
    assert.equal(refused?.status, 429);
    assert.ok(Number(refused.headers.get('retry-after')) > 0);
    const elsewhere = new PageClient(castellan.url, '127.0.7.1');
    const answer = await elsewhere.get(`/authorize?${new URLSearchParams({ ...pkce, ...query })}`);
    assert.match(answer.headers.location ?? '', /[?&]code=/, 'no stranger keeps the others from it');
  });
});

async function runScript(file: string, env: Record<string, string>) {
  const child = spawn(file, [], {
    env: { PATH: process.env.PATH ?? '', ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const said = Promise.all([text(child.stdout), text(child.stderr)]);
  const [code] = (await once(child, 'close')) as [number | null];
  const [stdout, stderr] = await said;
  return { code, stdout, stderr };
}

describe('docs/headless-access.md', () => {
  it('has a script that works as it is written, and leaves nothing behind', async () => {
    const page = await readFile('docs/headless-access.md', 'utf8');
    const script = /```sh\n(#!\/bin\/sh\n[\s\S]*?)```/.exec(page)?.[1];
    assert.ok(script);
    const folder = await temporaryFolder();
    const state = path.join(folder, 'bot');
    await mkdir(state, { mode: 0o700 });
    const secret = await cli(
      ...['create', 'oauthclient', 'script-bot', '-p', 'demo', '--user', VOICE, '--auth', 'post'],
      ...['--redirect-uri', REDIRECT, '--auto-approve'],
    );
    await writeFile(path.join(state, 'secret'), secret, { mode: 0o600 });
    const file = path.join(folder, 'headless.sh');
    await writeFile(file, script);
    await chmod(file, 0o700);
    const env = { CASTELLAN_URL: castellan.url, CLIENT_ID: 'script-bot', STATE_DIR: state };
    const first = await runScript(file, env);
    assert.equal(first.code, 0, first.stdout + first.stderr);
    assert.match(first.stdout, /^== a read\n> POST http/);
    assert.match(first.stdout, /^== a write\n> POST http/m);
    assert.match(first.stdout, /^== a round trip/m);
    const counts = /== before: (\d+), after: (\d+)\n$/.exec(first.stdout);
    assert.ok(counts);
    assert.equal(counts[1], counts[2]);
    assert.equal(first.stdout.match(/^< 200$/gm)?.length, 6);
    const bearer = await readFile(path.join(state, 'bearer'), 'utf8');
    for (const kept of [secret, bearer.trim().split(' ').at(-1)!])
      assert.ok(!`${first.stdout}${first.stderr}`.includes(kept), 'no secret is printed');
    assert.equal((await stat(path.join(state, 'bearer'))).mode & 0o777, 0o600);
    // With a token that has ended it gets another by itself.
    await writeFile(path.join(state, 'bearer'), 'Authorization: Bearer cst_at_ended\n');
    const again = await runScript(file, env);
    assert.equal(again.code, 0, again.stdout + again.stderr);
    assert.notEqual(await readFile(path.join(state, 'bearer'), 'utf8'), bearer);
  });
});

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
    const denied = await token({ ...form, client_secret: String(proven.body.client_secret) });
    assert.deepEqual([denied.status, denied.body.access_token], [400, undefined]);
    const answer = await authorize({
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
    const stranger = await authorize({ client_id: id, redirect_uri: 'http://127.0.0.1:4321/callback' });
    assert.equal(stranger.status, 303);
    const next = new URL(stranger.headers.get('location')!, castellan.url);
    assert.equal(next.pathname, '/sign-in');
    assert.match(next.searchParams.get('next') ?? '', /^\/authorize\?.*client_id=https/);
    const form = { grant_type: 'authorization_code', client_id: id, code: 'x', code_verifier: verifier };
    assert.equal((await token(form)).body.error, 'invalid_client');
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
      const { status, body } = await token(form);
      assert.equal(status, 200, JSON.stringify(body));
      assert.equal((await call(String(body.access_token), 'memory__read_graph')).status, 200);
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
