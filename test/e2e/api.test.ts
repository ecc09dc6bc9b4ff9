import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import path from 'node:path';
import { after, before, test } from 'node:test';
import { startCastellan, type TestCastellan } from '../support/running-castellan.ts';

let castellan: TestCastellan;
let admin = '';
let token = '';

before(async () => {
  castellan = await startCastellan();
  admin = JSON.parse(await readFile(path.join(castellan.dataDir, 'admin.json'), 'utf8')).credential;
  const made = await castellan.cli(
    'create',
    'mcptoken',
    'api',
    '-p',
    'demo',
    '--bind',
    'role:run,resource:tools',
  );
  token = made.stdout.trim();
});
after(() => castellan[Symbol.asyncDispose]());

type Body = Record<string, unknown> & { error?: { code: string; message: string } };
type Asked = { status: number; body: Body; headers: Headers };

async function ask(
  method: string,
  route: string,
  credential: string,
  body?: unknown,
  type = 'application/json',
): Promise<Asked> {
  const headers: Record<string, string> = credential === '' ? {} : { authorization: `Bearer ${credential}` };
  if (body !== undefined) headers['content-type'] = type;
  const sent = body === undefined ? {} : { body: typeof body === 'string' ? body : JSON.stringify(body) };
  const response = await fetch(`${castellan.url}/api/v1/${route}`, { method, headers, ...sent });
  return {
    status: response.status,
    body: (await response.json()) as Body,
    headers: response.headers,
  };
}

/** Every route, and what a project token gets: only what is about itself and its own project is open to it. */
const ROUTES: readonly [method: string, route: string, token: number][] = [
  ['GET', 'version', 200],
  ['GET', 'servers', 403],
  ['GET', 'servers/memory', 403],
  ['PUT', 'servers/memory', 403],
  ['DELETE', 'servers/memory', 403],
  ['GET', 'projects', 403],
  ['GET', 'projects/demo/tools', 200],
  ['GET', 'projects/no-such/tools', 403],
  ['GET', 'mcp/servers', 403],
  ['GET', 'mcp/servers?resolve=true', 403],
  ['GET', 'mcp/status', 403],
  ['GET', 'secrets', 403],
  ['PUT', 'secrets/memory', 403],
  ['POST', 'secrets/rotate-key', 403],
  ['GET', 'servers/memory/status', 403],
  ['POST', 'servers/memory/connect', 403],
  ['POST', 'reload', 403],
  ['GET', 'mcptokens', 403],
  ['POST', 'mcptokens', 403],
  ['GET', 'mcptokens/introspect', 200],
  ['GET', 'mcptokens/api', 404],
  ['PUT', 'mcptokens/api', 403],
  ['DELETE', 'mcptokens/api', 404],
  ['POST', 'mcptokens/api/revoke', 404],
];

for (const [method, route, expected] of ROUTES) {
  test(`${method} ${route}: 401 without a credential, ${expected} for a token`, async () => {
    for (const credential of ['', 'nonsense', `${token.slice(0, -1)}!`, `cst_pat_${'0'.repeat(49)}`]) {
      const anonymous = await ask(method, route, credential);
      assert.deepEqual([anonymous.status, anonymous.body.error?.code], [401, 'UNAUTHENTICATED']);
      assert.match(anonymous.headers.get('www-authenticate') ?? '', /^Bearer /);
    }
    const own = await ask(method, route, token);
    assert.equal(own.status, expected, JSON.stringify(own.body));
    assert.equal(own.headers.get('cache-control'), 'no-store');
  });
}

test('introspection describes the bearer and nothing else', async () => {
  const { body } = await ask('GET', 'mcptokens/introspect', token);
  assert.deepEqual(
    [body.name, body.project, body.surfaces, body.status],
    ['api', 'demo', ['consumer'], 'active'],
  );
  assert.doesNotMatch(JSON.stringify(body), new RegExp(token.slice(16)));
  const user = await ask('GET', 'mcptokens/introspect', admin);
  assert.deepEqual([user.body.principal, user.body.project], ['User:admin', '*']);
});

test('a token is described to an administrator who presents it as a form or as JSON', async () => {
  const introspect = async (body: string, type: string, as = admin) => {
    const headers = { authorization: `Bearer ${as}`, 'content-type': type };
    const answer = await fetch(`${castellan.url}/api/v1/mcptokens/introspect`, {
      method: 'POST',
      headers,
      body,
    });
    return { status: answer.status, body: (await answer.json()) as Record<string, unknown> };
  };
  const [form, json] = ['application/x-www-form-urlencoded', 'application/json; charset=utf-8'];
  const asForm = await introspect(`token=${token}&token_type_hint=access_token`, form);
  assert.deepEqual([asForm.status, asForm.body.active, asForm.body.name], [200, true, 'api']);
  assert.deepEqual(await introspect(JSON.stringify({ token }), json), asForm);
  const unknown = { status: 200, body: { active: false } };
  assert.deepEqual(await introspect(JSON.stringify({ token }), json, token), unknown);
  assert.deepEqual(await introspect(`token=${token}x`, form), unknown);
  const nothing: [string, string][] = [
    ['', form],
    ['token=', form],
    ['{}', json],
    ['{"token": 5}', json],
  ];
  for (const [body, type] of nothing) {
    const refused = await introspect(body, type);
    assert.equal(refused.status, 400, body);
    assert.match(JSON.stringify(refused.body), /token: is missing: send it/);
  }
  assert.equal((await introspect(`token=${token}&token=${token}`, form)).status, 400);
});

test('what is wrong with a request is said, with its status', async () => {
  const server = {
    apiVersion: 'castellan/v1',
    kind: 'Server',
    metadata: { name: 'x' },
    spec: { command: 'node' },
  };
  const wish = { name: 'x', project: 'demo' };
  const cases: [string, string, unknown, number, RegExp, string?][] = [
    ['GET', 'nope', undefined, 404, /unknown kind "nope"/],
    ['GET', 'servers/nope', undefined, 404, /there is no server nope/],
    ['PATCH', 'servers/memory', {}, 404, /there is no PATCH/],
    ['PUT', 'servers/x', '{', 400, /no valid JSON/],
    ['PUT', 'servers/x', '[]', 400, /must be a JSON object/],
    ['PUT', 'servers/x', '{}', 400, /must be JSON/, 'text/plain'],
    ['PUT', 'servers/y', server, 400, /metadata\.name: must be y/],
    ['PUT', 'projects/x', server, 400, /kind: must be Project/],
    ['PUT', 'servers/x', { ...server, spec: { comand: 'node' } }, 400, /did you mean command/],
    ['PUT', 'servers/x?dryRun=maybe', server, 400, /dryRun: must be true or false/],
    ['PUT', 'servers/memory', { ...server, metadata: { name: 'memory' } }, 409, /belongs to file/],
    ['PUT', 'servers/x', JSON.stringify({ ...server, pad: 'x'.repeat(5 * 1024 * 1024) }), 413, /4 MiB/],
    ['GET', 'projects/demo/tools?surface=both', undefined, 400, /surface: must be/],
    ['POST', 'servers/nope/connect', undefined, 404, /there is no server nope/],
    ['POST', 'mcptokens', { name: 'x' }, 400, /project: is missing/],
    ['POST', 'mcptokens', { project: 'demo' }, 400, /name: is missing/],
    ['POST', 'mcptokens', { ...wish, project: 'nope' }, 404, /there is no project nope/],
    ['POST', 'mcptokens', { ...wish, tll: '1h' }, 400, /tll: unknown key/],
    ['POST', 'mcptokens', { ...wish, ttl: 3600 }, 400, /ttl: must be text/],
    ['POST', 'mcptokens', { ...wish, ttl: '1 year' }, 400, /ttl: "1 year"/],
    ['POST', 'mcptokens', { ...wish, surfaces: [] }, 400, /surfaces: must be/],
    ['POST', 'mcptokens', { ...wish, rbac: 'all' }, 400, /rbac: must be/],
    ['POST', 'mcptokens', { ...wish, force: 'yes' }, 400, /force: must be/],
    [
      'POST',
      'mcptokens',
      { ...wish, binds: [{ role: 'root', resource: 'tools' }] },
      400,
      /binds\[0\]: role "root"/,
    ],
    ['POST', 'mcptokens', { name: 'api', project: 'demo' }, 409, /already exists/],
    ['POST', 'mcptokens/nope/revoke?project=demo', undefined, 404, /there is no token nope/],
  ];
  for (const [method, route, body, status, said, type] of cases) {
    const answer = await ask(method, route, admin, body, type);
    assert.equal(answer.status, status, `${method} ${route}: ${JSON.stringify(answer.body)}`);
    assert.match(String(answer.body.error?.message), said);
  }
});

test('an object goes in, comes out the same, and changes once', async () => {
  const server = {
    apiVersion: 'castellan/v1',
    kind: 'Server',
    metadata: { name: 'made' },
    spec: { command: 'node', args: ['-v'] },
  };
  const planned = await ask('PUT', 'servers/made?dryRun=true', admin, server);
  assert.deepEqual([planned.status, planned.body.action], [200, 'created']);
  assert.equal((await ask('GET', 'servers/made', admin)).status, 404);
  assert.equal((await ask('PUT', 'servers/made', admin, server)).body.action, 'created');
  const { body: read } = await ask('GET', 'srv/made', admin);
  assert.deepEqual(read.spec, server.spec);
  assert.equal((await ask('PUT', 'servers/made', admin, read)).body.action, 'unchanged');
  assert.equal((await ask('DELETE', 'servers/made?dryRun=true', admin)).body.action, 'deleted');
  assert.equal((await ask('DELETE', 'servers/made', admin)).body.action, 'deleted');
  assert.equal((await ask('DELETE', 'servers/made', admin)).status, 404);
});

test('a token is made once, listed without its secret, and gone with its project', async () => {
  const project = {
    apiVersion: 'castellan/v1',
    kind: 'Project',
    metadata: { name: 'brief' },
    spec: { servers: ['memory'] },
  };
  assert.equal((await ask('PUT', 'projects/brief', admin, project)).status, 200);
  const made = await ask('POST', 'mcptokens', admin, {
    name: 'guest',
    project: 'brief',
    rbac: 'clone',
    surfaces: ['operator'],
  });
  const raw = String(made.body.token);
  assert.equal(made.status, 201);
  assert.doesNotMatch(JSON.stringify((await ask('GET', 'mcptokens', admin)).body), new RegExp(raw.slice(16)));
  const tools = await ask('GET', 'projects/brief/tools', raw);
  assert.deepEqual(
    [tools.status, tools.body.items],
    [200, []],
    'its surface has no tools, and others are not shown',
  );
  assert.equal((await ask('GET', 'projects/demo/tools', raw)).status, 403);
  assert.equal((await ask('DELETE', 'projects/brief', admin)).status, 200);
  assert.equal((await ask('GET', 'mcptokens/introspect', raw)).status, 401);
  assert.equal((await ask('GET', 'mcptokens/guest', admin)).status, 404);
});
