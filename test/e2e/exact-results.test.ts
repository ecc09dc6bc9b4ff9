import assert from 'node:assert/strict';
import path from 'node:path';
import { after, before, test } from 'node:test';
import { type Agent, newAgent, writeConfig } from '../support/agent.ts';
import { temporaryFolder } from '../support/databases.ts';
import { MenuUpstream } from '../support/menu-upstream.ts';
import { startCastellan, type TestCastellan } from '../support/running-castellan.ts';

/** A text that goes into JSON as it is. The types of the language do not know it yet. */
const { rawJSON } = JSON as unknown as { rawJSON(text: string): object };
const EXACT = { id: rawJSON('12345678901234567890'), share: rawJSON('1.0'), few: rawJSON('1e2') };
const TEXT = '"structuredContent":{"id":12345678901234567890,"share":1.0,"few":1e2}';

let castellan: TestCastellan;
let agent: Agent;
const upstreams: { [name: string]: MenuUpstream } = {};

before(async () => {
  for (const era of ['legacy', 'modern'] as const) {
    upstreams[era] = await MenuUpstream.start(era, {
      capabilities: { tools: {} },
      answers: {
        'tools/list': () => ({ tools: [{ name: 'exact', inputSchema: { type: 'object' } }] }),
        'tools/call': () => ({
          content: [],
          structuredContent: EXACT,
          _meta: { 'io.modelcontextprotocol/serverInfo': { name: 'menu', version: '1' }, 'vendor/key': 1 },
        }),
      },
    });
  }
  const servers = Object.fromEntries(Object.entries(upstreams).map(([name, { url }]) => [name, { url }]));
  const folder = await temporaryFolder();
  const projects = { demo: { servers: Object.keys(servers) } };
  const config = await writeConfig(path.join(folder, 'castellan.json'), servers, projects);
  castellan = await startCastellan(['--config', config]);
  agent = await newAgent(castellan, 'demo');
});
after(async () => {
  await castellan?.[Symbol.asyncDispose]();
  for (const upstream of Object.values(upstreams)) await upstream[Symbol.asyncDispose]();
});

for (const server of ['legacy', 'modern']) {
  const params = { name: `${server}__exact`, arguments: {} };

  test(`a legacy client gets the numbers of a ${server} server digit by digit`, async () => {
    const response = await agent.send({ jsonrpc: '2.0', id: 1, method: 'tools/call', params });
    const text = await response.text();
    assert.ok(text.includes(TEXT), text);
    assert.deepEqual(JSON.parse(text).result._meta, { 'vendor/key': 1 });
  });

  test(`a modern client gets the numbers of a ${server} server digit by digit`, async () => {
    const text = await (await agent.sendModern('tools/call', params)).text();
    assert.ok(text.includes(TEXT), text);
    const { resultType, _meta } = JSON.parse(text).result;
    assert.equal(resultType, 'complete');
    assert.equal(_meta['io.modelcontextprotocol/serverInfo'].name, 'castellan');
    assert.equal(_meta['vendor/key'], 1);
  });
}
