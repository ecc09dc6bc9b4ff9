/** Clients whose configuration we can write. */
export const CLIENTS = ['claude', 'cursor', 'vscode', 'codex', 'generic'] as const;
export type ClientName = (typeof CLIENTS)[number];

export type EndpointEntry = { name: string; url: string };

/** The variable that a client reads the token from, where it can. */
export const TOKEN_VARIABLE = 'CASTELLAN_TOKEN';
const INPUT = 'castellan-token';

/** Where people of each client paste the entry. */
export const PLACES: Readonly<Record<ClientName, string>> = {
  claude: '.mcp.json of a project, or ~/.claude.json',
  cursor: '.cursor/mcp.json of a project, or ~/.cursor/mcp.json',
  vscode: '.vscode/mcp.json of a workspace, or "MCP: Open User Configuration"',
  codex: '~/.codex/config.toml',
  generic: 'the configuration of your client',
};

/**
 * What a client needs to reach the endpoints, ready to be pasted.
 * @param token the token itself; without it the client asks for it or reads it from a variable, as it can
 */
export function clientEntries(
  client: ClientName,
  endpoints: readonly EndpointEntry[],
  token: string | undefined,
): string {
  switch (client) {
    case 'claude':
      return servers(endpoints, 'http', token ?? `\${${TOKEN_VARIABLE}}`);
    case 'cursor':
      return servers(endpoints, undefined, token ?? `\${env:${TOKEN_VARIABLE}}`);
    case 'generic':
      return servers(endpoints, 'http', token ?? '<TOKEN>');
    case 'vscode':
      return visualStudioCode(endpoints, token);
    case 'codex':
      return endpoints.map((endpoint) => codex(endpoint, token)).join('\n');
  }
}

function servers(endpoints: readonly EndpointEntry[], type: string | undefined, bearer: string): string {
  const entries = endpoints.map(({ name, url }) => [
    name,
    { ...(type && { type }), url, ...authorized(bearer) },
  ]);
  return json({ mcpServers: Object.fromEntries(entries) });
}

function visualStudioCode(endpoints: readonly EndpointEntry[], token: string | undefined): string {
  const bearer = token ?? `\${input:${INPUT}}`;
  const entries = endpoints.map(({ name, url }) => [name, { type: 'http', url, ...authorized(bearer) }]);
  const input = { type: 'promptString', id: INPUT, description: 'Castellan token', password: true };
  return json({ ...(token === undefined && { inputs: [input] }), servers: Object.fromEntries(entries) });
}

function codex({ name, url }: EndpointEntry, token: string | undefined): string {
  const key = /^[A-Za-z0-9_-]+$/.test(name) ? name : JSON.stringify(name);
  const bearer =
    token === undefined
      ? `bearer_token_env_var = ${JSON.stringify(TOKEN_VARIABLE)}`
      : `http_headers = { Authorization = ${JSON.stringify(`Bearer ${token}`)} }`;
  return `[mcp_servers.${key}]\nurl = ${JSON.stringify(url)}\n${bearer}\n`;
}

const authorized = (bearer: string) => ({ headers: { Authorization: `Bearer ${bearer}` } });
const json = (value: unknown) => `${JSON.stringify(value, null, 2)}\n`;
