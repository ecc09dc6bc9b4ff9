import assert from 'node:assert/strict';
import path from 'node:path';
import { after, before, describe, it } from 'node:test';
import { administrate, type Loose, newAgent, writeConfig } from '../support/agent.ts';
import { temporaryFolder } from '../support/databases.ts';
import { MenuUpstream } from '../support/menu-upstream.ts';
import { eventually } from '../support/processes.ts';
import { startCastellan, type TestCastellan } from '../support/running-castellan.ts';

const MENU = {
  capabilities: { tools: {} },
  answers: {
    'tools/list': () => ({
      tools: ['ping', 'use'].map((name) => ({ name, inputSchema: { type: 'object' } })),
    }),
    'tools/call': ({ name }: Loose) => ({
      content: [{ type: 'text', text: name }],
      isError: name === 'ping',
    }),
  },
};

let changing: MenuUpstream;
let reading: MenuUpstream;
let castellan: TestCastellan;

before(async () => {
  [changing, reading] = [await MenuUpstream.start('modern', MENU), await MenuUpstream.start('modern', MENU)];
  const healthCheck = { tool: 'ping', interval: '1s' };
  const config = await writeConfig(
    path.join(await temporaryFolder(), 'castellan.json'),
    {
      changing: { url: changing.url, healthCheck },
      reading: { url: reading.url, healthCheck, tools: { readOnly: ['ping'] } },
    },
    {
      one: { servers: ['changing'] },
      two: { servers: ['reading', 'changing'] },
      three: { servers: ['reading'] },
    },
  );
  castellan = await startCastellan(['--config', config]);
  const agent = await newAgent(castellan, 'two');
  for (const server of ['changing', 'reading'])
    assert.equal((await agent.call(`${server}__use`)).result?.content[0].text, 'use');
});
after(async () => {
  await castellan[Symbol.asyncDispose]();
  for (const server of [changing, reading]) await server[Symbol.asyncDispose]();
});

const pings = (server: MenuUpstream) =>
  server.of('tools/call').filter(({ params }) => params.name === 'ping').length;
const rows = async (query: string): Promise<Loose[]> =>
  (await administrate(castellan, 'GET', `/audit?order=oldest&${query}`)).items;

describe('a health check that calls a tool', () => {
  it('is in the audit as the calls of Castellan itself, announced where it may change something', async () => {
    await eventually('both are checked', () => pings(changing) > 0 && pings(reading) > 0, 10_000);
    const calls = async (server: string) => rows(`event=tool.call&tool=${server}__ping`);
    await eventually(
      'both are told',
      async () => (await calls('changing')).length * (await calls('reading')).length > 0,
    );
    const [[changed], [read]] = [await calls('changing'), await calls('reading')];
    assert.deepEqual(
      [changed.actor, changed.outcome, changed.server, read.actor, read.outcome],
      ['castellan', 'tool_error', 'changing', 'castellan', 'tool_error'],
    );
    const [intent] = await rows('event=tool.intent&tool=changing__ping');
    assert.equal(changed.intent, intent.id);
    assert.equal(read.intent, undefined);
    assert.deepEqual(await rows('event=tool.intent&tool=reading__ping'), []);
  });

  it('pauses while a project with its server is frozen, and then goes on', async () => {
    await administrate(castellan, 'PUT', '/freezes/one', { reason: 'strange' });
    const [before, beside] = [pings(changing), pings(reading)];
    // The round that was under way at the freeze is over with the next one.
    await eventually('the other server is checked on', () => pings(reading) >= beside + 3, 10_000);
    assert.ok(pings(changing) <= before + 1, `${pings(changing)} after ${before}`);
    await administrate(castellan, 'PUT', '/freezes/*', { reason: 'all' });
    await administrate(castellan, 'DELETE', '/freezes/one');
    await administrate(castellan, 'DELETE', '/freezes/*');
    const [again, then] = [pings(changing), pings(reading)];
    await eventually('both are checked', () => pings(changing) > again && pings(reading) > then, 10_000);
  });
});
