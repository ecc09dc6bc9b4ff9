import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { after, before, test } from 'node:test';
import { Agent, type Loose, type Message, newAgent, writeConfig } from '../support/agent.ts';
import { hostile } from '../support/endpoint-rig.ts';
import { MenuUpstream } from '../support/menu-upstream.ts';
import { eventually } from '../support/processes.ts';
import { startCastellan, type TestCastellan } from '../support/running-castellan.ts';

const METHODS = {
  'tools/list': 'tools',
  'prompts/list': 'prompts',
  'resources/list': 'resources',
  'resources/templates/list': 'resourceTemplates',
};
const MANY = 2_500;
const many = <T>(make: (number: number) => T): T[] => Array.from({ length: MANY }, (_, at) => make(at));

const used = new AsyncDisposableStack();
let folder: string;
let file: string;
let big: MenuUpstream;
let castellan: TestCastellan;
let agent: Agent;

before(async () => {
  folder = await mkdtemp(path.join(tmpdir(), 'castellan-pages-'));
  used.defer(() => rm(folder, { recursive: true }));
  big = used.use(
    await MenuUpstream.start('modern', {
      capabilities: { tools: {}, prompts: {}, resources: {} },
      answers: {
        'tools/list': () => ({
          tools: many((number) => ({ name: `tool${number}`, inputSchema: { type: 'object' } })),
        }),
        'prompts/list': () => ({ prompts: many((number) => ({ name: `prompt${number}` })) }),
        'resources/list': () => ({ resources: many((number) => ({ uri: `test://${number}`, name: 'r' })) }),
        'resources/templates/list': () => ({
          resourceTemplates: many((number) => ({ uriTemplate: `test://${number}/{id}`, name: 't' })),
        }),
      },
    }),
  );
  // With plain names the lists of both surfaces of `alike` are the same.
  const plain = { url: big.url, prefix: 'never' };
  file = await writeConfig(
    path.join(folder, 'config.json'),
    { big: plain, twin: plain, changing: hostile(folder, 'changing') },
    { long: { servers: ['big', 'changing'] }, alike: { servers: ['big'], operatorServers: ['twin'] } },
  );
  castellan = await startCastellan(['--config', file], { dataDir: path.join(folder, 'data') });
  used.defer(() => castellan.stop());
  agent = await newAgent(castellan, 'long');
});
after(() => used.disposeAsync());

/** All pages of a list, as a client of the later revision gets them. */
async function pagesOf(who: Agent, method: string): Promise<Loose[]> {
  const pages: Loose[] = [];
  let cursor: string | undefined;
  do {
    const response = await who.sendModern(method, cursor === undefined ? {} : { cursor });
    const { result } = (await response.json()) as Message;
    assert.ok(result, method);
    pages.push(result);
    cursor = result.nextCursor;
  } while (cursor !== undefined && pages.length < 10);
  return pages;
}

async function refused(who: Agent, method: string, cursor: unknown): Promise<void> {
  for (const response of [
    await who.sendModern(method, { cursor }),
    await who.send({ jsonrpc: '2.0', id: 1, method, params: { cursor } }),
  ]) {
    const { error } = (await response.json()) as Message;
    assert.equal(error?.code, -32602, JSON.stringify(cursor)?.slice(0, 80));
    assert.match(error.message, /list again from the start/);
  }
}

test('a long list comes in pages: every entry once, in the order of the servers, hints on each page', async () => {
  for (const [method, key] of Object.entries(METHODS)) {
    const pages = await pagesOf(agent, method);
    assert.ok(pages.length === 3, method);
    const entries = pages.flatMap((page) => page[key]) as Loose[];
    const labels = entries.map((one) => one.uri ?? one.uriTemplate ?? one.name);
    assert.equal(new Set(labels).size, labels.length, 'no entry comes twice');
    const ofBig = labels.slice(0, MANY).map((label) => /\d+/.exec(label)?.[0]);
    assert.deepEqual(ofBig, many(String), `${method}: in the order of the server`);
    if (key === 'tools') assert.ok(labels.slice(MANY).every((label) => label.startsWith('changing__')));
    for (const page of pages) {
      assert.equal(page.cacheScope, 'private');
      assert.ok(Number.isInteger(page.ttlMs) && page.ttlMs >= 0 && page.ttlMs <= 60_000);
    }
  }
});

test('a legacy client gets the same pages without hints', async () => {
  const first = await agent.ask('tools/list');
  assert.equal(first.result?.tools.length, 1_000);
  assert.equal(first.result?.ttlMs, undefined);
  const second = await agent.ask('tools/list', { cursor: first.result?.nextCursor });
  assert.equal(second.result?.tools[0].name, 'tool1000');
});

test('a cursor is good for one caller, one surface and one list, as it was given out', async () => {
  const cursor = (await pagesOf(agent, 'tools/list'))[0].nextCursor as string;
  const again = async () => (await agent.ask('tools/list', { cursor })).result?.tools[0].name;
  assert.deepEqual([await again(), await again()], ['tool1000', 'tool1000'], 'it may be used again');
  const middle = cursor.length >> 1;
  const bent = cursor.slice(0, middle) + (cursor[middle] === 'A' ? 'B' : 'A') + cursor.slice(middle + 1);
  for (const wrong of ['', 'x', '1000', bent, cursor.slice(0, -1), `${cursor}A`, 7, {}, [cursor], true])
    await refused(agent, 'tools/list', wrong);
  for (const method of ['prompts/list', 'resources/list', 'resources/templates/list'])
    await refused(agent, method, cursor);
  await refused(await newAgent(castellan, 'long'), 'tools/list', cursor);
  const both = await newAgent(castellan, 'alike', { surfaces: ['consumer', 'operator'] });
  const own = (await pagesOf(both, 'tools/list'))[0].nextCursor as string;
  await refused(new Agent(`${castellan.url}/projects/alike/operator-mcp`, both.token), 'tools/list', own);
  assert.equal((await both.ask('tools/list', { cursor: own })).result?.tools[0].name, 'tool1000');
});

test('pages are the same after a restart, and their cursors are still good', async () => {
  const before = await pagesOf(agent, 'tools/list');
  await castellan.stop();
  castellan = await startCastellan(['--config', file], { dataDir: path.join(folder, 'data') });
  agent = new Agent(`${castellan.url}/projects/long/mcp`, agent.token);
  const cursor = before[0].nextCursor as string;
  const { result } = (await (await agent.sendModern('tools/list', { cursor })).json()) as Message;
  assert.deepEqual(result?.tools, before[1].tools);
  const after = await pagesOf(agent, 'tools/list');
  assert.deepEqual(
    after.map((page) => page.tools),
    before.map((page) => page.tools),
  );
});

test('when the list has changed its cursors are refused, those of other lists are not', async () => {
  const [tools] = await pagesOf(agent, 'tools/list');
  const [prompts] = await pagesOf(agent, 'prompts/list');
  await agent.call('changing__grow');
  await eventually('the new tool is listed', async () => {
    // The change may come between two pages.
    const pages = await pagesOf(agent, 'tools/list').catch(() => []);
    return pages.some((page) => page.tools.some((one: Loose) => one.name.startsWith('changing__grown')));
  });
  await refused(agent, 'tools/list', tools.nextCursor);
  const next = await agent.ask('prompts/list', { cursor: prompts.nextCursor });
  assert.equal(next.result?.prompts[0].name, 'prompt1000');
});
