import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { generateKeyPairSync, randomBytes, sign } from 'node:crypto';
import { once } from 'node:events';
import { chmod, mkdir, readFile, stat, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { text } from 'node:stream/consumers';
import { after, before, describe, it } from 'node:test';
import { temporaryFolder } from '../support/databases.ts';
import { OauthWire, pkce, verifier } from '../support/oauth-wire.ts';
import { PageClient } from '../support/page-client.ts';
import { startCastellan, type TestCastellan } from '../support/running-castellan.ts';

const CONFIG = 'examples/quickstart.yaml';
const VOICE = 'voice@example.com';
const REDIRECT = 'https://voice.example.com/callback';

let castellan: TestCastellan;
let wire: OauthWire;

before(async () => {
  castellan = await startCastellan(['--config', CONFIG]);
  wire = new OauthWire(castellan.url);
  await cli('create', 'user', VOICE);
  const binding = 'role:run,resource:tools,name:memory__*,project:demo';
  await cli('create', 'rbac', 'voice', '--subject', `User:${VOICE}`, '--roleBindings', binding);
});
after(() => castellan[Symbol.asyncDispose]());

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

describe('a client that acts for a user', () => {
  it('gets a token with its secret alone, sent in either way, for its own project', async () => {
    const secret = await cli('create', 'oauthclient', 'worker', '-p', 'demo', '--user', VOICE);
    const form = { grant_type: 'client_credentials' };
    const basic = `Basic ${Buffer.from(`worker:${secret}`).toString('base64')}`;
    const posted = await wire.token({ ...form, client_id: 'worker', client_secret: secret });
    const sent = await wire.token(form, { authorization: basic });
    for (const { status, body, headers } of [posted, sent]) {
      assert.equal(status, 200, JSON.stringify(body));
      assert.equal(headers.get('cache-control'), 'no-store');
      assert.equal(body.scope, 'mcp');
      assert.equal(body.refresh_token, undefined);
      const { body: answer } = await wire.call(String(body.access_token), 'memory__read_graph');
      assert.ok(JSON.stringify(answer).includes('entities'), JSON.stringify(answer));
      const { body: refused } = await wire.call(String(body.access_token), 'everything__echo', {
        message: 'x',
      });
      assert.equal(
        (refused.error as { code: number }).code,
        -32602,
        'what the user may not run is not there',
      );
    }
    for (const wrong of [{ client_secret: `${secret}x` }, { client_secret: '' }, {}]) {
      const answer = await wire.token({ ...form, client_id: 'worker', ...wrong } as Record<string, string>);
      assert.equal(answer.status, 401);
      assert.equal(answer.body.error, 'invalid_client');
    }
    const other = await wire.token({
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
    const works = async (client_secret: string) => (await wire.token({ ...form, client_secret })).status;
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
    const { body } = await wire.token({ ...form, client_secret: third });
    const bearer = String(body.access_token);
    assert.equal((await wire.call(bearer, 'memory__read_graph')).status, 200);
    await cli('delete', 'oauthclient', 'turning');
    assert.equal(await works(third), 401);
    const until = Date.now() + 5_000;
    while ((await wire.call(bearer, 'memory__read_graph')).status !== 401) assert.ok(Date.now() < until);
    await cli('create', 'oauthclient', 'turning', '-p', 'demo', '--user', VOICE);
    assert.equal(
      (await wire.call(bearer, 'memory__read_graph')).status,
      401,
      'a namesake brings nothing back',
    );
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
    const bearerOf = async () => String((await wire.token(form)).body.access_token);
    const bearer = await bearerOf();
    const status = async (one: string) => (await wire.call(one, 'memory__read_graph')).status;
    assert.equal(await status(bearer), 200);
    const ends = async (one: string) => {
      const until = Date.now() + 5_000;
      while ((await status(one)) !== 401) assert.ok(Date.now() < until, 'it ends within five seconds');
    };
    await cli('delete', 'rbac', 'maker');
    await ends(bearer);
    assert.equal((await wire.token(form)).body.access_token, undefined);
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
    const bearer = String((await wire.token(form)).body.access_token);
    const stream = await listen(bearer);
    assert.equal(stream.headers.get('content-type'), 'text/event-stream');
    await cli('delete', 'rbac', 'sponsor-acts');
    const since = Date.now();
    await stream.text();
    assert.ok(Date.now() - since < 5_000, 'the stream has ended');
    assert.equal((await wire.call(bearer, 'memory__read_graph')).status, 401);
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
      wire.token({
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
    const secret = await wire.token({
      grant_type: 'client_credentials',
      client_id: 'signer',
      client_secret: 'x',
    });
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
      const answer = await wire.authorize({ ...query, state: 'a+b c' }, headers);
      assert.equal(answer.status, 303);
      assert.deepEqual(answer.headers.getSetCookie(), []);
      const to = new URL(answer.headers.get('location')!);
      assert.equal(to.origin + to.pathname, REDIRECT);
      assert.equal(to.searchParams.get('state'), 'a+b c');
      assert.equal(to.searchParams.get('iss'), castellan.url);
      const form = { grant_type: 'authorization_code', redirect_uri: REDIRECT, code_verifier: verifier };
      const proof = { client_id: 'voice-bot', client_secret: secret, code: to.searchParams.get('code')! };
      const { status, body } = await wire.token({ ...form, ...proof });
      assert.equal(status, 200, JSON.stringify(body));
      assert.equal(body.refresh_token, undefined, 'whether somebody answers for it is asked each time');
      assert.equal((await wire.call(String(body.access_token), 'memory__read_graph')).status, 200);
    }
    const trail = await cli('audit', 'query', '-o', 'json');
    assert.match(trail, /"event": ?"client\.approved"/);
  });

  it('is no human act, and gives no rights beyond those of the user', async () => {
    const to = new URL((await wire.authorize(query)).headers.get('location')!);
    const form = { grant_type: 'authorization_code', redirect_uri: REDIRECT, code_verifier: verifier };
    const proof = { client_id: 'voice-bot', client_secret: secret, code: to.searchParams.get('code')! };
    const { body } = await wire.token({ ...form, ...proof });
    const headers = { authorization: `Bearer ${String(body.access_token)}` };
    const api = await fetch(`${castellan.url}/api/v1/users`, { headers });
    assert.equal(api.status, 403);
    assert.equal((await fetch(`${castellan.url}/account`, { headers, redirect: 'manual' })).status, 401);
  });

  it('is given to nobody else', async () => {
    await cli('create', 'oauthclient', 'asking', '-p', 'demo', '--redirect-uri', REDIRECT);
    const ordinary = await wire.authorize({ client_id: 'asking', redirect_uri: REDIRECT });
    assert.match(ordinary.headers.get('location') ?? '', /\/sign-in/);
    for (const [more, status] of [
      [{ redirect_uri: 'https://evil.example/' }, 400],
      [{ redirect_uri: `${REDIRECT}/x` }, 400],
      [{ client_id: 'voice-bott' }, 400],
    ] as const) {
      const answer = await wire.authorize({ ...query, ...more });
      assert.equal(answer.status, status);
      assert.equal(answer.headers.get('location'), null);
    }
    const url = new URL((await wire.authorize({ ...query, code_challenge: '' })).headers.get('location')!);
    assert.equal(url.searchParams.get('error'), 'invalid_request');
    const scope = new URL((await wire.authorize({ ...query, scope: 'api' })).headers.get('location')!);
    assert.equal(scope.searchParams.get('code'), null);
  });

  it('is only for as long as somebody answers for it, and so many a minute', async () => {
    await cli('create', 'user', 'gone@example.com');
    await cli(
      ...['create', 'oauthclient', 'leaving', '-p', 'demo', '--user', 'gone@example.com'],
      ...['--redirect-uri', REDIRECT, '--auto-approve'],
    );
    const leaving = { client_id: 'leaving', redirect_uri: REDIRECT };
    assert.match((await wire.authorize(leaving)).headers.get('location') ?? '', /[?&]code=/);
    await cli('delete', 'user', 'gone@example.com');
    assert.match((await wire.authorize(leaving)).headers.get('location') ?? '', /\/sign-in/);
    let refused: Response | undefined;
    for (let n = 0; n < 80 && refused?.status !== 429; n += 1) refused = await wire.authorize(query);
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
