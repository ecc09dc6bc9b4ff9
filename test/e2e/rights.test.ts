import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import path from 'node:path';
import { after, before, describe, it } from 'node:test';
import { Agent, administrate, Events, type Loose, type Message, writeConfig } from '../support/agent.ts';
import { temporaryFolder } from '../support/databases.ts';
import { MenuUpstream } from '../support/menu-upstream.ts';
import { eventually } from '../support/processes.ts';
import { startCastellan, type TestCastellan } from '../support/running-castellan.ts';

const WITHIN_MS = 5_000;
const MODERN = {
  'io.modelcontextprotocol/protocolVersion': '2026-07-28',
  'io.modelcontextprotocol/clientCapabilities': {},
};

const menuOf = (...names: string[]) => ({
  capabilities: { tools: {}, prompts: {}, resources: { subscribe: true } },
  answers: {
    'tools/list': () => ({ tools: names.map((name) => ({ name, inputSchema: { type: 'object' } })) }),
    'prompts/list': () => ({ prompts: [{ name: 'ask' }] }),
    'resources/list': () => ({ resources: [{ uri: `menu://${names[0]}`, name: 'one' }] }),
    'resources/templates/list': () => ({ resourceTemplates: [] }),
    'resources/subscribe': () => ({}),
    'prompts/get': () => ({ messages: [] }),
    'resources/read': ({ uri }: Loose) =>
      uri === `menu://${names[0]}`
        ? { contents: [{ uri, text: 'content' }] }
        : { code: -32602, message: 'no such resource' },
    'tools/call': ({ name }: Loose) => ({ content: [{ type: 'text', text: name }] }),
  },
});

let alpha: MenuUpstream;
let beta: MenuUpstream;
let castellan: TestCastellan;

before(async () => {
  alpha = await MenuUpstream.start('modern', menuOf('get_one', 'set_one'));
  beta = await MenuUpstream.start('legacy', menuOf('get_two', 'set_two'));
  const config = await writeConfig(
    path.join(await temporaryFolder(), 'castellan.json'),
    { alpha: { url: alpha.url }, beta: { url: beta.url } },
    { demo: { servers: ['alpha', 'beta'] } },
  );
  castellan = await startCastellan(['--config', config]);
});
after(async () => {
  await castellan[Symbol.asyncDispose]();
  await alpha[Symbol.asyncDispose]();
  await beta[Symbol.asyncDispose]();
});

const put = (kind: string, name: string, spec: object) =>
  administrate(castellan, 'PUT', `/${kind === 'Rbac' ? 'rbac' : 'users'}/${name}`, {
    kind,
    metadata: { name },
    spec,
  });
const bound = (...names: string[]) => names.map((name) => ({ role: 'run', resource: 'tools', name }));

async function agentWith(name: string, wish: object): Promise<Agent & { id: string }> {
  const made = await administrate(castellan, 'POST', '/mcptokens', { name, project: 'demo', ...wish });
  return Object.assign(new Agent(`${castellan.url}/projects/demo/mcp`, made.token), {
    id: made.object.metadata.uid,
  });
}

const listed = (result: Message['result'], key: string) => (result?.[key] ?? []) as Loose[];
const namesOf = ({ result }: Message) =>
  listed(result, 'tools')
    .map(({ name }) => name as string)
    .sort();
const unknown = ({ error }: Message, name: string) =>
  assert.deepEqual(
    [error?.code, error?.data?.code],
    [-32602, 'UNKNOWN_TOOL'],
    `${name}: ${JSON.stringify(error)}`,
  );

describe('an agent', () => {
  it('lists exactly what it may call, and hears the same of the rest as of what does not exist', async () => {
    const all = ['alpha__get_one', 'alpha__set_one', 'beta__get_two', 'beta__set_two'];
    const cases: [string, string[]][] = [
      ['*', all],
      ['*__get_*', ['alpha__get_one', 'beta__get_two']],
      ['beta__*', ['beta__get_two', 'beta__set_two']],
      ['alpha__set_one', ['alpha__set_one']],
      ['gamma__*', []],
    ];
    for (const [index, [glob, expected]] of cases.entries()) {
      const agent = await agentWith(`glob-${index}`, { binds: bound(glob) });
      assert.deepEqual(namesOf(await agent.ask('tools/list')), expected, glob);
      const before = alpha.of('tools/call').length + beta.of('tools/call').length;
      for (const name of all) {
        const answer = await agent.call(name);
        if (expected.includes(name)) assert.equal(answer.error, undefined, `${glob} ${name}`);
        else {
          unknown(answer, name);
          const missing = await agent.call('alpha__no_such');
          const sentence = (text?: string) => text?.replace(/alpha__no_such|(alpha|beta)__\w+/g, 'X');
          assert.equal(sentence(answer.error?.message), sentence(missing.error?.message));
        }
      }
      const reached = alpha.of('tools/call').length + beta.of('tools/call').length - before;
      assert.equal(reached, expected.length, 'servers see the allowed calls alone');
    }
  });

  it('reads prompts and resources of a server only with the right to all of it', async () => {
    const agent = await agentWith('prompts', { binds: bound('beta__*', 'alpha__get_*') });
    const prompts = await agent.ask('prompts/list');
    assert.deepEqual(
      listed(prompts.result, 'prompts').map(({ name }) => name),
      ['beta__ask'],
    );
    const resources = await agent.ask('resources/list');
    assert.deepEqual(
      listed(resources.result, 'resources').map(({ uri }) => uri),
      ['menu://get_two'],
    );
    assert.ok((await agent.ask('prompts/get', { name: 'beta__ask' })).result);
    assert.ok((await agent.ask('resources/read', { uri: 'menu://get_two' })).result);
    const asked = alpha.asked.length;
    assert.equal((await agent.ask('prompts/get', { name: 'alpha__ask' })).error?.code, -32602);
    assert.equal((await agent.ask('resources/read', { uri: 'menu://get_one' })).error?.code, -32602);
    const ref = { type: 'ref/prompt', name: 'alpha__ask' };
    assert.equal(
      (await agent.ask('completion/complete', { ref, argument: { name: 'a', value: '' } })).error?.code,
      -32602,
    );
    assert.equal(alpha.asked.length, asked, 'the server hears nothing of it');
  });

  it('is refused prompts and resources of a server that policies close, and subscribes to none', async () => {
    const agent = await agentWith('closed-server', { binds: bound('*') });
    const session = await agent.openSession();
    const subscribe = () => agent.ask('resources/subscribe', { uri: 'menu://get_two' }, session);
    const deny = (more: object) =>
      administrate(castellan, 'PUT', '/policies/shut', {
        kind: 'Policy',
        metadata: { name: 'shut' },
        spec: { projects: ['demo'], rules: [{ tools: ['beta__*'], action: 'deny', ...more }] },
      });
    try {
      await deny({});
      const prompts = listed((await agent.ask('prompts/list')).result, 'prompts').map(({ name }) => name);
      assert.deepEqual(prompts, ['alpha__ask', 'beta__ask']);
      const asked = beta.asked.length;
      const read = await agent.ask('resources/read', { uri: 'menu://get_two' });
      assert.equal(read.error?.data?.code, 'POLICY_DENIED');
      await deny({ reason: 'ask first' });
      const get = await agent.ask('prompts/get', { name: 'beta__ask' });
      assert.deepEqual([get.error?.data?.code, get.error?.data?.reason], ['POLICY_DENIED', 'ask first']);
      assert.equal((await subscribe()).error?.code, -32602);
      assert.equal(beta.asked.length, asked, 'the server hears nothing of it');
    } finally {
      await administrate(castellan, 'DELETE', '/policies/shut');
    }
    assert.ok((await subscribe()).result);
  });

  it('is no way to start a process for whoever lacks spawn, nor is the API', async () => {
    const name = 'editor@example.com';
    await put('User', name, {});
    await put('Rbac', 'editor', {
      subjects: [{ kind: 'User', name }],
      roleBindings: [{ role: 'edit', resource: 'servers' }],
    });
    const spec = { command: process.execPath, args: ['-e', ''] };
    await administrate(castellan, 'PUT', '/servers/local', {
      kind: 'Server',
      metadata: { name: 'local' },
      spec,
    });
    const { credential } = JSON.parse(await readFile(path.join(castellan.dataDir, 'admin.json'), 'utf8'));
    const headers = { authorization: `Bearer ${credential}`, 'castellan-as': `User:${name}` };
    const connect = (server: string) =>
      fetch(`${castellan.url}/api/v1/servers/${server}/connect`, { method: 'POST', headers });
    const refused = await connect('local');
    assert.equal(refused.status, 403);
    assert.match(await refused.text(), /do not have action:spawn/);
    assert.deepEqual((await administrate(castellan, 'GET', '/audit?event=process.started')).items, []);
    assert.equal((await connect('alpha')).status, 200);
  });

  it('without rights is told why its list is empty', async () => {
    const agent = await agentWith('bare', {});
    const { result } = await agent.ask('tools/list');
    assert.deepEqual(result?.tools, []);
    assert.match(
      result?._meta['castellan/notice'],
      /may run no tool of project demo: grant it role:run,resource:tools/,
    );
  });

  it('loses with its owner what the owner loses, on its next call, and gets it back', async () => {
    await put('User', 'dev@example.com', {});
    const dev = (...roleBindings: object[]) =>
      put('Rbac', 'dev', { subjects: [{ kind: 'User', name: 'dev@example.com' }], roleBindings });
    const making = { role: 'create', resource: 'mcptokens' };
    await dev(making, ...bound('*'));
    const created = await castellan.cli(
      ...['create', 'mcptoken', 'devs', '-p', 'demo', '--rbac', 'clone', '--as', 'User:dev@example.com'],
    );
    const agent = new Agent(`${castellan.url}/projects/demo/mcp`, created.stdout.trim());
    assert.ok((await agent.call('alpha__set_one')).result);
    await dev(making, ...bound('*__get_*'));
    unknown(await agent.call('alpha__set_one'), 'the next call after a demotion');
    assert.deepEqual(namesOf(await agent.ask('tools/list')), ['alpha__get_one', 'beta__get_two']);
    await dev(making, ...bound('*'));
    assert.ok((await agent.call('alpha__set_one')).result);
    await put('User', 'dev@example.com', { disabled: true });
    assert.equal((await agent.send({ jsonrpc: '2.0', id: 1, method: 'tools/list' })).status, 401);
  });

  it('keeps no stream open that it lost the right to, and hears of what changed for it', async () => {
    const listen = async (agent: Agent) => {
      const { body, headers } = agent.modern('subscriptions/listen');
      const params = { notifications: { toolsListChanged: true }, _meta: MODERN };
      const events = new Events(await agent.send({ ...body, params }, { headers }));
      await eventually('it listens', () => events.messages.length > 0);
      return events;
    };
    const rbacOf = async ({ id }: { id: string }) => {
      const { status } = await administrate(castellan, 'GET', `/mcptokens/${id}`);
      return `mcptoken-${status.principal.slice('McpToken:'.length).slice(0, 24)}`;
    };
    const regrant = async (agent: { id: string }, ...names: string[]) => {
      const name = await rbacOf(agent);
      const { spec } = await administrate(castellan, 'GET', `/rbac/${name}`);
      await put('Rbac', name, { ...spec, roleBindings: bound(...names) });
    };
    const agent = await agentWith('listener', { binds: bound('*') });
    const other = await agentWith('other', { binds: bound('*') });
    const [events, others] = [await listen(agent), await listen(other)];
    await agent.ask('tools/list');
    const changes = () =>
      events.messages.filter(({ method }) => method === 'notifications/tools/list_changed').length;
    await regrant(agent, 'alpha__*');
    await eventually('it is told that its list changed', () => changes() > 0, WITHIN_MS);
    await regrant(agent);
    assert.equal(await Promise.race([events.ended, timeout()]), true, 'its stream is closed in good order');
    assert.equal(others.messages.filter(({ method }) => method?.includes('list_changed')).length, 0);
    await administrate(castellan, 'POST', `/mcptokens/${other.id}/revoke`);
    assert.equal(await Promise.race([others.ended, timeout()]), true);
  });

  it('acts as somebody else only for those who may, and with no right that they lack', async () => {
    await put('User', 'reader@example.com', {});
    await put('Rbac', 'reader', {
      subjects: [{ kind: 'User', name: 'reader@example.com' }],
      roleBindings: bound('alpha__get_*'),
    });
    const call = async (tool: string) =>
      castellan.cli('call', tool, '{}', '-p', 'demo', '--as', 'User:reader@example.com');
    assert.equal((await call('alpha__get_one')).code, 0);
    assert.notEqual((await call('alpha__set_one')).code, 0);
    const agent = await agentWith('impostor', { binds: bound('*') });
    const headers = { 'castellan-as': 'User:admin' };
    const body = { jsonrpc: '2.0', id: 1, method: 'tools/list' };
    assert.equal((await agent.send(body, { headers })).status, 403);
    const known = await agent.send(body, { headers: { 'x-user': 'admin', 'x-forwarded-user': 'admin' } });
    assert.equal(known.status, 200, 'other headers say nothing about who it is');
  });
});

async function timeout(): Promise<'still open'> {
  await new Promise((resolve) => setTimeout(resolve, WITHIN_MS).unref());
  return 'still open';
}
