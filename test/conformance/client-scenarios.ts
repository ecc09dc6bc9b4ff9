import { Client, type ClientOptions, StreamableHTTPClientTransport } from '@modelcontextprotocol/client';

export type Connect = (options?: ClientOptions) => Promise<Client>;

/** How to connect in the era of the run, to the suite's server or to Castellan in front of it. */
export function connector(url: string, token: string | undefined, revision: string): Connect {
  return async (options = {}) => {
    const mode = revision >= '2026-07-28' ? { pin: revision } : 'legacy';
    const client = new Client(
      { name: 'conformance-client', version: '1.0.0' },
      { capabilities: {}, versionNegotiation: { mode }, ...options },
    );
    const requestInit = token === undefined ? {} : { headers: { authorization: `Bearer ${token}` } };
    await client.connect(new StreamableHTTPClientTransport(new URL(url), { requestInit }));
    return client;
  };
}

type ToolCall = { name: string; arguments: Record<string, unknown> };

/** What the client does in each scenario, by its name in the suite; `context` is what the suite tells it. */
export const CLIENT_SCENARIOS: Record<string, (connect: Connect, context: unknown) => Promise<void>> = {
  initialize: listTools,
  'request-metadata': listTools,
  'json-schema-ref-no-deref': listTools,
  tools_call: async (connect) => {
    const client = await connect();
    await client.listTools();
    await callTool(client, 'add_numbers', { a: 5, b: 3 });
    await client.close();
  },
  'sse-retry': async (connect) => {
    const client = await connect();
    await client.listTools();
    await callTool(client, 'test_reconnection');
    await client.close();
  },
  'elicitation-sep1034-client-defaults': async (connect) => {
    const client = await connect({ capabilities: { elicitation: { form: { applyDefaults: true } } } });
    client.setRequestHandler('elicitation/create', async () => ({ action: 'accept', content: {} }));
    await client.listTools();
    await callTool(client, 'test_client_elicitation_defaults');
    await client.close();
  },
  'http-standard-headers': async (connect) => {
    const client = await connect();
    for (const { name } of (await client.listTools()).tools) await callTool(client, name);
    for (const { uri } of (await client.listResources()).resources) await client.readResource({ uri });
    for (const { name } of (await client.listPrompts()).prompts) await client.getPrompt({ name });
    await client.close();
  },
  'http-custom-headers': async (connect, context) => {
    const client = await connect();
    await client.listTools();
    for (const call of (context as { toolCalls: ToolCall[] }).toolCalls)
      await callTool(client, call.name, call.arguments);
    await client.close();
  },
  'http-invalid-tool-headers': async (connect) => {
    const client = await connect();
    for (const { name } of (await client.listTools()).tools)
      await callTool(client, name, { region: 'us-west1' });
    await client.close();
  },
  'sep-2322-client-request-state': async (connect) => {
    const client = await connect({ capabilities: { elicitation: {} } });
    client.setRequestHandler('elicitation/create', async () => ({
      action: 'accept',
      content: { confirmed: true },
    }));
    await callTool(client, 'test_mrtr_echo_state');
    await callTool(client, 'test_mrtr_no_state');
    await callTool(client, 'test_mrtr_unrelated');
    // A result without resultType is judged by what follows it: nothing may.
    await callTool(client, 'test_mrtr_no_result_type').catch(() => undefined);
    await client.close();
  },
  'json-schema-2020-12-preservation': async (connect) => {
    const client = await connect();
    const { tools } = await client.listTools();
    const schema = tools.find((tool) => tool.name === 'json_schema_2020_12_tool')?.inputSchema;
    await callTool(client, 'json_schema_echo', { schema });
    await client.close();
  },
};

/** The suite gives up on a client after half a minute, but does not end it. */
function callTool(client: Client, name: string, args: Record<string, unknown> = {}): Promise<unknown> {
  return client.callTool({ name, arguments: args }, { timeout: 15_000 });
}

async function listTools(connect: Connect): Promise<void> {
  const client = await connect();
  await client.listTools();
  await client.close();
}
