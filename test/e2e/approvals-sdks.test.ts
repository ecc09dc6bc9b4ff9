import assert from 'node:assert/strict';
import path from 'node:path';
import { after, before, describe, it } from 'node:test';
import { administrate, type Loose, newAgent, writeConfig } from '../support/agent.ts';
import { temporaryFolder } from '../support/databases.ts';
import { decide, errorIn, holdingPolicy } from '../support/held-calls.ts';
import { OracleUpstream } from '../support/oracle-upstream.ts';
import { eventually } from '../support/processes.ts';
import { startCastellan, type TestCastellan } from '../support/running-castellan.ts';
import { type Answers, SDKS, type SdkWay } from '../support/sdk-clients.ts';

const PATIENT_MS = 20_000;
const NAMED = Object.entries(SDKS);
const LEGACY = NAMED.filter(([name]) => !name.endsWith('2026-07-28'));

let castellan: TestCastellan;
let oracle: OracleUpstream;
let schemed: OracleUpstream;
const ways: Record<string, SdkWay> = {};

before(async () => {
  oracle = await OracleUpstream.start('modern', ['echo', 'slow', 'plain']);
  schemed = await OracleUpstream.start('modern', ['echo']);
  const outputSchema = { type: 'object', properties: { n: { type: 'number' } }, required: ['n'] };
  schemed.about = { outputSchema };
  const config = await writeConfig(
    path.join(await temporaryFolder(), 'castellan.json'),
    { x: { url: oracle.url }, schemed: { url: schemed.url } },
    { demo: { servers: ['x', 'schemed'] } },
  );
  castellan = await startCastellan(['--config', config]);
  const policy = holdingPolicy(['x__echo', 'schemed__echo']);
  const patient = holdingPolicy(['x__slow'], { holdMs: PATIENT_MS });
  await administrate(castellan, 'PUT', '/policies/humans-first', policy);
  await administrate(castellan, 'PUT', '/policies/patient', { ...patient, metadata: { name: 'patient' } });
  const { url, token = '' } = await newAgent(castellan, 'demo');
  ways.http = { transport: 'http', url, token };
  ways.stdio = { transport: 'stdio', args: ['--data-dir', castellan.dataDir, '-p', 'demo'] };
});
after(async () => {
  await castellan?.[Symbol.asyncDispose]();
  await oracle?.[Symbol.asyncDispose]();
  await schemed?.[Symbol.asyncDispose]();
});

let serial = 0;
const unique = () => {
  serial += 1;
  return { text: `call ${serial}` };
};
const isOf = (args: object) => (one: Loose) => JSON.stringify(one.arguments) === JSON.stringify(args);
const callsOf = (args: object) => oracle.calls.filter(isOf(args)).length;
const textOf = (result: Loose) => result.content[0].text as string;
const idIn = (page: string) => new URL(page).pathname.replace('/approvals/', '');

const waiting = async (args: object): Promise<string> => {
  let id = '';
  await eventually('the call is held', async () => {
    const { items } = await administrate(castellan, 'GET', '/approvals?state=pending');
    id = items.find(isOf(args))?.id ?? '';
    return id !== '';
  });
  return id;
};

for (const transport of ['http', 'stdio']) {
  describe(`over ${transport}`, () => {
    for (const [sdk, connect] of NAMED) {
      it(`${sdk} reads the refusal of a tool with an output schema, and gets the outcome in the end`, async () => {
        await using client = await connect(ways[transport]!);
        // It checks structured content against the schemas of the tools that it has listed.
        await client.listTools();
        const refused = await client.callTool({ name: 'schemed__echo', arguments: unique() });
        assert.equal(refused.isError, true);
        assert.match(textOf(refused), /waits for the approval of a human/);
        const args = unique();
        const call = { name: 'x__echo', arguments: args };
        const held = await client.callTool(call);
        const { code, approvalId } = errorIn({ result: held });
        assert.deepEqual([code, callsOf(args)], ['APPROVAL_REQUIRED', 0]);
        await decide(castellan, approvalId, 'approve');
        assert.equal(textOf(await client.callTool(call)), JSON.stringify(args));
        assert.equal(callsOf(args), 1);
      });

      it(`${sdk} opens the page for its user, and gets the outcome at once`, async () => {
        const pages: string[] = [];
        const answers: Answers = {
          'elicitation/create': async ({ mode, url }) => {
            assert.equal(mode, 'url');
            pages.push(url);
            await decide(castellan, idIn(url), 'approve');
            return { action: 'accept' };
          },
        };
        await using client = await connect(ways[transport]!, answers);
        const args = unique();
        const result = await client.callTool({ name: 'x__slow', arguments: args });
        assert.equal(textOf(result), JSON.stringify(args));
        assert.deepEqual([pages.length, callsOf(args)], [1, 1]);
      });

      it(`${sdk} that times out loses nothing`, async () => {
        await using client = await connect(ways[transport]!);
        const args = unique();
        const call = { name: 'x__slow', arguments: args };
        // In the later revision nobody is kept waiting: there the refusal takes the place of the timeout.
        const first = await client.callTool(call, { timeout: 1_500 }).catch((error: Error) => error);
        assert.match(first instanceof Error ? first.message : textOf(first), /timed out|waits for/);
        assert.equal((await decide(castellan, await waiting(args), 'approve')).answer.state, 'succeeded');
        const result = await client.callTool(call);
        assert.equal(textOf(result), JSON.stringify(args));
        assert.equal(callsOf(args), 1);
      });
    }

    for (const [sdk, connect] of LEGACY) {
      it(`${sdk} is kept waiting with progress, and other calls of its session are not`, async () => {
        await using client = await connect(ways[transport]!);
        const args = unique();
        const seen: number[] = [];
        const onprogress = ({ progress }: { progress: number }) => seen.push(progress);
        const held = client.callTool({ name: 'x__slow', arguments: args }, { onprogress });
        const id = await waiting(args);
        await eventually('progress', () => seen.length > 0, 10_000);
        const plain = unique();
        assert.equal(
          textOf(await client.callTool({ name: 'x__plain', arguments: plain })),
          JSON.stringify(plain),
        );
        assert.equal(callsOf(args), 0);
        await decide(castellan, id, 'approve');
        const result = await held;
        assert.equal(textOf(result), JSON.stringify(args));
        assert.equal(result._meta['castellan/approval'].replayed, false);
        assert.equal(callsOf(args), 1);
      });
    }
  });
}
