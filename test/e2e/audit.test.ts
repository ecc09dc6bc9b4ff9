import assert from 'node:assert/strict';
import { readFile, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { after, before, test } from 'node:test';
import type { RecordedEvent } from '../../src/audit/row.ts';
import { apiRoutes } from '../../src/http/api/api.ts';
import { definitionFingerprint } from '../../src/pins/definition.ts';
import { temporaryFolder } from '../support/databases.ts';
import { allowGrant, GRANT } from '../support/known-grant.ts';
import { OracleUpstream } from '../support/oracle-upstream.ts';
import { startCastellan, type TestCastellan } from '../support/running-castellan.ts';
import { Vendor } from '../support/vendor.ts';

let castellan: TestCastellan;
let admin = '';
let token = '';
let file = '';
let turn = 0;
let oracle: OracleUpstream | undefined;

before(async () => {
  const folder = await temporaryFolder();
  file = path.join(folder, 'castellan.yaml');
  const everything = {
    command: `\${castellan:node}`,
    args: [`\${castellan:package:@modelcontextprotocol/server-everything}`, 'stdio'],
    tools: { readOnly: ['get*'] },
  };
  const documents = [
    { kind: 'Server', metadata: { name: 'everything' }, spec: everything },
    { kind: 'Server', metadata: { name: 'spare' }, spec: everything },
    { kind: 'Project', metadata: { name: 'demo' }, spec: { servers: ['everything'] } },
    {
      kind: 'Project',
      metadata: { name: 'open' },
      spec: { servers: ['everything'], audit: { intent: 'relaxed', arguments: true } },
    },
  ];
  const text = documents.map((one) => JSON.stringify({ apiVersion: 'castellan/v1', ...one })).join('\n---\n');
  await writeFile(file, text);
  castellan = await startCastellan(['--config', file]);
  admin = JSON.parse(await readFile(path.join(castellan.dataDir, 'admin.json'), 'utf8')).credential;
  token = await newToken('agent', 'demo');
});
after(() => oracle?.[Symbol.asyncDispose]());
after(() => vendor?.[Symbol.asyncDispose]());
after(() => castellan[Symbol.asyncDispose]());

async function newToken(name: string, project: string, bind = 'role:run,resource:tools'): Promise<string> {
  const made = await castellan.cli('create', 'mcptoken', name, '-p', project, '--bind', bind);
  assert.equal(made.code, 0, made.stderr);
  return made.stdout.trim();
}

/** A trace id of its own, by which the rows of one request are found. */
function newTrace(): string {
  turn += 1;
  return turn.toString(16).padStart(32, 'a');
}

const headersOf = (credential: string, trace: string) => ({
  authorization: `Bearer ${credential}`,
  'content-type': 'application/json',
  accept: 'application/json, text/event-stream',
  traceparent: `00-${trace}-00f067aa0ba902b7-01`,
});

async function call(project: string, credential: string, name: string, args: object, trace = newTrace()) {
  const body = { jsonrpc: '2.0', id: 1, method: 'tools/call', params: { name, arguments: args } };
  const response = await fetch(`${castellan.url}/projects/${project}/mcp`, {
    method: 'POST',
    headers: headersOf(credential, trace),
    body: JSON.stringify(body),
  });
  const text = await response.text();
  return { trace, status: response.status, text };
}

/** The rows of a request, oldest first; records are written a moment after the answer. */
async function rowsOf(trace: string, count: number, path_ = 'audit'): Promise<RecordedEvent[]> {
  const deadline = Date.now() + 5_000;
  for (;;) {
    const answer = await fetch(`${castellan.url}/api/v1/${path_}?trace=${trace}&order=oldest`, {
      headers: { authorization: `Bearer ${admin}` },
    });
    const { items } = (await answer.json()) as { items: RecordedEvent[] };
    if (items.length >= count || Date.now() > deadline) {
      assert.equal(items.length, count, JSON.stringify(items));
      return items;
    }
  }
}

test('a call that may change something is announced, and one row says how it ended', async () => {
  const { trace, text } = await call('demo', token, 'everything__echo', { message: 'hi there' });
  assert.match(text, /hi there/);
  const [intent, outcome] = await rowsOf(trace, 2);
  assert.deepEqual([intent!.event, intent!.outcome], ['tool.intent', 'allowed']);
  assert.deepEqual([outcome!.event, outcome!.outcome], ['tool.call', 'ok']);
  assert.equal(outcome!.intent, intent!.id);
  const { user, token: name, project, surface, server, tool } = outcome!;
  assert.deepEqual(
    [user, name, project, surface, server, tool],
    ['admin', 'agent', 'demo', 'consumer', 'everything', 'everything__echo'],
  );
  assert.match(outcome!.tokenSha!, /^[0-9a-f]{64}$/);
  assert.equal(outcome!.argumentsDigest, intent!.argumentsDigest);
  assert.ok(outcome!.durationMs! >= 0);
  assert.doesNotMatch(JSON.stringify([intent, outcome]), /hi there/);
});

test('a call that the operator calls read-only has one row; so has one that is refused', async () => {
  const read = await call('demo', token, 'everything__get-sum', { a: 1, b: 2 });
  const [only] = await rowsOf(read.trace, 1);
  assert.deepEqual([only!.event, only!.outcome, only!.intent], ['tool.call', 'ok', undefined]);
  const bare = await newToken('bare', 'demo', 'role:run,resource:tools,name:other__*');
  for (const [credential, name] of [
    [token, 'everything__no-such'],
    [bare, 'everything__echo'],
  ] as const) {
    const { trace } = await call('demo', credential, name, {});
    const [row] = await rowsOf(trace, 1);
    assert.deepEqual(
      [row!.event, row!.outcome, row!.tool, (row!.detail as { code: string }).code],
      ['tool.call', 'refused', name, 'UNKNOWN_TOOL'],
    );
  }
});

test('arguments are recorded where the project says so, without what looks like a secret', async () => {
  const open = await newToken('open', 'open');
  const given = { message: 'seen', password: 'hunter2' };
  const { trace } = await call('open', open, 'everything__echo', given);
  const rows = await rowsOf(trace, 2);
  const recorded = rows.flatMap(
    ({ detail }) => (detail as { arguments?: unknown } | undefined)?.arguments ?? [],
  );
  assert.ok(recorded.length > 0);
  for (const one of recorded) assert.deepEqual(one, { message: 'seen', password: '[secret]' });
});

test('guesses are counted by address, not written one by one', async () => {
  const guess = (raw: string) =>
    fetch(`${castellan.url}/projects/demo/mcp`, { method: 'POST', headers: headersOf(raw, newTrace()) });
  for (let at = 0; at < 20; at += 1) assert.equal((await guess(`cst_pat_${at}`)).status, 401);
  const { stdout } = await castellan.cli('audit', 'query', '--event', 'auth.failed', '-o', 'json');
  const { items } = JSON.parse(stdout) as { items: RecordedEvent[] };
  const malformed = items.filter(({ detail }) => (detail as { reason: string }).reason === 'malformed');
  assert.equal(malformed.length, 1);
  assert.equal(malformed[0]!.address, '127.0.0.1');
});

test('query, get, export and verify on the command line', async () => {
  const { trace } = await call('demo', token, 'everything__echo', { message: 'x' });
  await rowsOf(trace, 2);
  const table = await castellan.cli(
    'audit',
    'query',
    '--since',
    '1h',
    '--tool',
    'everything__e*',
    '-p',
    'demo',
  );
  assert.match(table.stdout, /^TIME +EVENT +OUTCOME +WHO +PROJECT +WHAT +MS\n/);
  assert.match(table.stdout, /tool\.call +ok +admin\/agent +demo +everything__echo +\d+/);
  const one = (await rowsOf(trace, 2))[0]!;
  const got = await castellan.cli('get', 'auditevent', one.id, '-o', 'json');
  assert.deepEqual(JSON.parse(got.stdout), one);
  const lines = (await castellan.cli('audit', 'export', '--trace', trace)).stdout.trim().split('\n');
  assert.deepEqual(
    lines.map((line) => JSON.parse(line).event),
    ['tool.intent', 'tool.call'],
  );
  const streamed = await fetch(`${castellan.url}/api/v1/audit/export?order=oldest&trace=${trace}`, {
    headers: { authorization: `Bearer ${admin}` },
  });
  assert.deepEqual((await streamed.text()).trim().split('\n'), lines);
  const verified = await castellan.cli('audit', 'verify');
  assert.equal(verified.code, 0, verified.stdout);
  assert.match(verified.stdout, /^\d+ rows in \d+ chains are as they were written\n$/);
  assert.equal((await castellan.cli('audit', 'query', '--limit', '0')).code, 64);
  assert.equal((await castellan.cli('audit', 'query', '--since', 'yesterday')).code, 64);
  for (const [field, value] of [
    ['outcome', 'nope'],
    ['event', 'tool.cal'],
    ['event', 'nope*'],
    ['surface', 'both'],
    ['token-sha', 'abc'],
  ]) {
    const wrong = await castellan.cli('audit', 'query', `--${field}`, value!);
    assert.equal(wrong.code, 64, wrong.stdout);
    assert.match(
      wrong.stderr,
      new RegExp(`${field === 'token-sha' ? 'tokenSha' : field}: (must be|is none)`),
    );
  }
  assert.equal((await castellan.cli('audit', 'query', '--event', 'token.*')).code, 0);
});

test('whoever watches hears of what happens', async () => {
  const watch = async (after?: string) => {
    const url = new URL(`${castellan.url}/api/v1/audit?watch=true&event=tool.call`);
    if (after !== undefined) url.searchParams.set('after', after);
    const answer = await fetch(url, { headers: { authorization: `Bearer ${admin}` } });
    return (await answer.json()) as { items: RecordedEvent[]; next: string };
  };
  const { next, items } = await watch();
  assert.deepEqual(items, []);
  const waiting = watch(next);
  const { trace } = await call('demo', token, 'everything__echo', { message: 'x' });
  const heard = await waiting;
  assert.deepEqual(
    heard.items.map((item) => item.trace),
    [trace],
  );
});

test('whoever watches and loses the right, or the token, hears no more', async () => {
  const watch = (credential: string, after?: string) =>
    fetch(`${castellan.url}/api/v1/audit?watch=true&event=server.stopped${after ? `&after=${after}` : ''}`, {
      headers: { authorization: `Bearer ${credential}` },
      signal: AbortSignal.timeout(30_000),
    });
  const ends: Record<string, (name: string) => Promise<unknown>> = {
    revoked: (name) => api('POST', `mcptokens/${name}/revoke?project=demo`),
    unbound: async (name) => {
      const found = await api('GET', `mcptokens/${name}?project=demo`);
      const { principal } = ((await found.json()) as { status: { principal: string } }).status;
      const hash = principal.slice('McpToken:'.length);
      const rbac = `mcptoken-${hash.slice(0, 24)}`;
      const spec = { subjects: [{ kind: 'McpToken', name: hash }], roleBindings: [] };
      return api('PUT', `rbac/${rbac}`, withApi({ kind: 'Rbac', metadata: { name: rbac }, spec }));
    },
  };
  for (const [name, end] of Object.entries(ends)) {
    const credential = await newToken(name, 'demo', 'role:view,resource:audit');
    const { next } = (await (await watch(credential)).json()) as { next: string };
    const waiting = watch(credential, next);
    const open = async () => (await fetch(`${castellan.url}/metrics`)).text();
    while (!/^castellan_open_streams [1-9]/m.test(await open()));
    const asked = Date.now();
    const answered = await end(name);
    assert.ok((answered as Response).ok, name);
    const { items } = (await (await waiting).json()) as { items: RecordedEvent[] };
    assert.ok(Date.now() - asked < 5_000, `${name}: ended with the right, not with its time`);
    assert.deepEqual(items, [], name);
    assert.ok([401, 403].includes((await watch(credential, next)).status), name);
  }
});

test('a token with the right sees the rows of its own project alone', async () => {
  const auditor = await newToken('auditor', 'demo', 'role:view,resource:audit');
  const ask = (query: string) =>
    fetch(`${castellan.url}/api/v1/audit${query}`, { headers: { authorization: `Bearer ${auditor}` } });
  const { items } = (await (await ask('')).json()) as { items: RecordedEvent[] };
  assert.ok(items.length > 0);
  assert.ok(items.every(({ project }) => project === 'demo'));
  assert.equal((await ask('?project=open')).status, 403);
  assert.equal((await ask('/verify')).status, 403);
  const other = await fetch(`${castellan.url}/api/v1/audit`, {
    headers: { authorization: `Bearer ${token}` },
  });
  assert.equal(other.status, 403);
});

type Act = {
  path: string | (() => string);
  body?: object;
  before?: () => Promise<unknown>;
  /** Of the administrator, where it is not the one of the data directory. */
  credential?: () => string;
};
const api = (method: string, route: string, body?: object, trace = newTrace(), credential = admin) =>
  fetch(`${castellan.url}/api/v1/${route}`, {
    method,
    headers: headersOf(credential, trace),
    ...(body ? { body: JSON.stringify(body) } : {}),
  });
const server = (name: string) => ({
  kind: 'Server',
  metadata: { name },
  spec: { url: 'http://127.0.0.1:9/mcp' },
});
const withApi = (object: object) => ({ apiVersion: 'castellan/v1', ...object });
const tokenBody = (name: string) => ({ name, project: 'demo', rbac: 'empty' });
const make = (name: string) => () => api('POST', 'mcptokens', tokenBody(name));

let approval = '';
/** Holds a call, so that there is something to decide. */
async function hold(credential = token): Promise<void> {
  const when = 'has(args.held)';
  const rules = [{ tools: ['everything__echo'], when, action: 'approve', selfApproval: 'cli', holdMs: 0 }];
  const policy = { kind: 'Policy', metadata: { name: 'holding' }, spec: { projects: ['demo'], rules } };
  await api('PUT', 'policies/holding', withApi(policy));
  const { text } = await call('demo', credential, 'everything__echo', { message: 'x', held: newTrace() });
  approval = /apr_\w+/.exec(text)?.[0] ?? '';
}
/** As if the process had been killed before the call was answered. */
async function lose(): Promise<void> {
  await hold();
  const database = new DatabaseSync(path.join(castellan.dataDir, 'castellan.db'), { timeout: 5_000 });
  database.prepare("update approvals set state = 'unknown' where id = ?").run(approval);
  database.close();
}
let decider = '';
/** Holds a call of somebody else, on which a token of the administrator decides. */
async function holdOfAnother(): Promise<void> {
  const name = 'asker@example.com';
  await api('PUT', `users/${name}`, withApi({ kind: 'User', metadata: { name }, spec: {} }));
  const roleBindings = [
    { role: 'run', resource: 'tools' },
    { role: 'create', resource: 'mcptokens' },
  ];
  const spec = { subjects: [{ kind: 'User', name }], roleBindings };
  await api('PUT', 'rbac/asker', withApi({ kind: 'Rbac', metadata: { name: 'asker' }, spec }));
  const bind = ['--bind', 'role:run,resource:tools', '--as', `User:${name}`];
  const asker = await castellan.cli('create', 'mcptoken', 'asker', '-p', 'demo', ...bind);
  decider = await newToken('decider', 'demo', 'role:approve,resource:approvals');
  await hold(asker.stdout.trim());
}
const decision = (verb: string) => ({
  path: () => `approvals/${approval}/${verb}`,
  body: {},
  before: () => hold(),
});

const cameBack = { url: '' };
let vendor: Vendor | undefined;
/** A server that somebody can sign in for. */
async function sellTokens(): Promise<void> {
  vendor ??= await Vendor.start();
  const spec = { url: vendor.url, auth: { type: 'oauth' } };
  await api('PUT', 'servers/sold', withApi({ kind: 'Server', metadata: { name: 'sold' }, spec }));
}
async function beginLogin(): Promise<void> {
  await sellTokens();
  const answer = await api('POST', 'servers/sold/login', { flow: 'paste' });
  cameBack.url = await vendor!.visit(((await answer.json()) as { url: string }).url);
}

const CHANGED = { description: 'another one' };
/** A tool whose definition is another one than a project has listed. */
async function changeTool(): Promise<void> {
  oracle = await OracleUpstream.start('modern');
  const changing = { kind: 'Server', metadata: { name: 'changing' }, spec: { url: oracle.url } };
  await api('PUT', 'servers/changing', withApi(changing));
  const pinned = { kind: 'Project', metadata: { name: 'pinned' }, spec: { servers: ['changing'] } };
  await api('PUT', 'projects/pinned', withApi(pinned));
  await api('GET', 'projects/pinned/tools');
  oracle.about = CHANGED;
  // Another entry is another connection, which reads its lists anew.
  const spec = { ...changing.spec, lifecycle: { callTimeout: '59s' } };
  await api('PUT', 'servers/changing', withApi({ ...changing, spec }));
  await api('GET', 'projects/pinned/tools');
}

/** One request for each mutating route, which does what the route is for. */
let ticket = '';
const ofTicket = (what: string, body: object): Act => ({
  get path() {
    return `tickets/${ticket}/${what}`;
  },
  body,
  before: async () => {
    const made = await api('POST', 'tickets?project=demo', { title: 'known', body: 'text' });
    ticket = ((await made.json()) as { id: string }).id;
  },
});

const ACTS: Readonly<Record<string, Act>> = {
  'POST /auth/can-i': { path: 'auth/can-i', body: { role: 'view', resource: 'servers' } },
  'POST /mcptokens': { path: 'mcptokens', body: tokenBody('made') },
  'PUT /mcptokens/:name': {
    path: 'mcptokens/applied',
    body: withApi({ kind: 'McpToken', metadata: { name: 'applied', project: 'demo' }, spec: {} }),
  },
  'POST /mcptokens/introspect': { path: 'mcptokens/introspect', body: { token: 'nobody' } },
  'DELETE /mcptokens/:name': { path: 'mcptokens/gone?project=demo', before: make('gone') },
  'POST /mcptokens/:name/revoke': { path: 'mcptokens/ended/revoke?project=demo', before: make('ended') },
  'POST /mcptokens/:name/rotate': { path: 'mcptokens/turned/rotate?project=demo', before: make('turned') },
  'POST /users/:name/rotate': { path: 'users/admin/rotate' },
  'POST /approvals/:id/approve': decision('approve'),
  'POST /approvals/:id/reject': decision('reject'),
  'POST /approvals/:id/decide': {
    ...decision('decide'),
    body: { decision: 'approve' },
    before: holdOfAnother,
    credential: () => decider,
  },
  'POST /approvals/:id/cancel': decision('cancel'),
  'POST /approvals/:id/resolve': { ...decision('resolve'), before: lose, body: { outcome: 'failed' } },
  'PUT /freezes/:scope': { path: 'freezes/open', body: { reason: 'an exercise' } },
  'DELETE /freezes/:scope': {
    path: 'freezes/open',
    before: () => api('PUT', 'freezes/open', { reason: 'an exercise' }),
  },
  'POST /projects/:name/tools/:tool/accept': {
    path: 'projects/pinned/tools/changing__echo/accept',
    body: {
      fingerprint: definitionFingerprint({ name: 'echo', inputSchema: { type: 'object' }, ...CHANGED }),
    },
    before: changeTool,
  },
  'POST /policies/test': { path: 'policies/test', body: { project: 'demo', tool: 'everything__echo' } },
  'POST /tickets': { path: 'tickets?project=demo', body: { title: 'made', body: 'text' } },
  'POST /tickets/:id/followups': ofTicket('followups', { title: 'then', body: 'text' }),
  'POST /tickets/:id/acts': ofTicket('acts', { act: 'note', text: 'text' }),
  'POST /secrets/rotate-key': { path: 'secrets/rotate-key', body: {} },
  'POST /servers/:name/connect': { path: 'servers/everything/connect' },
  'POST /servers/:name/login': {
    path: 'servers/sold/login',
    body: { flow: 'paste' },
    before: sellTokens,
  },
  'POST /servers/:name/login/complete': {
    path: 'servers/sold/login/complete',
    body: cameBack,
    before: beginLogin,
  },
  'DELETE /servers/:name/login': { path: 'servers/sold/login' },
  'POST /reload': { path: 'reload' },
  'POST /oauthclients/:name/rotate': {
    path: 'oauthclients/bot/rotate',
    before: () =>
      api('PUT', 'oauthclients/bot', { kind: 'OAuthClient', metadata: { name: 'bot' }, spec: {} }),
  },
  'DELETE /grants/:id': { path: `grants/${GRANT}`, before: () => allowGrant(castellan) },
  'PUT /:kind/:name': { path: 'servers/put', body: withApi(server('put')) },
  'DELETE /:kind/:name': {
    path: 'servers/away',
    before: () => api('PUT', 'servers/away', withApi(server('away'))),
  },
};

test('whoever connects to a server is named as who started its process', async () => {
  const trace = newTrace();
  assert.equal((await api('POST', 'servers/spare/connect', {}, trace)).status, 200);
  const rows = await rowsOf(trace, 2);
  assert.deepEqual(
    rows.map(({ event, user }) => [event, user]),
    [
      ['process.started', 'admin'],
      ['server.connected', 'admin'],
    ],
  );
});

test('every mutating route has its rows, as the golden table says', async () => {
  const routes = apiRoutes({ store: {}, audit: {} } as never);
  const mutating = routes
    .filter(({ method }) => method !== 'GET')
    .map(({ method, path: at }) => `${method} ${at}`);
  assert.deepEqual(
    mutating.filter((route) => !ACTS[route]),
    [],
    'a mutating route without an act here',
  );
  const table: string[] = [];
  for (const route of mutating) {
    const wanted = ACTS[route]!;
    await wanted.before?.();
    const { path: at, body } = wanted;
    const trace = newTrace();
    const to = typeof at === 'string' ? at : at();
    const answer = await api(route.split(' ')[0]!, to, body, trace, wanted.credential?.());
    assert.ok(answer.ok, `${route}: ${answer.status} ${await answer.text()}`);
    // Whatever was recorded before this row is written before it.
    const mark = newTrace();
    await call('demo', token, 'everything__no-such', {}, mark);
    await rowsOf(mark, 1);
    const found = await api('GET', `audit?trace=${trace}&order=oldest`);
    const { items } = (await found.json()) as { items: RecordedEvent[] };
    assert.ok(items.every(({ user, address }) => user === 'admin' && address === '127.0.0.1'));
    const events = items.map(({ event, target }) => (target ? `${event}(${target.split('/')[0]})` : event));
    table.push(`${route}: ${events.sort().join(' ') || '-'}`);
  }
  const golden = new URL('../golden/route-audit.txt', import.meta.url);
  if (process.env.UPDATE_GOLDEN === '1') await writeFile(golden, `${table.join('\n')}\n`);
  assert.equal(`${table.join('\n')}\n`, await readFile(golden, 'utf8'));
});
