import assert from 'node:assert/strict';
import { once } from 'node:events';
import { readFile, writeFile } from 'node:fs/promises';
import { type IncomingMessage, request } from 'node:http';
import path from 'node:path';
import { text } from 'node:stream/consumers';
import { after, before, describe, it } from 'node:test';
import { mintCredential } from '../../src/base/ids.ts';
import { ROLES } from '../../src/resources/bindings.ts';
import { KINDS } from '../../src/resources/kinds.ts';
import { apiOperations, knownObject, nameOf, type Operation } from '../support/api-operations.ts';
import { temporaryFolder } from '../support/databases.ts';
import { allowGrant, GRANT } from '../support/known-grant.ts';
import { matchesGolden, type Row } from '../support/golden.ts';
import { startCastellan, type TestCastellan } from '../support/running-castellan.ts';

const CONFIG = `
kind: Server
metadata: { name: web }
spec: { url: "http://127.0.0.1:1/mcp" }
---
kind: Project
metadata: { name: demo }
spec: { servers: [web] }
---
kind: Project
metadata: { name: other }
spec: { servers: [] }
`;

/** What a credential that may do little still gets, and why. Everything else is 401, 403 or 404. */
const REVIEWED: Readonly<Record<string, string>> = {
  'GET /version': 'every caller of the API may know it',
  'GET /whoami': 'about the caller itself',
  'POST /auth/can-i': 'about the caller itself',
  'GET /mcptokens/introspect': 'about the bearer itself',
  'POST /mcptokens/introspect': 'answers {"active": false} to whoever may not ask (RFC 7662)',
  'GET /approvals': 'holds the approvals that the caller asked for, may see or may decide on',
  'GET /projects/:name/tools': 'holds the tools that the caller may run in its own project',
};
const DENIED = ['401', '403', '404'];

let castellan: TestCastellan;
let admin = '';
let event = '';
let ticket = '';
let serial = 0;

async function send(
  operation: Operation,
  credential: string | undefined,
  as?: string,
): Promise<{ status: string; body: string }> {
  serial += 1;
  const unique = (template: string) => template.replaceAll('UNIQUE', `t${serial}`);
  const to = operation.path.replace('TOKEN', 'agent').replace('EVENT', event).replace('TICKET', ticket).replace('GRANT', GRANT);
  const headers: Record<string, string> = {};
  if (credential !== undefined) headers.authorization = `Bearer ${credential}`;
  if (as !== undefined) headers['castellan-as'] = as;
  const body =
    operation.form ?? (operation.body === undefined ? undefined : unique(JSON.stringify(operation.body)));
  if (body !== undefined)
    headers['content-type'] = operation.form ? 'application/x-www-form-urlencoded' : 'application/json';
  const url = `${castellan.url}/api/v1${unique(to)}`;
  // An address each, so that none of them looks like one that guesses credentials.
  const localAddress = `127.0.${1 + (serial >> 7)}.${1 + (serial % 128)}`;
  const sent = request(url, { method: operation.method, headers, localAddress });
  sent.end(body);
  const [answer] = (await once(sent, 'response')) as [IncomingMessage];
  return { status: String(answer.statusCode), body: await text(answer) };
}

async function administrate(method: string, to: string, body?: unknown): Promise<Record<string, unknown>> {
  const operation = { title: to, method, path: to, ...(body === undefined ? {} : { body }) };
  const { status, body: said } = await send(operation, admin);
  assert.ok(Number(status) < 300, `${method} ${to}: ${status} ${said}`);
  return JSON.parse(said) as Record<string, unknown>;
}

async function token(name: string, project: string, more: object = {}): Promise<string> {
  return String((await administrate('POST', '/mcptokens', { name, project, ...more })).token);
}

before(async () => {
  const config = path.join(await temporaryFolder(), 'castellan.yaml');
  await writeFile(config, CONFIG);
  castellan = await startCastellan(['--config', config]);
  admin = JSON.parse(await readFile(path.join(castellan.dataDir, 'admin.json'), 'utf8')).credential;
  for (const { kind, plural } of KINDS) {
    if (kind === 'McpToken') continue;
    await administrate('PUT', `/${plural}/${encodeURIComponent(nameOf(kind))}`, knownObject(kind));
  }
  await token('agent', 'demo');
  await allowGrant(castellan);
  const wish = { title: 'known', body: 'text' };
  ticket = String((await administrate('POST', '/tickets?project=demo', wish)).id);
  const { items } = await administrate('GET', '/auditevents?limit=1');
  event = String((items as { metadata?: { uid?: string }; id?: string }[])[0]?.id);
});
after(() => castellan[Symbol.asyncDispose]());

describe('every route of the API', () => {
  it('is closed to whoever has no business there', async () => {
    const revoked = await token('revoked', 'demo');
    await administrate('POST', '/mcptokens/revoked/revoke?project=demo');
    const expiring = await token('expiring', 'demo', { ttl: '1s' });
    const stranger = { kind: 'User', metadata: { name: 'stranger@example.com' }, spec: {} };
    await administrate('PUT', '/users/stranger@example.com', stranger);
    const binds = [{ role: 'run', resource: 'tools' }];
    const columns: [string, string | undefined, string?][] = [
      ['none', undefined],
      ['broken', 'cst_pat_broken'],
      ['unknown', mintCredential('pat')],
      ['expired', expiring],
      ['revoked', revoked],
      ['other-project', await token('foreign', 'other', { binds })],
      ['run-only', await token('runner', 'demo', { binds })],
      ['no-rights', admin, 'User:stranger@example.com'],
    ];
    const until = Date.now() + 10_000;
    const version = { title: '', method: 'GET', path: '/version' };
    while ((await send(version, expiring)).status !== '401') assert.ok(Date.now() < until, 'it expires');
    const rows: Row[] = [];
    for (const operation of apiOperations()) {
      const cells: string[] = [];
      for (const [name, credential, as] of columns) {
        const { status } = await send(operation, credential, as);
        cells.push(status);
        const known = ['none', 'broken', 'unknown', 'expired', 'revoked'].includes(name) ? '401' : undefined;
        if (known) assert.equal(status, known, `${operation.title} ${name}`);
        else if (!REVIEWED[operation.title])
          assert.ok(DENIED.includes(status), `${operation.title} ${name}: ${status}`);
      }
      rows.push({ title: operation.title, cells });
    }
    await matchesGolden('route-credentials.txt', { title: '', cells: columns.map(([name]) => name) }, rows);
  });

  it('opens to the roles that it asks for', async () => {
    const roles = ['none', ...ROLES];
    for (const role of ROLES) {
      const name = `${role}@example.com`;
      await administrate('PUT', `/users/${name}`, { kind: 'User', metadata: { name }, spec: {} });
      const spec = { subjects: [{ kind: 'User', name }], roleBindings: [{ role, resource: '*' }] };
      await administrate('PUT', `/rbac/${role}`, { kind: 'Rbac', metadata: { name: role }, spec });
    }
    const none = { kind: 'User', metadata: { name: 'none@example.com' }, spec: {} };
    await administrate('PUT', '/users/none@example.com', none);
    const rows: Row[] = [];
    for (const operation of apiOperations()) {
      const cells: string[] = [];
      for (const role of roles) {
        const { status, body } = await send(operation, admin, `User:${role}@example.com`);
        assert.ok(!['400', '401', '500'].includes(status), `${operation.title} ${role}: ${status} ${body}`);
        cells.push(DENIED.includes(status) ? '-' : 'yes');
      }
      rows.push({ title: operation.title, cells });
    }
    await matchesGolden('role-operations.txt', { title: '', cells: roles }, rows);
  });

  it('answers about what one may not see as about what is not there', async () => {
    await administrate('PUT', '/users/blind@example.com', {
      kind: 'User',
      metadata: { name: 'blind@example.com' },
      spec: {},
    });
    await administrate('PUT', '/rbac/blind', {
      kind: 'Rbac',
      metadata: { name: 'blind' },
      spec: {
        subjects: [{ kind: 'User', name: 'blind@example.com' }],
        roleBindings: [
          { role: 'edit', resource: '*', name: 'my-*' },
          { role: 'delete', resource: '*', name: 'my-*' },
        ],
      },
    });
    for (const operation of apiOperations()) {
      if (!operation.path.includes('known')) continue;
      const there = await send(operation, admin, 'User:blind@example.com');
      const random = JSON.parse(JSON.stringify(operation).replaceAll('known', 'qzvxw')) as Operation;
      const missing = await send(random, admin, 'User:blind@example.com');
      assert.deepEqual(
        {
          status: there.status,
          body: there.body.replaceAll('known', 'qzvxw').replace('role:edit', 'role:create'),
        },
        missing,
        operation.title,
      );
    }
  });
});
