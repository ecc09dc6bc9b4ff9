import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { after, before, test } from 'node:test';
import { type Agent, type Loose, type Message, newAgent, writeConfig } from '../support/agent.ts';
import { type Menu, MenuUpstream } from '../support/menu-upstream.ts';
import { startCastellan } from '../support/running-castellan.ts';

const used = new AsyncDisposableStack();
let modern: MenuUpstream;
let legacy: MenuUpstream;
let both: Agent;
let old: Agent;

/** What the modern server says of each resource. */
const HINTS: Record<string, object> = {
  'new://minute': { ttlMs: 61_234, cacheScope: 'private' },
  'new://public': { ttlMs: 1_234, cacheScope: 'public' },
  'new://silent': {},
  'new://odd': { ttlMs: -5, cacheScope: 'everybody' },
};

const question = {
  method: 'elicitation/create',
  params: { message: 'Who?', requestedSchema: { type: 'object' } },
};

function read({ uri, inputResponses }: Loose): object {
  const result = { contents: [{ uri, text: uri }] };
  if (uri !== 'new://asking') return { ...result, ...HINTS[uri] };
  const hints = { ttlMs: 60_000, cacheScope: 'public' };
  if (inputResponses) return { ...result, ...hints };
  return { resultType: 'input_required', inputRequests: { who: question }, ...hints };
}

before(async () => {
  const folder = await mkdtemp(path.join(tmpdir(), 'castellan-hints-'));
  used.defer(() => rm(folder, { recursive: true }));
  const list = (name: string, hints: object): Menu['answers'] => ({
    'tools/list': () => ({ tools: [{ name, inputSchema: { type: 'object' } }], ...hints }),
    'resources/list': () => ({ resources: [], ...hints }),
    'resources/templates/list': () => ({
      resourceTemplates: [{ uriTemplate: `${name}://{id}`, name }],
      ttlMs: 600_000,
      cacheScope: 'public',
    }),
    'resources/read': read,
  });
  const capabilities = { tools: {}, resources: {} };
  modern = used.use(
    await MenuUpstream.start('modern', {
      capabilities,
      answers: list('new', { ttlMs: 20_000, cacheScope: 'public' }),
    }),
  );
  legacy = used.use(
    await MenuUpstream.start('legacy', {
      capabilities,
      answers: {
        ...list('old', { ttlMs: 1 }),
        'resources/read': () => ({ contents: [], ttlMs: 5, cacheScope: 'public' }),
      },
    }),
  );
  const file = await writeConfig(
    path.join(folder, 'config.json'),
    { modern: { url: modern.url }, legacy: { url: legacy.url } },
    { both: { servers: ['legacy', 'modern'] }, old: { servers: ['legacy'] } },
  );
  const castellan = used.use(await startCastellan(['--config', file]));
  both = await newAgent(castellan, 'both');
  old = await newAgent(castellan, 'old');
});
after(() => used.disposeAsync());

async function ask(who: Agent, method: string, params: Record<string, unknown> = {}, capabilities = {}) {
  const { body, headers } = who.modern(method, params);
  body.params._meta['io.modelcontextprotocol/clientCapabilities'] = capabilities;
  const { result } = (await (await who.send(body, { headers })).json()) as Message;
  assert.ok(result, method);
  return result;
}

const LISTS = ['tools/list', 'prompts/list', 'resources/list', 'resources/templates/list', 'server/discover'];

test('a merged list is no fresher than the part that is the first to age, and private', async () => {
  await ask(both, 'tools/list');
  await ask(old, 'tools/list');
  for (const method of LISTS) {
    const mixed = await ask(both, method);
    assert.ok(mixed.ttlMs > 0 && mixed.ttlMs <= 20_000, `${method}: ${mixed.ttlMs}`);
    assert.equal(mixed.cacheScope, 'private');
    const alone = await ask(old, method);
    assert.ok(alone.ttlMs > 20_000 && alone.ttlMs <= 60_000, `${method}: a hint of the older era is none`);
    assert.equal(alone.cacheScope, 'private');
  }
});

test('the hint of a resource passes, for its reader alone', async () => {
  const hint = async (uri: string) => {
    const { ttlMs, cacheScope } = await ask(both, 'resources/read', { uri });
    return [ttlMs, cacheScope];
  };
  assert.deepEqual(await hint('new://minute'), [61_234, 'private']);
  assert.deepEqual(await hint('new://public'), [1_234, 'private']);
  assert.deepEqual(await hint('new://silent'), [0, 'private']);
  assert.deepEqual(await hint('new://odd'), [0, 'private']);
  assert.deepEqual(await hint('old://x'), [0, 'private'], 'the older era has no hints');
  const { result } = await both.ask('resources/read', { uri: 'new://minute' });
  assert.deepEqual(Object.keys(result ?? {}), ['contents'], 'a legacy client gets none');
});

test('a question has no hints, and what was read with its answer must not be kept', async () => {
  const capabilities = { elicitation: { form: {} } };
  const uri = 'new://asking';
  const asked = await ask(both, 'resources/read', { uri }, capabilities);
  assert.equal(asked.resultType, 'input_required');
  assert.ok(!('ttlMs' in asked) && !('cacheScope' in asked));
  const inputResponses = { who: { action: 'accept', content: {} } };
  const params = { uri, inputResponses, requestState: asked.requestState };
  const answered = await ask(both, 'resources/read', params, capabilities);
  assert.deepEqual(
    [answered.resultType, answered.ttlMs, answered.cacheScope, answered.contents.length],
    ['complete', 0, 'private', 1],
  );
});
