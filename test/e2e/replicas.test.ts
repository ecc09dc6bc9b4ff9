import assert from 'node:assert/strict';
import path from 'node:path';
import { after, before, describe, it } from 'node:test';
import { Agent, administrate, Events, type Loose, writeConfig } from '../support/agent.ts';
import {
  postgresDatabase,
  postgresMissing,
  TEST_MASTER_KEY,
  type TestDatabase,
  temporaryFolder,
} from '../support/databases.ts';
import { MenuUpstream } from '../support/menu-upstream.ts';
import { eventually } from '../support/processes.ts';
import { startCastellan, type TestCastellan } from '../support/running-castellan.ts';

const WITHIN_MS = 5_000;
const missing = await postgresMissing();
if (missing !== undefined && process.env.CI === 'true') throw new Error(`PostgreSQL is required: ${missing}`);

describe('two processes on one database', { skip: missing && `no PostgreSQL: ${missing}` }, () => {
  let database: TestDatabase;
  let server: MenuUpstream;
  let here: TestCastellan;
  let there: TestCastellan;

  before(async () => {
    database = await postgresDatabase();
    server = await MenuUpstream.start('modern', {
      capabilities: { tools: {} },
      answers: {
        'tools/list': () => ({
          tools: ['use', 'write'].map((name) => ({ name, inputSchema: { type: 'object' } })),
        }),
        'tools/call': ({ name }) => ({
          content: name === 'write' ? [{ type: 'text', text: 'x'.repeat(5_000) }] : [],
        }),
      },
    });
    const config = await writeConfig(
      path.join(await temporaryFolder(), 'castellan.json'),
      { x: { url: server.url } },
      { demo: { servers: ['x'], results: { maxBytes: '1KiB' } } },
    );
    const env = { CASTELLAN_DATABASE_URL: database.databaseUrl!, CASTELLAN_MASTER_KEY: TEST_MASTER_KEY };
    here = await startCastellan(['--config', config], { env });
    there = await startCastellan(['--config', config], { env });
  });
  after(async () => {
    for (const one of [here, there, server]) await one?.[Symbol.asyncDispose]();
    await database?.dispose();
  });

  /** A token that was made there, with a stream of either era open on it here. */
  async function listener(name: string, as: string) {
    const binds = ['--bind', 'role:run,resource:tools'];
    const made = await there.cli('create', 'mcptoken', name, '-p', 'demo', ...binds, '--as', `User:${as}`);
    assert.equal(made.code, 0, made.stderr);
    const agent = new Agent(`${here.url}/projects/demo/mcp`, made.stdout.trim());
    const session = await agent.openSession();
    const { body, headers } = agent.modern('subscriptions/listen', {
      notifications: { toolsListChanged: true },
    });
    const accept = 'text/event-stream';
    const responses = [
      await agent.send(body, { headers }),
      await agent.send(undefined, { method: 'GET', headers: { ...session, accept } }),
    ];
    assert.deepEqual(
      responses.map(({ status }) => status),
      [200, 200],
    );
    const streams = responses.map((response) => new Events(response));
    return { agent, over: Promise.all(streams.map(({ ended }) => ended)) };
  }

  it('read parts of a long result where the call was made, and say so elsewhere', async () => {
    const binds = ['--bind', 'role:run,resource:tools'];
    const made = await here.cli('create', 'mcptoken', 'reader', '-p', 'demo', ...binds);
    const at = ({ url }: TestCastellan) => new Agent(`${url}/projects/demo/mcp`, made.stdout.trim());
    const { result } = await at(here).call('x__write');
    const { id, sections } = result!._meta['castellan/result'];
    assert.equal(sections, 5);
    const part = await at(here).call('read_result', { id, section: 5 });
    assert.equal(part.result?.content[0].text, 'x'.repeat(5_000 - 4 * 1_024));
    const gone = await at(there).call('read_result', { id, section: 5 });
    assert.equal(gone.result?._meta['castellan/error'].code, 'NOT_FOUND');
    assert.match(gone.result?.content[0].text, /by the process that made the call.*Call the tool again/);
  });

  async function user(name: string): Promise<string> {
    const email = `${name}@example.com`;
    await administrate(there, 'PUT', `/users/${email}`, {
      kind: 'User',
      metadata: { name: email },
      spec: {},
    });
    await administrate(there, 'PUT', `/rbac/${name}`, rbac(name, ['create mcptokens', 'run tools']));
    return email;
  }

  const rbac = (name: string, rights: string[]) => ({
    kind: 'Rbac',
    metadata: { name },
    spec: {
      subjects: [{ kind: 'User', name: `${name}@example.com` }],
      roleBindings: rights.map((right) => ({ role: right.split(' ')[0], resource: right.split(' ')[1] })),
    },
  });

  const endings: [string, (name: string, email: string) => Promise<Loose>, number][] = [
    [
      'a token that is revoked',
      (name) => administrate(there, 'POST', `/mcptokens/${name}/revoke?project=demo`),
      401,
    ],
    [
      'a token that is deleted',
      (name) => administrate(there, 'DELETE', `/mcptokens/${name}?project=demo`),
      401,
    ],
    [
      'a user who is disabled',
      (_, email) =>
        administrate(there, 'PUT', `/users/${email}`, {
          kind: 'User',
          metadata: { name: email },
          spec: { disabled: true },
        }),
      401,
    ],
    [
      'a user who has lost every right',
      (name) => administrate(there, 'PUT', `/rbac/${name}`, rbac(name, [])),
      200,
    ],
  ];
  for (const [index, [who, end, status]] of endings.entries()) {
    it(`close the streams of ${who} in the other one, and refuse its next call there`, async () => {
      const name = `one-${index}`;
      const email = await user(name);
      const { agent, over } = await listener(name, email);
      assert.ok((await agent.call('x__use')).result);
      const began = Date.now();
      await end(name, email);
      await over;
      const call = () =>
        agent.send({ jsonrpc: '2.0', id: 1, method: 'tools/call', params: { name: 'x__use' } });
      await eventually('its call is refused', async () => {
        const response = await call();
        const { error } = (await response.json()) as Loose;
        return response.status === status && error !== undefined;
      });
      assert.ok(Date.now() - began < WITHIN_MS, `after ${Date.now() - began} ms`);
    });
  }
});
