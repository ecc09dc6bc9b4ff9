import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { readdir, rm, stat, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { after, before, describe, test } from 'node:test';
import { isDeepStrictEqual } from 'node:util';
import { Client, StreamableHTTPClientTransport } from '@modelcontextprotocol/client';
import { Client as OldClient } from '@modelcontextprotocol/sdk/client/index.js';
import { StreamableHTTPClientTransport as OldTransport } from '@modelcontextprotocol/sdk/client/streamableHttp.js';
import { sha256Hex } from '../../src/base/ids.ts';
import { Agent, administrate, type Loose, newAgent, writeConfig } from '../support/agent.ts';
import { temporaryFolder } from '../support/databases.ts';
import { decide, holdingPolicy } from '../support/held-calls.ts';
import { MenuUpstream } from '../support/menu-upstream.ts';
import { eventually } from '../support/processes.ts';
import { startCastellan, type TestCastellan } from '../support/running-castellan.ts';

const LINES = Array.from({ length: 200 }, (_, at) => `line ${at}: ${'é😀'.repeat(5)}`).join('\n');
const ITEMS = {
  items: Array.from({ length: 300 }, (_, at) => ({ name: `name ${at}`, body: 'x'.repeat(50) })),
};
const text = (value: unknown) => ({
  type: 'text',
  text: typeof value === 'string' ? value : JSON.stringify(value),
});
const IMAGE = { type: 'image', data: 'A'.repeat(8_000), mimeType: 'image/png' };
const outputSchema = {
  type: 'object',
  properties: { items: { type: 'array', items: { type: 'object' } } },
  required: ['items'],
};

/** What the servers answer, by tool. */
const RESULTS: { [tool: string]: object } = {
  lines: { content: [text(LINES)], _meta: { 'vendor/key': 1 } },
  short: { content: [text('short')] },
  failing: { content: [text(LINES)], isError: true },
  items: { content: [text(ITEMS)], structuredContent: ITEMS },
  names: { content: [text(ITEMS)], structuredContent: ITEMS },
  wrong: { content: [text(ITEMS)], isError: true },
  cut: { content: [text(ITEMS)] },
  image: { content: [text(LINES), IMAGE] },
  free: { content: [text(ITEMS)], structuredContent: ITEMS },
};
const SCHEMED = new Set(['items', 'names', 'free']);
const RULES = [
  { tools: ['names', 'wrong'], jsonPath: '$.items[:3].name' },
  { tools: ['cut'], truncate: { items: 2, characters: 20 } },
  { tools: ['free'], maxBytes: '1MiB' },
  { tools: ['*'], maxBytes: '2KiB' },
];

let castellan: TestCastellan;
let cacheDir: string;
const upstreams: MenuUpstream[] = [];
let agent: Agent;
let other: Agent;

before(async () => {
  for (const era of ['legacy', 'modern'] as const) {
    const tools = Object.keys(RESULTS).map((name) => ({
      name,
      inputSchema: { type: 'object' },
      ...(SCHEMED.has(name) && { outputSchema }),
    }));
    const answers = { 'tools/list': () => ({ tools }), 'tools/call': ({ name }: Loose) => RESULTS[name]! };
    upstreams.push(await MenuUpstream.start(era, { capabilities: { tools: {} }, answers }));
  }
  const [legacy, modern] = upstreams.map(({ url }) => url);
  const folder = await temporaryFolder();
  cacheDir = path.join(folder, 'cache');
  const config = await writeConfig(
    path.join(folder, 'castellan.json'),
    {
      old: { url: legacy, tools: { results: RULES } },
      new: { url: modern, tools: { results: RULES } },
      bare: { url: legacy },
    },
    {
      demo: { servers: ['old', 'new'], operatorServers: ['bare'] },
      sized: { servers: ['bare'], results: { maxBytes: '2KiB' } },
      free: { servers: ['bare'] },
      behind: { servers: ['bare'], exposure: 'meta', results: { maxBytes: '2KiB' } },
      gated: { servers: ['bare'], exposure: 'gated', results: { maxBytes: '2KiB' } },
    },
  );
  castellan = await startCastellan(['--config', config], { env: { CASTELLAN_CACHE_DIR: cacheDir } });
  agent = await newAgent(castellan, 'demo');
  other = await newAgent(castellan, 'demo');
});
after(async () => {
  await castellan?.[Symbol.asyncDispose]();
  for (const upstream of upstreams) await upstream[Symbol.asyncDispose]();
});

/** By a client of 2025-11-25. */
const call = async (name: string, who = agent): Promise<Loose> =>
  (await who.ask('tools/call', { name, arguments: {} }, await who.openSession())).result;
const modernCall = async (name: string, args: object = {}, who = agent): Promise<Loose> =>
  ((await (await who.sendModern('tools/call', { name, arguments: args })).json()) as Loose).result;
const about = (result: Loose) => result._meta['castellan/result'];
const errorOf = (result: Loose) => result._meta?.['castellan/error'];
const readPart = async (id: unknown, section: unknown, who = agent): Promise<Loose> =>
  (await who.call('read_result', { id, section } as object)).result;

async function wholeText(first: Loose, who = agent): Promise<string> {
  const { id, sections } = about(first);
  let whole: string = first.content[0].text;
  for (let section = 2; section <= sections; section += 1)
    whole += (await readPart(id, section, who)).content[0].text;
  return whole;
}

describe('a result that is too long', () => {
  for (const server of ['old', 'new']) {
    test(`of a tool of the ${server} server comes in parts, to clients of both eras`, async () => {
      for (const first of [await call(`${server}__lines`), await modernCall(`${server}__lines`)]) {
        const [part, link, note] = first.content;
        assert.ok(Buffer.byteLength(part.text) <= 2_048 && part.text.endsWith('\n'));
        assert.equal(first._meta['vendor/key'], 1);
        const { id, sections, section, bytes } = about(first);
        assert.deepEqual([section, bytes], [1, Buffer.byteLength(LINES)]);
        assert.equal(await wholeText(first), LINES);
        assert.match(
          note.text,
          new RegExp(`part 1 of ${sections} .*read_result with {"id":"${id}","section":2}`),
        );
        assert.deepEqual(
          [link.type, link.uri, link.size, link.mimeType],
          ['resource_link', `castellan-result://${id}`, bytes, 'text/plain'],
        );
        const read = await agent.ask('resources/read', { uri: link.uri });
        assert.equal(read.result?.contents[0].text, LINES);
        const modernRead: Loose = await (await agent.sendModern('resources/read', { uri: link.uri })).json();
        assert.equal(modernRead.result.contents[0].text, LINES);
        const last = await readPart(id, sections);
        assert.match(last.content[1].text, /It is the last one/);
      }
    });
  }

  test('is listed nowhere, and links go only to revisions that have them', async () => {
    const bare = (await agent.call('old__lines')).result as Loose;
    assert.ok(about(bare).id);
    assert.ok(
      bare.content.every(({ type }: Loose) => type === 'text'),
      'no revision named: 2025-03-26',
    );
    for (const method of ['resources/list', 'resources/templates/list'])
      assert.doesNotMatch(JSON.stringify(await agent.ask(method)), /castellan-result/);
  });

  test('may be an error, and stays one; what is no text stays beside the first part', async () => {
    const failing = await call('old__failing');
    assert.equal(failing.isError, true);
    assert.equal(await wholeText(failing), LINES);
    const image = await call('old__image');
    assert.deepEqual(image.content[1], IMAGE);
    assert.equal(await wholeText(image), LINES);
  });

  test('is untouched when it fits, and where nothing is configured byte for byte as its server wrote it', async () => {
    assert.deepEqual(await call('old__short'), RESULTS.short);
    assert.deepEqual(await call('old__free'), RESULTS.free);
    const free = await newAgent(castellan, 'free');
    const params = { name: 'bare__items', arguments: {} };
    const response = await free.send({ jsonrpc: '2.0', id: 7, method: 'tools/call', params });
    assert.equal(await response.text(), `{"jsonrpc":"2.0","id":7,"result":${JSON.stringify(RESULTS.items)}}`);
  });

  test('of a project without rules of its servers is cut to the size of the project', async () => {
    const sized = await newAgent(castellan, 'sized');
    const first = await call('bare__items', sized);
    assert.equal(first.structuredContent, undefined);
    assert.deepEqual(JSON.parse(await wholeText(first, sized)), ITEMS);
  });
});

describe('the official SDKs', () => {
  const listed = async (who: Agent) =>
    (await who.ask('tools/list')).result?.tools.map((tool: Loose) => [tool.name, tool.outputSchema]) as [
      string,
      object | undefined,
    ][];

  test('are shown no output schema that a part of a result would break', async () => {
    const schemas = new Map(await listed(agent));
    assert.equal(schemas.get('old__items'), undefined);
    assert.equal(schemas.get('old__names'), undefined);
    const free = new Map(await listed(await newAgent(castellan, 'free')));
    assert.deepEqual(free.get('bare__items'), outputSchema);
  });

  for (const [name, connect] of [
    ['1.x', connectOld],
    ['2.x', connectNew],
  ] as const) {
    test(`${name} take parts and projections of tools whose servers give a schema`, async () => {
      const client = await connect();
      await client.listTools();
      const items = (await client.callTool({ name: 'new__items', arguments: {} })) as Loose;
      assert.equal(items.structuredContent, undefined);
      const { id, sections } = about(items);
      let whole = items.content[0].text;
      for (let section = 2; section <= sections; section += 1)
        whole += ((await client.callTool({ name: 'read_result', arguments: { id, section } })) as Loose)
          .content[0].text;
      assert.deepEqual(JSON.parse(whole), ITEMS);
      const link = items.content.find((block: Loose) => block.type === 'resource_link');
      assert.deepEqual(
        JSON.parse(((await client.readResource({ uri: link.uri })) as Loose).contents[0].text),
        ITEMS,
      );
      const names = (await client.callTool({ name: 'old__names', arguments: {} })) as Loose;
      assert.deepEqual(JSON.parse(names.content[0].text), ['name 0', 'name 1', 'name 2']);
      assert.ok(client.getServerCapabilities()?.resources);
      await client.close();
    });
  }
});

async function connectOld(): Promise<OldClient> {
  const client = new OldClient({ name: 'old', version: '1' }, { enforceStrictCapabilities: true });
  const headers = { authorization: `Bearer ${agent.token}` };
  await client.connect(new OldTransport(new URL(agent.url), { requestInit: { headers } }) as Loose);
  return client;
}

async function connectNew(): Promise<Client> {
  const client = new Client({ name: 'new', version: '1' }, { enforceStrictCapabilities: true });
  const headers = { authorization: `Bearer ${agent.token}` };
  await client.connect(new StreamableHTTPClientTransport(new URL(agent.url), { requestInit: { headers } }));
  return client;
}

describe('projection and truncation', () => {
  test('shape what a model reads, but no error', async () => {
    const names = await call('old__names');
    assert.deepEqual(JSON.parse(names.content[0].text), ['name 0', 'name 1', 'name 2']);
    // Older revisions want an object.
    assert.deepEqual(names.structuredContent, { result: ['name 0', 'name 1', 'name 2'] });
    assert.deepEqual((await modernCall('new__names')).structuredContent, ['name 0', 'name 1', 'name 2']);
    assert.deepEqual(await call('old__wrong'), RESULTS.wrong);
    const cut = JSON.parse((await call('new__cut')).content[0].text);
    assert.equal(cut.items.length, 3);
    assert.equal(cut.items[2], '… (298 more items)');
    assert.equal(cut.items[0].body, `${'x'.repeat(20)}… (30 more characters)`);
  });
});

describe('read_result', () => {
  test('is listed where results may be kept, and only there', async () => {
    const names = async (who: Agent) =>
      (await who.ask('tools/list')).result?.tools.map(({ name }: Loose) => name);
    assert.ok((await names(agent)).includes('read_result'));
    assert.ok((await names(await newAgent(castellan, 'sized'))).includes('read_result'));
    assert.ok(!(await names(await newAgent(castellan, 'free'))).includes('read_result'));
    const operator = await newAgent(castellan, 'demo', { surface: 'operator' });
    assert.ok(!(await names(operator)).includes('read_result'));
  });

  for (const project of ['behind', 'gated']) {
    test(`is called through the mcp tool where that is what is listed (${project})`, async () => {
      const who = await newAgent(castellan, project);
      const listed = (await who.ask('tools/list')).result?.tools.map(({ name }: Loose) => name);
      assert.ok(listed.includes('mcp') && !listed.includes('read_result'), String(listed));
      const through = async (args: object): Promise<Loose> => (await who.call('mcp', args)).result;
      let part = await through({ action: 'call', tool: 'bare__lines' });
      let whole = part.content[0].text;
      for (;;) {
        const [, next] = /call mcp with (\{.*\})\. All parts/.exec(part.content.at(-1).text) ?? [];
        if (next === undefined) break;
        part = await through(JSON.parse(next));
        whole += part.content[0].text;
      }
      assert.equal(whole, LINES);
    });
  }

  test("answers about another caller's result as about none", async () => {
    const { id } = about(await call('old__lines'));
    const uri = `castellan-result://${id}`;
    const unknown = 'res_0000000000000000000000';
    const both = await newAgent(castellan, 'demo', { surfaces: ['consumer', 'operator'] });
    const own = about(await call('old__lines', both)).id;
    const there = new Agent(both.url.replace(/mcp$/, 'operator-mcp'), both.token);
    const foreign: [Agent, string][] = [
      [other, id],
      [there, own],
    ];
    for (const [who, wanted] of foreign) {
      const told = await readPart(wanted, 1, who);
      assert.deepEqual(told, await readPart(unknown, 1, who));
      assert.deepEqual([errorOf(told).code, errorOf(told).field], ['NOT_FOUND', 'id']);
      assert.match(told.content[0].text, /Call the tool again/);
      const read = await who.ask('resources/read', { uri: `castellan-result://${wanted}` });
      const none = await who.ask('resources/read', { uri: `castellan-result://${unknown}` });
      assert.deepEqual(
        JSON.stringify(read.error).replaceAll(wanted, ''),
        JSON.stringify(none.error).replaceAll(unknown, ''),
      );
    }
    assert.equal((await agent.ask('resources/read', { uri })).result?.contents.length, 1);
    const outcomes = async () =>
      (await administrate(castellan, 'GET', '/audit?event=resource.read&limit=5')).items.map(
        ({ outcome }: Loose) => outcome,
      );
    await eventually('the audit tells them apart', async () =>
      isDeepStrictEqual((await outcomes()).slice(0, 3), ['ok', 'refused', 'refused']),
    );
  });

  test('takes no id for a path, and says what is wrong with its arguments', async () => {
    for (const id of ['../../data/castellan.db', '/etc/passwd', '..%2f..', '\0', '.'])
      assert.equal(errorOf(await readPart(id, 1)).code, 'NOT_FOUND', id);
    const { id, sections } = about(await call('old__lines'));
    for (const section of [0, -1, 1.5, '2', null]) {
      const refused = errorOf(await readPart(id, section));
      assert.deepEqual([refused.code, refused.field], ['INVALID_ARGUMENT', 'section'], String(section));
    }
    const beyond = await readPart(id, sections + 1);
    assert.equal(errorOf(beyond).code, 'INVALID_ARGUMENT');
    assert.match(beyond.content[0].text, new RegExp(`sections 1 to ${sections}`));
    assert.deepEqual([(await agent.call('read_result', {})).result?._meta['castellan/error'].field], ['id']);
  });

  test('gives nothing back to whoever lost the right to the tool', async () => {
    const name = `lost-${randomBytes(4).toString('hex')}`;
    const cli = async (...args: string[]) => {
      const { code, stdout, stderr } = await castellan.cli(...args);
      assert.equal(code, 0, stderr);
      return stdout.trim();
    };
    const who = new Agent(agent.url, await cli('create', 'mcptoken', name, '-p', 'demo'));
    const subject = ['--subject', `McpToken:${sha256Hex(who.token ?? '')}`];
    await cli('create', 'rbac', name, ...subject, '--roleBindings', 'role:run,resource:tools,name:old__*');
    const { id } = about(await call('old__lines', who));
    assert.equal((await readPart(id, 1, who)).isError, undefined);
    await cli('delete', 'rbac', name);
    assert.equal(errorOf(await readPart(id, 1, who)).code, 'NOT_FOUND');
    assert.ok((await who.ask('resources/read', { uri: `castellan-result://${id}` })).error);
  });
});

describe('where results are kept', () => {
  const folder = async () => {
    const [name] = await readdir(path.join(cacheDir, 'results'));
    return path.join(cacheDir, 'results', name!);
  };

  test('is closed to others and may vanish at any time', async () => {
    const { id } = about(await call('old__lines'));
    assert.equal((await stat(path.join(await folder(), id))).mode & 0o777, 0o600);
    assert.equal((await stat(await folder())).mode & 0o777, 0o700);
    await rm(cacheDir, { recursive: true });
    assert.equal(errorOf(await readPart(id, 1)).code, 'NOT_FOUND');
    assert.equal(await wholeText(await call('old__lines')), LINES);
  });
});

test('a result that cannot be kept comes with its first part, which says so', async () => {
  const folder = await temporaryFolder();
  await writeFile(path.join(folder, 'in-the-way'), '');
  const config = await writeConfig(
    path.join(folder, 'castellan.json'),
    { bare: { url: upstreams[0]!.url } },
    { demo: { servers: ['bare'], results: { maxBytes: '2KiB' } } },
  );
  const env = { CASTELLAN_CACHE_DIR: path.join(folder, 'in-the-way') };
  await using full = await startCastellan(['--config', config], { env });
  const who = await newAgent(full, 'demo');
  for (const first of [await call('bare__lines', who), await call('bare__lines', who)]) {
    assert.deepEqual(Object.keys(about(first)).sort(), ['bytes', 'section', 'sections']);
    assert.equal(first.content.length, 2);
    assert.ok(LINES.startsWith(first.content[0].text) && first.content[0].text.length > 0);
    assert.match(
      first.content[1].text,
      /The call was made; the other parts could not be kept here and are lost/,
    );
  }
  assert.equal(full.stderr().match(/long results cannot be kept/g)?.length, 1);
});

describe('the outcome of an approved call', () => {
  test('is cut like any other, each time that it is given', async () => {
    const rule = holdingPolicy(['old__lines']);
    await administrate(castellan, 'PUT', '/policies/holding', { ...rule, metadata: { name: 'holding' } });
    const refused = await call('old__lines');
    const { approvalId } = errorOf(refused);
    assert.ok(approvalId, JSON.stringify(refused));
    await decide(castellan, approvalId, 'approve');
    for (let time = 0; time < 2; time += 1) {
      const first = await call('old__lines');
      assert.equal(first._meta['castellan/approval'].approvalId, approvalId);
      assert.equal(await wholeText(first), LINES);
    }
    await administrate(castellan, 'DELETE', '/policies/holding');
  });
});
