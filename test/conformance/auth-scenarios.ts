import type { Client } from '@modelcontextprotocol/client';
import { connector } from './client-scenarios.ts';
import { type CastellanAtHand, Operator, type SuiteContext } from './operator.ts';

type Refusal = { code: string; retry: string };
type Degraded = { server: string; reason: string }[];

/** An agent that calls the suite's tool, and an operator who signs in whenever Castellan tells the agent that somebody has to. */
export async function runAuthScenario(
  castellan: CastellanAtHand,
  url: string,
  scenario: string,
  revision: string,
  context: SuiteContext,
): Promise<void> {
  const server = { url, protocol: revision };
  const operator = await Operator.begin(castellan, `mock-${process.pid}`, server, scenario, context);
  await operator.connect();
  const endpoint = await operator.endpoint();
  const client = await connector(endpoint.url, endpoint.token, revision)();
  await untilListed(client, operator);
  for (;;) {
    const { content, _meta } = await client.callTool(
      { name: 'test-tool', arguments: {} },
      { timeout: 15_000 },
    );
    const refusal = _meta?.['castellan/error'] as Refusal | undefined;
    if (!refusal) break;
    if (refusal.retry !== 'after_login') throw new Error(JSON.stringify(content));
    await operator.signIn();
    await operator.connect();
  }
  await client.close();
}

async function untilListed(client: Client, operator: Operator): Promise<void> {
  for (;;) {
    const { tools, _meta } = await client.listTools();
    if (tools.some(({ name }) => name === 'test-tool')) return;
    const [degraded] = (_meta?.['castellan/degraded'] ?? []) as Degraded;
    if (!degraded?.reason.includes('castellan mcp login')) throw new Error(JSON.stringify(_meta));
    await operator.signIn();
    await operator.connect();
  }
}
