import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import path from 'node:path';
import { after, before, test } from 'node:test';
import { apiSchemas } from '../../src/http/api/schemas.ts';
import { startCastellan, type TestCastellan } from '../support/running-castellan.ts';

let castellan: TestCastellan;
let admin = '';

before(async () => {
  castellan = await startCastellan();
  admin = JSON.parse(await readFile(path.join(castellan.dataDir, 'admin.json'), 'utf8')).credential;
});
after(() => castellan[Symbol.asyncDispose]());

type Json = Record<string, unknown>;
type Stored = { metadata: { name: string; resourceVersion: string; labels?: Json } };

async function ask(method: string, route: string, body?: unknown, headers: Record<string, string> = {}) {
  const response = await fetch(`${castellan.url}/api/v1/${route}`, {
    method,
    headers: { authorization: `Bearer ${admin}`, 'content-type': 'application/json', ...headers },
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
  });
  // Of lines, the first.
  const [first = '{}'] = (await response.text()).split('\n');
  const json = JSON.parse(first) as Json;
  const { message } = (json.error ?? {}) as { message?: string };
  return { status: response.status, body: json, said: message ?? '', headers: response.headers };
}

const server = (name: string, labels: Json = {}, spec: Json = { command: 'node' }) => ({
  apiVersion: 'castellan/v1',
  kind: 'Server',
  metadata: { name, labels },
  spec,
});

test('every documented way exists, and what it answers has the documented shape', async () => {
  const document = (await (await fetch(`${castellan.url}/api/v1/openapi.json`)).json()) as {
    paths: Record<string, Record<string, { responses: Record<string, { content: Json }> }>>;
  };
  const schemas = apiSchemas();
  let compared = 0;
  for (const [documented, operations] of Object.entries(document.paths)) {
    const names: Record<string, string> = { servers: 'memory', projects: 'demo', mcptokens: 'quickstart' };
    const kind = documented.split('/')[3] ?? '';
    const route = documented.replace('/api/v1/', '').replace('{name}', names[kind] ?? 'admin');
    for (const [method, { responses }] of Object.entries(operations)) {
      if (method !== 'get') {
        const { said } = await ask(method.toUpperCase(), `${route}?none=1`);
        assert.match(said, /^none: unknown query parameter/, `${method} ${route}`);
        continue;
      }
      const { status, body } = await ask('GET', route === 'tickets' ? `${route}?project=demo` : route);
      // Not every object has every part: who asks for one that cannot be is told why.
      if ((status === 404 || status === 409) && documented.includes('{')) continue;
      assert.equal(status, 200, `${route}: ${JSON.stringify(body)}`);
      const content = JSON.stringify(responses['200']?.content);
      const name = /schemas\/(\w+)/.exec(content)?.[1] ?? '';
      const outcome = schemas[name]?.safeParse(body);
      assert.ok(outcome?.success, `${route} as ${name}: ${outcome?.error?.message}`);
      compared += 1;
    }
  }
  assert.ok(compared >= 14, `${compared} answers were compared`);
});

test('a change tied to a version happens in that version alone', async () => {
  const made = await ask('PUT', 'servers/tied', server('tied'), { 'if-none-match': '*' });
  const { metadata } = made.body.object as Stored;
  const again = await ask('PUT', 'servers/tied', server('tied'), { 'if-none-match': '*' });
  assert.deepEqual([made.status, again.status], [200, 412], again.said);
  const read = await ask('GET', 'servers/tied');
  assert.equal(read.headers.get('etag'), `"${metadata.resourceVersion}"`);
  const changed = { ...server('tied'), spec: { command: 'deno' } };
  const stale = { ...changed, metadata: { name: 'tied', resourceVersion: '1' } };
  const refused = await ask('PUT', 'servers/tied', stale);
  assert.equal(refused.status, 409);
  assert.match(refused.said, new RegExp(`its resourceVersion is ${metadata.resourceVersion}, not 1;`));
  assert.equal((await ask('PUT', 'servers/tied?dryRun=true', stale)).status, 409);
  assert.equal((await ask('PUT', 'servers/tied', changed, { 'if-match': '"1"' })).status, 412);
  const etag = { 'if-match': `"${metadata.resourceVersion}"` };
  assert.equal((await ask('PUT', 'servers/tied', stale, etag)).status, 400, 'two versions');
  assert.equal((await ask('PUT', 'servers/tied', changed, { 'if-match': 'x' })).status, 400);
  assert.equal((await ask('PUT', 'servers/tied', changed, etag)).body.action, 'configured');
  assert.equal(
    (await ask('PUT', 'servers/tied', server('tied'))).body.action,
    'configured',
    'the last write wins',
  );
  const { body: now } = await ask('GET', 'servers/tied');
  const { resourceVersion } = (now as unknown as Stored).metadata;
  assert.equal((await ask('DELETE', `servers/tied?resourceVersion=1`)).status, 409);
  assert.equal((await ask('DELETE', 'servers/tied', undefined, { 'if-match': '"1"' })).status, 412);
  assert.equal(
    (await ask('DELETE', `servers/tied?resourceVersion=${resourceVersion}&dryRun=true`)).status,
    200,
  );
  assert.equal((await ask('DELETE', `servers/tied?resourceVersion=${resourceVersion}`)).status, 200);
  assert.equal((await ask('GET', 'servers/tied')).status, 404);
});

test('selectors pick objects and tokens', async () => {
  await ask('PUT', 'servers/red', server('red', { team: 'red' }));
  await ask('PUT', 'servers/blue', server('blue', { team: 'blue' }, { url: 'http://127.0.0.1:9/mcp' }));
  await ask('POST', 'mcptokens', { name: 'labelled', project: 'demo', labels: { team: 'red' } });
  const named = async (route: string) => {
    const { body } = await ask('GET', route);
    return (body.items as Stored[]).map((item) => item.metadata.name).join(' ');
  };
  assert.equal(await named('servers?labelSelector=team in (red,blue)'), 'blue red');
  assert.equal(await named('servers?labelSelector=team!=red,team'), 'blue');
  assert.equal(await named('servers?fieldSelector=spec.url=http://127.0.0.1:9/mcp'), 'blue');
  assert.equal(await named('projects?fieldSelector=spec.servers=memory'), 'demo');
  assert.equal(
    await named('mcptokens?labelSelector=team=red&fieldSelector=status.status=active'),
    'labelled',
  );
  for (const route of ['servers?labelSelector=a in b', 'mcptokens?fieldSelector=name=x']) {
    const { status, said } = await ask('GET', route);
    assert.deepEqual([status, /Selector: .* is no requirement/.test(said)], [400, true], said);
  }
});

test('a mistyped parameter is no change', async () => {
  const { status, said } = await ask('PUT', 'servers/typo?dryrun=true', server('typo'));
  assert.deepEqual([status, said], [400, 'dryrun: unknown query parameter: did you mean dryRun?']);
  assert.equal((await ask('GET', 'servers/typo')).status, 404);
});

test('a dry run of a token checks it, and makes none', async () => {
  const wish = { name: 'planned', project: 'demo', ttl: '1h' };
  const planned = await ask('POST', 'mcptokens?dryRun=true', wish);
  assert.deepEqual([planned.status, planned.body.token], [201, undefined]);
  assert.equal((await ask('GET', 'mcptokens/planned')).status, 404);
  assert.equal((await ask('POST', 'mcptokens?dryRun=true', { ...wish, ttl: 'soon' })).status, 400);
  assert.equal((await ask('POST', 'mcptokens?dryRun=true', { ...wish, name: 'labelled' })).status, 409);
});

type Watched = { type: string; resourceVersion: string; object?: Stored };

/** Reads a watch until it has seen `count` events other than bookmarks, or ends. */
async function watched(route: string, headers: Record<string, string> = {}) {
  const abort = new AbortController();
  const response = await fetch(`${castellan.url}/api/v1/${route}`, {
    headers: { authorization: `Bearer ${admin}`, ...headers },
    signal: AbortSignal.any([abort.signal, AbortSignal.timeout(30_000)]),
  });
  const reader = response.body!.pipeThrough(new TextDecoderStream()).getReader();
  const lines: string[] = [];
  let rest = '';
  const next = async (): Promise<Watched | undefined> => {
    while (lines.length === 0) {
      const { value, done } = await reader.read();
      if (done) return undefined;
      const parts = (rest + value).split('\n');
      rest = parts.pop() ?? '';
      lines.push(...parts);
    }
    return JSON.parse(lines.shift()!) as Watched;
  };
  const told = async () => {
    const { type, object } = (await next()) ?? { type: 'END' };
    return object ? `${type} ${object.metadata.name}` : type;
  };
  return { status: response.status, next, told, leave: () => abort.abort() };
}

test('a watch tells what there is, and then what happens to what is selected', async () => {
  const project = (name: string, labels: Json) => ({
    apiVersion: 'castellan/v1',
    kind: 'Project',
    metadata: { name, labels },
    spec: { servers: ['memory'] },
  });
  const { body: list } = await ask('GET', 'projects');
  const start = (list.metadata as { resourceVersion: string }).resourceVersion;
  const all = await watched('projects?watch=true');
  assert.deepEqual([await all.told(), await all.told()], ['ADDED demo', 'BOOKMARK']);
  const red = await watched('projects?watch=true&labelSelector=team=red');
  assert.equal(await red.told(), 'BOOKMARK');
  await ask('PUT', 'projects/w', project('w', { team: 'red' }));
  await ask('PUT', 'projects/w', project('w', { team: 'red', more: '1' }));
  await ask('PUT', 'projects/w', project('w', { team: 'blue' }));
  await ask('DELETE', 'projects/w');
  for (const expected of ['ADDED w', 'MODIFIED w', 'MODIFIED w', 'DELETED w'])
    assert.equal(await all.told(), expected);
  for (const expected of ['ADDED w', 'MODIFIED w', 'DELETED w']) assert.equal(await red.told(), expected);
  const later = await watched(`projects?watch=true&resourceVersion=${start}`);
  const first = await later.next();
  assert.deepEqual([first?.type, first?.object?.metadata.name], ['ADDED', 'w']);
  const after = await watched(`projects?watch=true&resourceVersion=${first?.resourceVersion}`);
  assert.equal(await after.told(), 'MODIFIED w');
  for (const open of [all, red, later, after]) open.leave();
  assert.equal((await ask('GET', 'projects?watch=true&resourceVersion=1')).status, 410);
  assert.equal((await ask('GET', 'projects?resourceVersion=1')).status, 400);
});

test('a watch ends with the right to look', async () => {
  const object = (kind: string, name: string, spec: Json) => ({ kind, metadata: { name }, spec });
  const name = 'watcher@example.com';
  await ask('PUT', `users/${name}`, object('User', name, {}));
  const roleBindings = [{ role: 'view', resource: 'projects', name: 'demo' }];
  const rbac = { subjects: [{ kind: 'User', name }], roleBindings };
  await ask('PUT', 'rbac/watchers', object('Rbac', 'watchers', rbac));
  const own = await watched('projects?watch=true', { 'castellan-as': `User:${name}` });
  assert.deepEqual([await own.told(), await own.told()], ['ADDED demo', 'BOOKMARK']);
  await ask('PUT', 'projects/hidden', object('Project', 'hidden', { servers: [] }));
  await ask('DELETE', 'projects/hidden');
  assert.equal((await ask('DELETE', 'rbac/watchers')).status, 200);
  assert.equal(await own.told(), 'END', 'and nothing was told of what it may not see');
});
