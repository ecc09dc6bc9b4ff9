import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { after, before, test } from 'node:test';
import {
  type Agent,
  administrate,
  type Loose,
  type Message,
  newAgent,
  writeConfig,
} from '../support/agent.ts';
import { MenuUpstream } from '../support/menu-upstream.ts';
import { eventually } from '../support/processes.ts';
import { startCastellan, type TestCastellan } from '../support/running-castellan.ts';

const SKILLS = 'io.modelcontextprotocol/skills';
const NOTES = 'com.example/notes';
const ACCESS = {
  'io.modelcontextprotocol/oauth-client-credentials': {},
  'io.modelcontextprotocol/enterprise-managed-authorization': {},
};
const META = 'io.modelcontextprotocol/clientCapabilities';

const used = new AsyncDisposableStack();
let skilled: MenuUpstream;
let noting: MenuUpstream;
let castellan: TestCastellan;
/** Of a project with both servers, of one where two have the same extension, of one where two have different ones. */
let agent: Agent;
let twice: Agent;
let apart: Agent;

function start(extensions: object, era: 'legacy' | 'modern' = 'modern'): Promise<MenuUpstream> {
  return MenuUpstream.start(era, {
    capabilities: { tools: {}, extensions },
    answers: {
      'tools/list': () => ({ tools: [], ttlMs: 60_000 }),
      'skills/list': (params) => ({ skills: [], seen: params.cursor, ttlMs: 5_000, cacheScope: 'public' }),
      'resources/directory/read': ({ uri }) => ({ code: -32602, message: `${uri} is no directory` }),
      'notes/add': ({ text }) => ({ added: text }),
      'constructor/call': () => ({ reached: true }),
    },
  });
}

before(async () => {
  const folder = await mkdtemp(path.join(tmpdir(), 'castellan-extensions-'));
  used.defer(() => rm(folder, { recursive: true }));
  skilled = used.use(await start({ [SKILLS]: { directoryRead: true }, ...ACCESS }));
  noting = used.use(await start({ [NOTES]: { most: 7 }, 'com.example/odd': true }));
  const third = used.use(await start({ 'com.example/other': {} }));
  const old = used.use(await start({ 'com.example/old': {} }, 'legacy'));
  const file = await writeConfig(
    path.join(folder, 'config.json'),
    {
      skilled: { url: skilled.url },
      again: { url: skilled.url },
      noting: { url: noting.url },
      third: { url: third.url },
      old: { url: old.url },
    },
    {
      p: { servers: ['skilled', 'noting', 'old'] },
      twice: { servers: ['skilled', 'again'] },
      apart: { servers: ['noting', 'third'] },
    },
  );
  castellan = used.use(await startCastellan(['--config', file]));
  agent = await newAgent(castellan, 'p');
  twice = await newAgent(castellan, 'twice');
  apart = await newAgent(castellan, 'apart');
  for (const one of [agent, twice, apart]) await one.ask('tools/list');
});
after(() => used.disposeAsync());

async function ask(who: Agent, method: string, params: Record<string, unknown>, extensions: object = {}) {
  const { body, headers } = who.modern(method, params);
  Object.assign(body.params._meta, { [META]: { extensions } });
  const response = await who.send(body, { headers });
  return { status: response.status, ...((await response.json()) as Message) };
}

async function notFound(who: Agent, method: string, extensions: object = {}): Promise<void> {
  const { status, error } = await ask(who, method, {}, extensions);
  assert.deepEqual([status, error?.code], [404, -32601], method);
}

test('an extension is offered where one server of the surface has it, never one about access', async () => {
  const offered = async (who: Agent) =>
    (await ask(who, 'server/discover', {})).result?.capabilities.extensions;
  assert.deepEqual(await offered(agent), { [SKILLS]: { directoryRead: true }, [NOTES]: { most: 7 } });
  assert.equal(await offered(twice), undefined);
  const { result } = await agent.ask('initialize', { protocolVersion: '2025-11-25', capabilities: {} });
  assert.equal(result?.capabilities.extensions, undefined, 'the older era has none');
});

test('its methods reach that server as they are, and the answer comes back', async () => {
  const listed = await ask(agent, 'skills/list', { cursor: 'of the server' });
  assert.deepEqual([listed.status, listed.result?.skills, listed.result?.seen], [200, [], 'of the server']);
  assert.deepEqual([listed.result?.ttlMs, listed.result?.cacheScope], [5_000, 'private']);
  assert.equal(skilled.of('skills/list').at(-1)?.headers['mcp-method'], 'skills/list');
  const read = await ask(agent, 'resources/directory/read', { uri: 'skill://x' });
  assert.deepEqual([read.status, read.error?.code], [200, -32602]);
  const added = await ask(agent, 'notes/add', { text: 'milk' }, { [NOTES]: {} });
  assert.equal(added.result?.added, 'milk');
});

test('the extensions of a client reach servers, those about access do not', async () => {
  const declared = { [NOTES]: { colour: 'red' }, [SKILLS]: {} };
  await ask(agent, 'notes/add', { text: 'x' }, { ...declared, ...ACCESS });
  const sent = noting.of('notes/add').at(-1)?.params._meta[META] as Loose;
  assert.deepEqual(sent.extensions, declared);
});

test('a method that nobody, or more than one server, could be meant by does not exist', async () => {
  await notFound(agent, 'skills/unheard-of');
  await notFound(agent, 'notes/add');
  await notFound(agent, 'notes/unknown', { [NOTES]: {} });
  await notFound(twice, 'skills/list', { [SKILLS]: {} });
  await notFound(apart, 'notes/add', { [NOTES]: {}, 'com.example/other': {} });
  assert.equal((await ask(apart, 'notes/add', { text: 'y' }, { [NOTES]: {} })).result?.added, 'y');
});

test('no extension takes a method of the protocol, whatever its client declares', async () => {
  const asked = noting.asked.length;
  for (const method of [
    'tools/run',
    'resources/write',
    'tasks/list',
    'sampling/createMessage',
    'initialize',
    'ping',
  ])
    await notFound(agent, method, { [NOTES]: {} });
  for (const method of [
    'constructor',
    '__proto__',
    'toString',
    'notes',
    `notes/${'x'.repeat(200)}`,
    'notes/a b',
  ])
    await notFound(agent, method, { [NOTES]: {} });
  assert.equal(noting.asked.length, asked);
  const reached = await ask(agent, 'constructor/call', {}, { [NOTES]: {} });
  assert.equal(reached.result?.reached, true);
});

test('its headers are compared as those of all, and a legacy client has no such method', async () => {
  const { body, headers } = agent.modern('skills/list');
  Object.assign(headers, { 'mcp-method': 'skills/get' });
  const response = await agent.send(body, { headers });
  assert.deepEqual([response.status, ((await response.json()) as Message).error?.code], [400, -32020]);
  assert.equal((await agent.ask('skills/list')).error?.code, -32601);
});

test('its methods are stopped by a freeze and by policies, and each is in the audit', async () => {
  const add = () => ask(agent, 'notes/add', { text: 'stop' }, { [NOTES]: {} });
  const told = async (event: string): Promise<Loose[]> =>
    (await administrate(castellan, 'GET', `/audit?order=oldest&project=p&event=${event}`)).items;
  const announced = (await told('tool.intent')).length;
  const since = (await told('extension.call')).length;
  const reached = noting.of('notes/add').length;

  await administrate(castellan, 'PUT', '/freezes/p', { reason: 'strange' });
  const frozen = await add();
  await administrate(castellan, 'DELETE', '/freezes/p');
  assert.deepEqual([frozen.error?.data.code, frozen.error?.data.reason], ['FROZEN', 'strange']);
  const policy = (tool: string) =>
    administrate(castellan, 'PUT', '/policies/notes', {
      kind: 'Policy',
      metadata: { name: 'notes' },
      spec: { projects: ['p'], rules: [{ tools: [tool], action: 'deny', reason: 'not today' }] },
    });
  await policy('noting__*');
  const denied = await add();
  assert.deepEqual([denied.error?.data.code, denied.error?.data.reason], ['POLICY_DENIED', 'not today']);
  assert.equal((await told('tool.intent')).length, announced, 'what is stopped is not announced');
  assert.equal(noting.of('notes/add').length, reached);
  await policy('skilled__*');
  assert.equal((await add()).result?.added, 'stop');
  await administrate(castellan, 'DELETE', '/policies/notes');
  assert.ok((await ask(agent, 'skills/list', {})).result);

  const rows = async () => (await told('extension.call')).slice(since);
  await eventually('the audit tells of all', async () => (await rows()).length === 4);
  const intents = (await told('tool.intent')).slice(announced);
  assert.equal(intents.length, 1, 'what only reads is not announced');
  assert.deepEqual(
    (await rows()).map(({ outcome, server, intent, detail }) => [
      outcome,
      server,
      intent,
      detail.method,
      detail.code,
      detail.policy,
    ]),
    [
      ['refused', undefined, undefined, 'notes/add', 'FROZEN', undefined],
      ['refused', 'noting', undefined, 'notes/add', 'POLICY_DENIED', 'notes'],
      ['ok', 'noting', intents[0].id, 'notes/add', undefined, undefined],
      ['ok', 'skilled', undefined, 'skills/list', undefined, undefined],
    ],
  );
});
