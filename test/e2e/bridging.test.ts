import assert from 'node:assert/strict';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { after, before, describe, test } from 'node:test';
import { Client, StreamableHTTPClientTransport } from '@modelcontextprotocol/client';
import { type RunningFixture, startFixture } from '../conformance/fixture/server.ts';
import { startCastellan, type TestCastellan } from '../support/running-castellan.ts';

const INFO = { name: 'test-client', version: '1.0.0' };
const CAPABILITIES = { elicitation: { form: {}, url: {} }, sampling: {}, roots: {} };

/** What the client was asked, in order. */
type Asked = { method: string; message?: unknown }[];

describe('a client of either era is asked by a server of either era', () => {
  const fixtures: Partial<Record<'legacy' | 'modern', RunningFixture>> = {};
  let castellan: TestCastellan;
  let folder: string;

  before(async () => {
    fixtures.legacy = await startFixture('legacy');
    fixtures.modern = await startFixture('modern');
    folder = await mkdtemp(path.join(tmpdir(), 'castellan-bridging-'));
    const file = path.join(folder, 'castellan.yaml');
    const parts = (['legacy', 'modern'] as const).map(
      (era) => `kind: Server
metadata: { name: ${era} }
spec: { url: "${fixtures[era]!.url}", prefix: never }
---
kind: Project
metadata: { name: ${era} }
spec: { servers: [${era}] }
---
kind: McpToken
metadata: { name: ${era}, project: ${era} }
spec: { rbac: clone }
`,
    );
    await writeFile(file, parts.join('---\n'));
    castellan = await startCastellan(['--config', file]);
  });
  after(async () => {
    await castellan?.[Symbol.asyncDispose]();
    for (const fixture of Object.values(fixtures)) await fixture[Symbol.asyncDispose]();
    await rm(folder, { recursive: true, force: true });
  });

  async function connect(
    server: 'legacy' | 'modern',
    mode: 'legacy' | { pin: string },
    capabilities: object = CAPABILITIES,
  ): Promise<{ client: Client; asked: Asked }> {
    const { stdout } = await castellan.cli(
      'create',
      'mcptoken',
      `t${Math.random()}`,
      '-p',
      server,
      '--rbac',
      'clone',
    );
    const client = new Client(INFO, { capabilities, versionNegotiation: { mode } });
    const asked: Asked = [];
    if ('elicitation' in capabilities) {
      client.setRequestHandler('elicitation/create', async ({ params }) => {
        asked.push({ method: 'elicitation/create', message: params.message });
        return {
          action: 'accept',
          content: { username: 'ann', email: 'ann@example.com', name: 'Ann', confirm: true },
        };
      });
    }
    if ('sampling' in capabilities) {
      client.setRequestHandler('sampling/createMessage', async () => {
        asked.push({ method: 'sampling/createMessage' });
        return { role: 'assistant', model: 'm', content: { type: 'text', text: 'Paris' } };
      });
    }
    if ('roots' in capabilities) {
      client.setRequestHandler('roots/list', async () => {
        asked.push({ method: 'roots/list' });
        return { roots: [{ uri: 'file:///work', name: 'work' }] };
      });
    }
    const headers = { Authorization: `Bearer ${stdout.trim()}` };
    const url = new URL(`${castellan.url}/projects/${server}/mcp`);
    await client.connect(new StreamableHTTPClientTransport(url, { requestInit: { headers } }));
    return { client, asked };
  }

  for (const server of ['legacy', 'modern'] as const) {
    for (const mode of ['legacy', { pin: '2026-07-28' }] as const) {
      const cell = `${mode === 'legacy' ? 'legacy' : 'modern'} client, ${server} server`;

      test(`${cell}: elicitation`, async () => {
        const { client, asked } = await connect(server, mode);
        const name = server === 'legacy' ? 'test_elicitation' : 'test_input_required_result_elicitation';
        const result = await client.callTool({ name, arguments: { message: 'Who are you?' } });
        assert.equal(asked.length, 1, JSON.stringify(result));
        assert.equal(asked[0]!.method, 'elicitation/create');
        assert.ok(!result.isError, JSON.stringify(result));
        assert.match(JSON.stringify(result.content), /ann|accept/i);
        await client.close();
      });

      test(`${cell}: elicitation by a tool that is called through the mcp tool`, async () => {
        const { client, asked } = await connect(server, mode);
        const tool = server === 'legacy' ? 'test_elicitation' : 'test_input_required_result_elicitation';
        const call = { action: 'call', tool, arguments: { message: 'Who are you?' } };
        const result = await client.callTool({ name: 'mcp', arguments: call });
        assert.deepEqual(
          asked.map(({ method }) => method),
          ['elicitation/create'],
        );
        assert.ok(!result.isError, JSON.stringify(result));
        assert.match(JSON.stringify(result.content), /ann|accept/i);
        await client.close();
      });

      test(`${cell}: sampling`, async () => {
        const { client, asked } = await connect(server, mode);
        const name = server === 'legacy' ? 'test_sampling' : 'test_input_required_result_sampling';
        const result = await client.callTool({ name, arguments: { prompt: 'Capital of France?' } });
        assert.deepEqual(asked, [{ method: 'sampling/createMessage' }]);
        assert.match(JSON.stringify(result.content), /Paris/);
        await client.close();
      });

      test(`${cell}: a client that cannot be asked gets an answer, not a hang`, async () => {
        const { client } = await connect(server, mode, {});
        const name = server === 'legacy' ? 'test_elicitation' : 'test_input_required_result_elicitation';
        const outcome = await client.callTool({ name, arguments: { message: 'Who?' } }).then(
          (result) => (result.isError ? 'error' : 'answer'),
          () => 'error',
        );
        assert.equal(outcome, 'error');
        await client.close();
      });
    }
  }

  test('several rounds, and several questions at once, reach a legacy client of a modern server', async () => {
    const { client, asked } = await connect('modern', 'legacy');
    await client.callTool({ name: 'test_input_required_result_multi_round', arguments: {} });
    assert.ok(asked.length >= 2, `asked ${asked.length} times`);
    asked.length = 0;
    await client.callTool({ name: 'test_input_required_result_multiple_inputs', arguments: {} });
    assert.deepEqual(asked.map((one) => one.method).sort(), [
      'elicitation/create',
      'roots/list',
      'sampling/createMessage',
    ]);
    await client.close();
  });
});
