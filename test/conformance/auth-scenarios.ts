import { connector } from './client-scenarios.ts';
import { Operator, type SuiteContext } from './operator.ts';

type Refusal = { code: string; retry: string };

/** An agent that calls the suite's tool, and an operator who signs in whenever Castellan tells the agent that somebody has to. */
export async function runAuthScenario(
  url: string,
  scenario: string,
  revision: string,
  context: SuiteContext,
): Promise<void> {
  await using operator = await Operator.start({ url, protocol: revision }, scenario, context);
  await operator.connect();
  const endpoint = await operator.endpoint();
  const client = await connector(endpoint.url, endpoint.token, revision)();
  await client.listTools();
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
