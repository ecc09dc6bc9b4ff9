import assert from 'node:assert/strict';
import { Client, StreamableHTTPClientTransport } from '@modelcontextprotocol/client';
import { type Loose, newAgent } from './agent.ts';
import { eventually } from './processes.ts';
import type { TestCastellan } from './running-castellan.ts';

export const EXPOSURES = ['full', 'meta', 'gated'] as const;
export const ERAS = ['legacy', { pin: '2026-07-28' }] as const;

export type Session = { client: Client; legacy: boolean; changed: () => number };

/** A client of its own, with a token of the project. */
export async function connect(
  castellan: TestCastellan,
  project: string,
  mode: (typeof ERAS)[number],
): Promise<Session> {
  const { token } = await newAgent(castellan, project);
  const client = new Client({ name: 'scripted', version: '1' }, { versionNegotiation: { mode } });
  let changes = 0;
  client.setNotificationHandler('notifications/tools/list_changed', () => {
    changes += 1;
  });
  const headers = { authorization: `Bearer ${token}` };
  const url = new URL(`${castellan.url}/projects/${project}/mcp`);
  await client.connect(new StreamableHTTPClientTransport(url, { requestInit: { headers } }));
  return { client, legacy: mode === 'legacy', changed: () => changes };
}

export const toolsOf = async (client: Client, _meta?: object): Promise<string[]> => {
  const { tools } = await client.listTools(_meta && ({ _meta } as never));
  return tools.map(({ name }) => name);
};
export const textOf = (result: Loose) => String(result.content[0].text);
export const dataOf = (result: Loose): Loose => result.structuredContent;
export const mcp = (client: Client, args: object) =>
  client.callTool({ name: 'mcp', arguments: args as never });

/** Arguments of every field that a schema demands. */
function argumentsFor({ properties = {}, required = [] }: Loose): Record<string, unknown> {
  const filler: Record<string, unknown> = {
    string: 'x',
    integer: 1,
    boolean: true,
    array: ['x'],
    object: {},
  };
  return Object.fromEntries(required.map((name: string) => [name, filler[properties[name].type]]));
}

/** How an agent that knows nothing but its task gets to the tool and calls it, in each exposure. */
export const WAYS: Record<
  (typeof EXPOSURES)[number],
  (session: Session, task: string, tool: string) => Promise<Loose>
> = {
  full: async ({ client }, _, tool) => {
    const { tools } = await client.listTools();
    const found = tools.find(({ name }) => name === tool);
    assert.ok(found, `${tool} is listed`);
    return client.callTool({ name: tool, arguments: argumentsFor(found.inputSchema) });
  },
  meta: async ({ client }, task, tool) => {
    const found = dataOf(await mcp(client, { action: 'list_tools', query: task, limit: 8 }));
    const names = found.tools.map((one: Loose) => one.name);
    assert.ok(names.includes(tool), `${tool} is among ${names.join()}`);
    const { tool: described } = dataOf(await mcp(client, { action: 'describe_tool', tool }));
    return mcp(client, { action: 'call', tool, arguments: argumentsFor(described.inputSchema) });
  },
  gated: async ({ client, legacy, changed }, task, tool) => {
    const before = changed();
    const begun = dataOf(await client.callTool({ name: 'begin_session', arguments: { task } }));
    const found = begun.tools.find((one: Loose) => one.name === tool);
    assert.ok(found?.inputSchema, `${tool} is among ${begun.tools.map((one: Loose) => one.name).join()}`);
    const args = argumentsFor(found.inputSchema);
    if (!legacy) return mcp(client, { action: 'call', tool, arguments: args });
    await eventually('the list is said to have changed', () => changed() > before);
    assert.ok((await toolsOf(client)).includes(tool));
    return client.callTool({ name: tool, arguments: args });
  },
};
