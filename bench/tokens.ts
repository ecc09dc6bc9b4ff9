/**
 * `npm run bench:tokens`: what a model reads before its first tool call, through 20 servers with 400 tools, in each
 * exposure and era. Tokens of o200k_base, the encoding of current OpenAI models; others count a little differently. The
 * tools are those of test/support/tool-catalogue.txt, written like those of vendors. Markdown on stdout.
 */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { Client, StreamableHTTPClientTransport } from '@modelcontextprotocol/client';
import { encode } from 'gpt-tokenizer/encoding/o200k_base';
import { newAgent, writeConfig } from '../test/support/agent.ts';
import { CatalogueUpstream } from '../test/support/catalogue-upstream.ts';
import { startCastellan, type TestCastellan } from '../test/support/running-castellan.ts';
import { TASKS } from '../test/support/tasks-for-tools.ts';
import { median } from './statistics.ts';

const EXPOSURES = ['full', 'meta', 'gated'] as const;
const ERAS = { legacy: 'legacy', modern: { pin: '2026-07-28' } } as const;
const SHOWN = 8;

type Exposure = (typeof EXPOSURES)[number];

const tokensIn = (value: unknown): number =>
  encode(typeof value === 'string' ? value : JSON.stringify(value)).length;

async function connect(castellan: TestCastellan, project: string, era: keyof typeof ERAS): Promise<Client> {
  const { url, token } = await newAgent(castellan, project);
  const client = new Client({ name: 'tokens', version: '1' }, { versionNegotiation: { mode: ERAS[era] } });
  const requestInit = { headers: { authorization: `Bearer ${token}` } };
  await client.connect(new StreamableHTTPClientTransport(new URL(url), { requestInit }));
  return client;
}

/** What a client hands to its model at the start: what the surface says of itself, and its tools. */
async function atStart(client: Client): Promise<{ tokens: number; tools: number }> {
  const { tools } = await client.listTools();
  return { tokens: tokensIn(client.getInstructions() ?? '') + tokensIn(tools), tools: tools.length };
}

/** What the model reads on its way to a tool: every answer of Castellan up to the arguments of that tool. */
async function onTheWay(client: Client, exposure: Exposure, task: string, tool: string): Promise<number> {
  const read = async (name: string, args: Record<string, unknown>) => {
    const { content } = await client.callTool({ name, arguments: args });
    return tokensIn(content);
  };
  if (exposure === 'full') return 0;
  if (exposure === 'gated') return read('begin_session', { task });
  const found = await read('mcp', { action: 'list_tools', query: task, limit: SHOWN });
  return found + (await read('mcp', { action: 'describe_tool', tool }));
}

async function main(): Promise<void> {
  const folder = await mkdtemp(path.join(tmpdir(), 'castellan-tokens-'));
  try {
    await using upstream = await CatalogueUpstream.start();
    const servers = upstream.servers.map(({ name }) => name);
    const projects = Object.fromEntries(EXPOSURES.map((exposure) => [exposure, { servers, exposure }]));
    const file = await writeConfig(path.join(folder, 'castellan.json'), upstream.config(), projects);
    await using castellan = await startCastellan(['--config', file]);
    const lines = [
      '| exposure | era | tools listed | tokens at start | on the way to a tool | together |',
      '|---|---|---|---|---|---|',
    ];
    const number = (value: number) => Math.round(value).toLocaleString('en-US');
    for (const exposure of EXPOSURES) {
      for (const era of ['legacy', 'modern'] as const) {
        const client = await connect(castellan, exposure, era);
        const { tokens, tools } = await atStart(client);
        const ways: number[] = [];
        for (const [task, tool] of TASKS) ways.push(await onTheWay(client, exposure, task, tool));
        const way = median(ways);
        const cells = [exposure, era, tools, number(tokens), number(way), number(tokens + way)];
        lines.push(`| ${cells.join(' | ')} |`);
        await client.close();
      }
    }
    const { tools } = upstream.servers[0]!;
    lines.push(
      '',
      `A tool takes ${number(tokensIn(upstream.servers.flatMap((one) => one.tools)) / (servers.length * tools.length))} tokens on average; for scale, one of the quickstart's servers takes ${number(await ofQuickstart())}.`,
    );
    process.stdout.write(`${lines.join('\n')}\n`);
  } finally {
    await rm(folder, { recursive: true });
  }
}

/** Tokens of a tool of servers that somebody else wrote. */
async function ofQuickstart(): Promise<number> {
  await using castellan = await startCastellan();
  const client = await connect(castellan, 'demo', 'legacy');
  const { tools } = await client.listTools();
  await client.close();
  return tokensIn(tools) / tools.length;
}

await main();
