import assert from 'node:assert/strict';
import { writeFile } from 'node:fs/promises';
import path from 'node:path';
import { after, before, describe, it } from 'node:test';
import { temporaryFolder } from '../support/databases.ts';
import { startCastellan, type TestCastellan } from '../support/running-castellan.ts';

const CONFIG = `
kind: Project
metadata: { name: demo }
spec: { servers: [] }
---
kind: Project
metadata: { name: default }
spec: { servers: [] }
---
kind: User
metadata: { name: agent@example.com }
spec: {}
---
kind: Rbac
metadata: { name: agents }
spec:
  subjects: [{ kind: User, name: agent@example.com }]
  roleBindings: [{ role: run, resource: tools }, { role: view, resource: projects }]
`;
const AGENT = 'agent@example.com';
const LIST = JSON.stringify({ jsonrpc: '2.0', id: 1, method: 'tools/list' });

let castellan: TestCastellan;
let secret = '';

async function token(more: Record<string, string> = {}): Promise<string> {
  const form = { grant_type: 'client_credentials', client_id: 'worker', client_secret: secret, ...more };
  const answer = await fetch(`${castellan.url}/token`, { method: 'POST', body: new URLSearchParams(form) });
  const body = (await answer.json()) as { access_token?: string };
  assert.ok(body.access_token, JSON.stringify(body));
  return body.access_token;
}

function list(at: string, bearer?: string, headers: Record<string, string> = {}): Promise<Response> {
  return fetch(new URL(at, castellan.url), {
    method: 'POST',
    body: LIST,
    headers: {
      'content-type': 'application/json',
      ...(bearer !== undefined && { authorization: `Bearer ${bearer}` }),
      ...headers,
    },
  });
}

function modern(method: string, bearer: string, params: object = {}): Promise<Response> {
  return fetch(new URL('/projects/demo/mcp', castellan.url), {
    method: 'POST',
    headers: {
      'content-type': 'application/json',
      accept: 'application/json, text/event-stream',
      authorization: `Bearer ${bearer}`,
      'mcp-protocol-version': '2026-07-28',
      'mcp-method': method,
    },
    body: JSON.stringify({
      jsonrpc: '2.0',
      id: 1,
      method,
      params: {
        ...params,
        _meta: {
          'io.modelcontextprotocol/protocolVersion': '2026-07-28',
          'io.modelcontextprotocol/clientInfo': { name: 'test', version: '1' },
          'io.modelcontextprotocol/clientCapabilities': {},
        },
      },
    }),
  });
}

/** The id of a new legacy session. */
async function begin(bearer: string): Promise<string> {
  const clientInfo = { name: 'test', version: '1' };
  const params = { protocolVersion: '2025-11-25', capabilities: {}, clientInfo };
  const begun = await fetch(new URL('/projects/demo/mcp', castellan.url), {
    method: 'POST',
    headers: { 'content-type': 'application/json', authorization: `Bearer ${bearer}` },
    body: JSON.stringify({ jsonrpc: '2.0', id: 0, method: 'initialize', params }),
  });
  const session = begun.headers.get('mcp-session-id') ?? '';
  assert.notEqual(session, '');
  return session;
}

const challengeOf = (answer: Response) => answer.headers.get('www-authenticate') ?? '';
const json = async (url: string) => (await fetch(url)).json() as Promise<Record<string, unknown>>;

before(async () => {
  const config = path.join(await temporaryFolder(), 'castellan.yaml');
  await writeFile(config, CONFIG);
  castellan = await startCastellan(['--config', config]);
  const made = await castellan.cli(
    'create',
    'oauthclient',
    'worker',
    '-p',
    'demo',
    '--scope',
    'mcp',
    '--scope',
    'mcp:operator',
    '--user',
    AGENT,
  );
  secret = made.stdout.trim();
  assert.match(secret, /^cst_cs_/, made.stderr);
});
after(() => castellan[Symbol.asyncDispose]());

describe('the metadata', () => {
  it('authorization server checklist 1: is of the issuer that clients know', async () => {
    const { port } = new URL(castellan.url);
    for (const base of [`http://127.0.0.1:${port}`, `http://localhost:${port}`]) {
      const metadata = await json(`${base}/.well-known/oauth-authorization-server`);
      assert.equal(metadata.issuer, base);
      for (const [name, value] of Object.entries(metadata))
        if (name.endsWith('_endpoint') || name === 'jwks_uri')
          assert.ok(String(value).startsWith(`${base}/`), name);
    }
  });

  it('authorization server checklist 2: names what a client needs, and no plain challenge', async () => {
    const metadata = await json(`${castellan.url}/.well-known/oauth-authorization-server`);
    assert.deepEqual(metadata.response_types_supported, ['code']);
    assert.deepEqual(metadata.code_challenge_methods_supported, ['S256']);
    assert.deepEqual(metadata.grant_types_supported, [
      'authorization_code',
      'refresh_token',
      'client_credentials',
      'urn:ietf:params:oauth:grant-type:device_code',
    ]);
    assert.ok((metadata.token_endpoint_auth_methods_supported as string[]).includes('private_key_jwt'));
    for (const endpoint of ['authorization_endpoint', 'token_endpoint'])
      assert.equal(typeof metadata[endpoint], 'string');
    const jwks = await json(String(metadata.jwks_uri));
    assert.deepEqual(Object.keys((jwks.keys as object[])[0]!).includes('d'), false, 'no private key');
  });

  it('authorization server checklist 3: says how to become a client, and no more', async () => {
    const metadata = await json(`${castellan.url}/.well-known/oauth-authorization-server`);
    const register = await fetch(`${castellan.url}/register`, { method: 'POST' });
    assert.equal(register.status !== 404, metadata.registration_endpoint !== undefined);
  });

  it('authorization server checklist 4: announces the issuer in answers', async () => {
    const metadata = await json(`${castellan.url}/.well-known/oauth-authorization-server`);
    assert.equal(metadata.authorization_response_iss_parameter_supported, true);
  });

  it('authorization server checklist 5: each MCP URL has its own, where the challenge says', async () => {
    const paths = ['/projects/demo/mcp', '/projects/demo/operator-mcp', '/mcp', '/operator-mcp'];
    for (const at of paths) {
      const [, url = ''] = /resource_metadata="([^"]+)"/.exec(challengeOf(await list(at))) ?? [];
      assert.equal(url, `${castellan.url}/.well-known/oauth-protected-resource${at}`);
      const answer = await fetch(url);
      const metadata = (await answer.json()) as Record<string, unknown>;
      assert.equal(metadata.resource, `${castellan.url}${at}`);
      assert.deepEqual(metadata.authorization_servers, [castellan.url]);
      const etag = answer.headers.get('etag') ?? '';
      assert.equal((await fetch(url, { headers: { 'if-none-match': etag } })).status, 304);
    }
    for (const at of ['/projects/nothing/mcp', '', '/', '/projects/demo', '/projects/demo/mcp/'])
      assert.equal(
        (await fetch(`${castellan.url}/.well-known/oauth-protected-resource${at}`)).status,
        404,
        at,
      );
  });

  it('authorization server checklist 6: names the scopes of the operation, and no offline_access', async () => {
    for (const [at, scope] of [
      ['/projects/demo/mcp', 'mcp'],
      ['/projects/demo/operator-mcp', 'mcp:operator'],
    ] as const) {
      assert.match(challengeOf(await list(at)), new RegExp(`scope="${scope}"`));
      const metadata = await json(`${castellan.url}/.well-known/oauth-protected-resource${at}`);
      assert.deepEqual(metadata.scopes_supported, [scope]);
    }
    const both = await token({ scope: 'mcp:operator' });
    assert.equal((await list('/projects/demo/mcp', both)).status, 200, 'mcp:operator holds mcp');
  });
});

describe('the MCP endpoint', () => {
  it('authorization server checklist 7: tells a missing credential, a wrong one and too small a scope apart', async () => {
    const without = await list('/projects/demo/mcp');
    assert.equal(without.status, 401);
    assert.doesNotMatch(challengeOf(without), /error=/);
    const wrong = await list('/projects/demo/mcp', 'cst_at_wrong');
    assert.equal(wrong.status, 401);
    assert.match(challengeOf(wrong), /error="invalid_token"/);
    const small = await list('/projects/demo/operator-mcp', await token());
    assert.equal(small.status, 403);
    assert.match(challengeOf(small), /error="insufficient_scope".*scope="mcp:operator".*resource_metadata=/);
  });

  it('authorization server checklist 21: takes a token in the header alone, and for its own project', async () => {
    const bearer = await token();
    assert.equal((await list('/projects/demo/mcp', bearer)).status, 200);
    assert.equal((await list(`/projects/demo/mcp?access_token=${bearer}`)).status, 401);
    assert.equal(
      (await list('/projects/demo/mcp', undefined, { cookie: `access_token=${bearer}` })).status,
      401,
    );
    for (const other of ['/mcp', '/projects/nothing/mcp']) {
      const answer = await list(other, bearer);
      assert.equal(answer.status, 403);
      assert.deepEqual(await answer.json(), {
        jsonrpc: '2.0',
        id: null,
        error: { code: -32600, message: 'This credential does not open this project' },
      });
    }
    assert.ok(!castellan.stderr().includes(bearer.slice(7)), 'no token is in the log');
  });

  it('authorization server checklist 28: asks for the token on every request, whoever began the session', async () => {
    const bearer = await token();
    const session = await begin(bearer);
    assert.equal((await list('/projects/demo/mcp', undefined, { 'mcp-session-id': session })).status, 401);
    assert.equal((await list('/projects/demo/mcp', bearer, { 'mcp-session-id': session })).status, 200);
  });

  it('authorization server checklist 29: what was given to one client is nothing in the hands of another', async () => {
    const session = await begin(await token());
    const made = await castellan.cli('create', 'oauthclient', 'other', '-p', 'demo', '--user', AGENT);
    const other = await token({ client_id: 'other', client_secret: made.stdout.trim() });
    assert.equal((await list('/projects/demo/mcp', other)).status, 200);
    assert.equal((await list('/projects/demo/mcp', other, { 'mcp-session-id': session })).status, 404);
    const altered = `${session.slice(0, -2)}${session.endsWith('A') ? 'B' : 'A'}A`;
    assert.equal(
      (await list('/projects/demo/mcp', await token(), { 'mcp-session-id': altered })).status,
      404,
    );
  });

  it('authorization server checklist 31: marks a list that depends on the caller as private', async () => {
    const answer = await modern('tools/list', await token());
    const { result } = (await answer.json()) as { result: { cacheScope?: string } };
    assert.equal(result.cacheScope, 'private');
    assert.equal(answer.headers.get('cache-control'), 'no-store');
  });

  it('ends what is open within seconds when its token is taken back', async () => {
    const bearer = await token();
    const stream = await modern('subscriptions/listen', bearer, {
      notifications: { toolsListChanged: true },
    });
    assert.equal(stream.headers.get('content-type'), 'text/event-stream');
    const form = { token: bearer, client_id: 'worker', client_secret: secret };
    const startedAt = Date.now();
    await fetch(`${castellan.url}/revoke`, { method: 'POST', body: new URLSearchParams(form) });
    assert.equal((await list('/projects/demo/mcp', bearer)).status, 401);
    await stream.text().catch(() => '');
    assert.ok(Date.now() - startedAt < 5_000, 'the stream ended');
  });
});

it('authorization server checklist 30: a page of somebody else gets nothing, wherever it asks', async () => {
  for (const at of [
    '/token',
    '/authorize',
    '/revoke',
    '/introspect',
    '/device_authorization',
    '/jwks',
    '/projects/demo/mcp',
    '/.well-known/oauth-authorization-server',
  ]) {
    for (const origin of ['https://evil.example', 'null']) {
      const answer = await fetch(new URL(at, castellan.url), {
        method: at.startsWith('/.') || at === '/jwks' || at === '/authorize' ? 'GET' : 'POST',
        headers: { origin },
      });
      assert.equal(answer.status, 403, `${at} ${origin}`);
      assert.equal(answer.headers.get('access-control-allow-origin'), null);
    }
  }
});

it('the API takes no token of a project, and says which it takes', async () => {
  const answer = await fetch(`${castellan.url}/api/v1/projects`, {
    headers: { authorization: `Bearer ${await token()}` },
  });
  assert.equal(answer.status, 403);
  assert.match(challengeOf(answer), /error="insufficient_scope".*scope="api"/);
});

it('a token outlives the process that issued it, and what was taken back stays so', async () => {
  const dataDir = await temporaryFolder();
  const config = path.join(await temporaryFolder(), 'castellan.yaml');
  await writeFile(config, CONFIG);
  const first = await startCastellan(['--config', config], { dataDir });
  const args = ['create', 'oauthclient', 'worker', '-p', 'demo', '--user', AGENT];
  const proof = { client_id: 'worker', client_secret: (await first.cli(...args)).stdout.trim() };
  const issue = async () => {
    const form = { grant_type: 'client_credentials', ...proof };
    const answer = await fetch(`${first.url}/token`, { method: 'POST', body: new URLSearchParams(form) });
    return ((await answer.json()) as { access_token: string }).access_token;
  };
  const [kept, revoked] = [await issue(), await issue()];
  const form = new URLSearchParams({ token: revoked, ...proof });
  assert.equal((await fetch(`${first.url}/revoke`, { method: 'POST', body: form })).status, 200);
  await first.stop('SIGKILL');
  await using second = await startCastellan(['--config', config], { dataDir });
  const at = `${second.url}/projects/demo/mcp`;
  assert.equal((await list(at, kept)).status, 200);
  assert.equal((await list(at, revoked)).status, 401);
});
