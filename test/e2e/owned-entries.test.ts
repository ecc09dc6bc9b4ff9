import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { after, before, test } from 'node:test';
import { type Agent, type Loose, newAgent, writeConfig } from '../support/agent.ts';
import { MenuUpstream } from '../support/menu-upstream.ts';
import { eventually } from '../support/processes.ts';
import { startCastellan, type TestCastellan } from '../support/running-castellan.ts';

const used = new AsyncDisposableStack();
const release = Promise.withResolvers<void>();
let castellan: TestCastellan;
let first: MenuUpstream;
let second: MenuUpstream;
let plain: MenuUpstream;
let agent: Agent;

/** A server that says who it is in every answer, and knows the URIs that begin with its name. */
function start(name: string, completes: boolean, ready?: Promise<void>): Promise<MenuUpstream> {
  const knows = ({ uri }: { uri: string }) => uri.startsWith(name) || uri.startsWith('both:');
  const unknown = (uri: string) => ({ code: -32602, message: `${name} does not know it`, data: { uri } });
  return MenuUpstream.start('modern', {
    capabilities: { tools: {}, prompts: {}, resources: {}, ...(completes && { completions: {} }) },
    answers: {
      'tools/list': async () => {
        await ready;
        return { tools: [{ name: 'same', inputSchema: { type: 'object' } }] };
      },
      'prompts/list': () => ({ prompts: [{ name: 'same' }, { name: `of_${name}` }] }),
      'resources/list': () => ({
        resources: ['both:listed', `${name}:listed`].map((uri) => ({ uri, name: uri })),
      }),
      'resources/templates/list': () => ({
        resourceTemplates: ['both:item/{id}', `${name}:item/{id}`, `${name}:broken/{`].map((uriTemplate) => ({
          uriTemplate,
          name: uriTemplate,
        })),
      }),
      'tools/call': () => ({ content: [{ type: 'text', text: name }] }),
      'prompts/get': (params) => ({ messages: [], description: `${name} ${params.name}` }),
      'resources/read': (params) =>
        knows(params) ? { contents: [{ uri: params.uri, text: name }] } : unknown(params.uri),
      'completion/complete': ({ ref }) =>
        ref.name !== undefined || knows(ref)
          ? { completion: { values: [`${name} ${ref.name ?? ref.uri}`] } }
          : unknown(ref.uri),
    },
  });
}

before(async () => {
  const folder = await mkdtemp(path.join(tmpdir(), 'castellan-owners-'));
  used.defer(() => rm(folder, { recursive: true }));
  first = used.use(await start('first', true, release.promise));
  second = used.use(await start('second', true));
  plain = used.use(await start('plain', false));
  const file = await writeConfig(
    path.join(folder, 'config.json'),
    Object.fromEntries(
      Object.entries({ first, second, plain }).map(([name, { url }]) => [name, { url, prefix: 'never' }]),
    ),
    { p: { servers: ['first', 'second', 'plain'] }, later: { servers: ['second'] } },
  );
  castellan = used.use(await startCastellan(['--config', file]));
  agent = await newAgent(castellan, 'p');
});
after(() => used.disposeAsync());

const textOf = ({ result }: Loose) => result?.content?.[0].text ?? result?.contents?.[0].text;

test('a plain name belongs to the first server of the project, also while a later one is the first to answer', async () => {
  const later = await newAgent(castellan, 'later');
  assert.equal(textOf(await later.call('same')), 'second');
  const calls = [agent.call('same'), agent.call('same')];
  await eventually('the first one is asked too', () => first.of('tools/list').length > 0);
  release.resolve();
  for (const call of calls) assert.equal(textOf(await call), 'first');
  assert.deepEqual([second.of('tools/call').length, plain.of('tools/call').length], [1, 0]);
});

test('what two servers have is listed once, from the first; the list names what is left out', async () => {
  const seen = async (method: string, key: string) =>
    (await agent.ask(method)).result?.[key].map((one: Loose) => one.uri ?? one.uriTemplate ?? one.name);
  assert.deepEqual(await seen('tools/list', 'tools'), ['same']);
  assert.deepEqual(await seen('prompts/list', 'prompts'), ['same', 'of_first', 'of_second', 'of_plain']);
  assert.deepEqual(await seen('resources/list', 'resources'), [
    'both:listed',
    'first:listed',
    'second:listed',
    'plain:listed',
  ]);
  const templates = await seen('resources/templates/list', 'resourceTemplates');
  assert.equal(templates.filter((one: string) => one === 'both:item/{id}').length, 1);
  const { result } = await agent.ask('tools/list');
  const named = result?._meta['castellan/degraded'].map((one: Loose) => `${one.server} ${one.reason}`);
  for (const what of ['tool same', 'prompt same', 'resource both:listed', 'template both:item/{id}'])
    assert.ok(
      named.some((one: string) => one.startsWith(`second ${what} is left out`)),
      what,
    );
  assert.ok(!named.some((one: string) => one.startsWith('first')));
});

test('prompts and resources are asked of their owner', async () => {
  const prompt = async (name: string) => (await agent.ask('prompts/get', { name })).result?.description;
  assert.equal(await prompt('same'), 'first same');
  assert.equal(await prompt('of_second'), 'second of_second');
  const read = async (uri: string) => textOf(await agent.ask('resources/read', { uri }));
  assert.equal(await read('both:listed'), 'first');
  assert.equal(await read('second:listed'), 'second');
  assert.equal(await read('both:item/7'), 'first');
  assert.equal(await read('plain:item/7'), 'plain');
  assert.equal(await read('second:unlisted'), 'second', 'nobody lists it: each is asked in turn');
  const none = await agent.sendModern('resources/read', { uri: 'nobody:x' });
  assert.equal(((await none.json()) as Loose).error.code, -32602);
});

test('completions are asked of the owner of the prompt, the template or the resource', async () => {
  const complete = async (ref: object) => {
    const { result, error } = await agent.ask('completion/complete', {
      ref,
      argument: { name: 'a', value: '' },
    });
    return error?.code ?? result?.completion.values;
  };
  const prompt = (name: string) => complete({ type: 'ref/prompt', name });
  const resource = (uri: string) => complete({ type: 'ref/resource', uri });
  assert.deepEqual(await prompt('same'), ['first same']);
  assert.deepEqual(await prompt('of_second'), ['second of_second']);
  assert.deepEqual(await prompt('of_plain'), [], 'a server without completions has nothing to suggest');
  assert.equal(await prompt('absent'), -32602);
  assert.deepEqual(await resource('both:item/{id}'), ['first both:item/{id}']);
  assert.deepEqual(await resource('second:item/{id}'), ['second second:item/{id}']);
  assert.deepEqual(await resource('second:broken/{'), ['second second:broken/{'], 'by its text alone');
  assert.deepEqual(await resource('plain:item/{id}'), []);
  assert.deepEqual(await resource('second:listed'), ['second second:listed']);
  assert.deepEqual(await resource('second:item/7'), ['second second:item/7']);
  assert.deepEqual(await resource('second:unlisted'), ['second second:unlisted']);
  assert.equal(await resource('nobody:x'), -32602);
  assert.equal(plain.of('completion/complete').length, 0);
});
