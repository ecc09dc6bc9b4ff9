import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import path from 'node:path';
import { after, before, describe, test } from 'node:test';
import { BUILTIN_TOOLSETS, OWN_TOOLS } from '../../src/resources/builtin-toolsets.ts';
import { Agent, administrate, type Loose, newAgent, writeConfig } from '../support/agent.ts';
import { temporaryFolder } from '../support/databases.ts';
import { OracleUpstream } from '../support/oracle-upstream.ts';
import { startCastellan, type TestCastellan } from '../support/running-castellan.ts';

const TOOLSETS = ['tickets', 'review', 'approvals'];

let castellan: TestCastellan;
let oracle: OracleUpstream;

before(async () => {
  oracle = await OracleUpstream.start('legacy');
  const config = await writeConfig(
    path.join(await temporaryFolder(), 'castellan.json'),
    { oracle: { url: oracle.url }, ...Object.fromEntries(TOOLSETS.map((name) => [name, { builtin: name }])) },
    { demo: { servers: ['oracle'], operatorServers: TOOLSETS } },
  );
  castellan = await startCastellan(['--config', config]);
});
after(async () => {
  await castellan?.[Symbol.asyncDispose]();
  await oracle?.[Symbol.asyncDispose]();
});

const urlOf = (surface: string, project = 'demo') =>
  `${castellan.url}/projects/${project}/${surface === 'operator' ? 'operator-mcp' : 'mcp'}`;
const own: readonly string[] = OWN_TOOLS;
const namesOf = async (agent: Agent): Promise<string[]> =>
  ((await agent.ask('tools/list')).result!.tools as Loose[])
    .map(({ name }) => String(name))
    .filter((name) => !own.includes(name))
    .sort();
/** The tools that docs/surfaces.md has in its table. */
async function documented(): Promise<string[]> {
  const page = await readFile(new URL('../../docs/surfaces.md', import.meta.url), 'utf8');
  const rows = page.split('\n').filter((line) => line.startsWith('| [`') && line.includes('| operator |'));
  return rows.flatMap((row) => [...row.split('|')[3]!.matchAll(/`(\w+)`/g)].map(([, name]) => name!)).sort();
}

describe('two surfaces of one project', () => {
  test('list what is documented, and share nothing', async () => {
    const both = await newAgent(castellan, 'demo', { surfaces: ['consumer', 'operator'] });
    const operator = await namesOf(new Agent(urlOf('operator'), both.token));
    assert.deepEqual(operator, await documented());
    assert.deepEqual(operator, TOOLSETS.flatMap((name) => BUILTIN_TOOLSETS.get(name)!.tools).sort());
    assert.deepEqual(await namesOf(both), ['oracle__echo', 'oracle__hold']);
  });

  test("reject each other's tools as they do unknown ones, in both eras", async () => {
    const both = await newAgent(castellan, 'demo', { surfaces: ['consumer', 'operator'] });
    const calls = oracle.calls.length;
    for (const [here, there] of [
      ['consumer', 'operator'],
      ['operator', 'consumer'],
    ] as const) {
      const agent = new Agent(urlOf(here), both.token);
      for (const name of await namesOf(new Agent(urlOf(there), both.token))) {
        const answers: Loose[] = [
          await agent.call(name),
          await (await agent.sendModern('tools/call', { name, arguments: {} })).json(),
        ];
        for (const { error } of answers)
          assert.deepEqual(error, {
            code: -32602,
            message: `Unknown tool: ${name}`,
            data: { code: 'UNKNOWN_TOOL' },
          });
      }
    }
    assert.equal(oracle.calls.length, calls);
  });

  test('open to a token of both, and one of one is refused at the other', async () => {
    const status = async (surfaces: string[], at: string) => {
      const { token } = await newAgent(castellan, 'demo', { surfaces });
      return (await new Agent(urlOf(at), token).send({ jsonrpc: '2.0', id: 1, method: 'tools/list' })).status;
    };
    for (const at of ['consumer', 'operator']) {
      assert.equal(await status(['consumer', 'operator'], at), 200);
      assert.equal(await status(['consumer'], at), at === 'consumer' ? 200 : 403);
      assert.equal(await status(['operator'], at), at === 'operator' ? 200 : 403);
    }
  });

  test('introduce themselves by their own servers alone, in both eras', async () => {
    const both = await newAgent(castellan, 'demo', { surfaces: ['consumer', 'operator'] });
    for (const [surface, mine, other] of [
      ['consumer', /consumer surface: the tools of oracle\./, /tickets|review|approvals|operator/],
      ['operator', /operator surface: the tools of tickets, review, approvals\./, /oracle|consumer/],
    ] as const) {
      const agent = new Agent(urlOf(surface), both.token);
      const clientInfo = { name: 'test', version: '1' };
      const params = { protocolVersion: '2025-11-25', capabilities: {}, clientInfo };
      const legacy = (await agent.ask('initialize', params)).result?.instructions;
      const modern: Loose = await (await agent.sendModern('server/discover')).json();
      for (const told of [legacy, modern.result.instructions]) {
        assert.match(told, mine);
        assert.doesNotMatch(told.split('\n')[0], other);
      }
    }
  });
});

test('a consumer goes on as before when its project gets an operator surface', async () => {
  const put = (spec: object) =>
    administrate(castellan, 'PUT', '/projects/grows', { kind: 'Project', metadata: { name: 'grows' }, spec });
  await put({ servers: ['oracle'] });
  const agent = await newAgent(castellan, 'grows');
  const session = await agent.openSession();
  const seen = async () => {
    const texts: string[] = [];
    for (const method of ['tools/list', 'prompts/list', 'resources/list'])
      texts.push(await (await agent.send({ jsonrpc: '2.0', id: 1, method })).text());
    const discovered: Loose = await (await agent.sendModern('server/discover')).json();
    texts.push(JSON.stringify([discovered.result.capabilities, discovered.result.instructions]));
    texts.push(
      JSON.stringify(await agent.ask('tools/call', { name: 'oracle__echo', arguments: {} }, session)),
    );
    return texts.map((text) => text.replaceAll(/"id":\d+/g, ''));
  };
  const before = await seen();
  await put({ servers: ['oracle'], operatorServers: TOOLSETS });
  assert.deepEqual(await seen(), before);
  const there = new Agent(urlOf('operator', 'grows'), agent.token);
  assert.equal((await there.send({ jsonrpc: '2.0', id: 1, method: 'tools/list' })).status, 403);
});

test('the quickstart has the operator toolsets, with the checkout that it runs from to review', async () => {
  await using quickstart = await startCastellan();
  const agent = await newAgent(quickstart, 'demo', { surface: 'operator' });
  assert.deepEqual(await namesOf(agent), await documented());
  const { result } = await agent.call('browse_codebase', {});
  const repository = result?.structuredContent.repositories[0];
  const isCheckout = existsSync(new URL('../../.git', import.meta.url));
  assert.deepEqual([repository.name, repository.problem === undefined], ['castellan', isCheckout]);
  if (!isCheckout) return assert.match(repository.problem, /does not run from a git checkout/);
  const listed = await agent.call('browse_codebase', { repository: 'castellan', path: 'src' });
  const paths = listed.result?.structuredContent.entries.map(({ path: at }: Loose) => at);
  assert.ok(paths.includes('src/toolsets') && paths.includes('src/app.ts'));
});
