/** Clients whose configuration we can write. */
export const CLIENTS = ['claude', 'cursor', 'vscode', 'codex', 'generic'] as const;
export type ClientName = (typeof CLIENTS)[number];

export type EndpointEntry = { name: string; url: string };

/** The variable that a client reads the token from, where it can. */
export const TOKEN_VARIABLE = 'CASTELLAN_TOKEN';
const COMMAND = 'castellan';
const INPUT = 'castellan-token';
const CODEX_CALLBACK = 'http://127.0.0.1/callback';

/**
 * How a client proves itself: with a token, which it reads from a variable or asks for where it is not given here; or by
 * signing its person in, as a client that is registered under an id, or as it gets one by itself.
 */
export type EntryProof =
  | { by: 'token'; token: string | undefined }
  | { by: 'sign-in'; clientId: string | undefined };

/** Where people of each client paste the entry. */
export const PLACES: Readonly<Record<ClientName, string>> = {
  claude: '.mcp.json of a project, or ~/.claude.json',
  cursor: '.cursor/mcp.json of a project, or ~/.cursor/mcp.json',
  vscode: '.vscode/mcp.json of a workspace, or "MCP: Open User Configuration"',
  codex: '~/.codex/config.toml',
  generic: 'the configuration of your client',
};

/** What people of each client do next, where it signs them in. */
export const SIGN_INS: Readonly<Record<ClientName, string>> = {
  claude: 'run  claude mcp login NAME',
  cursor: 'Cursor offers to connect in its MCP settings',
  vscode: 'VS Code asks when the server starts',
  codex: 'run  codex mcp login NAME',
  generic: 'the client begins when it is refused with 401',
};

/** What a client needs to reach the endpoints, ready to be pasted. */
export function clientEntries(
  client: ClientName,
  endpoints: readonly EndpointEntry[],
  proof: EntryProof,
): string {
  switch (client) {
    case 'claude':
    case 'generic':
      return servers(endpoints, {
        type: 'http',
        ...proven(proof, client === 'claude' ? `\${${TOKEN_VARIABLE}}` : '<TOKEN>', byClientId),
      });
    case 'cursor':
      return servers(
        endpoints,
        proven(proof, `\${env:${TOKEN_VARIABLE}}`, (id) => ({ auth: { CLIENT_ID: id } })),
      );
    case 'vscode':
      return visualStudioCode(endpoints, proof);
    case 'codex':
      return endpoints.map((endpoint) => codex(endpoint, proof)).join('\n');
  }
}

/** The same for a client that starts `castellan mcp-serve` itself; by name its arguments. */
export function stdioEntries(client: ClientName, entries: ReadonlyMap<string, readonly string[]>): string {
  const named = (more: object) =>
    Object.fromEntries([...entries].map(([name, args]) => [name, { ...more, command: COMMAND, args }]));
  switch (client) {
    case 'claude':
    case 'generic':
    case 'cursor':
      return json({ mcpServers: named({}) });
    case 'vscode':
      return json({ servers: named({ type: 'stdio' }) });
    case 'codex':
      return [...entries]
        .map(([name, args]) => {
          const list = args.map((arg) => JSON.stringify(arg)).join(', ');
          return `[mcp_servers.${tomlKey(name)}]\ncommand = "${COMMAND}"\nargs = [${list}]\n`;
        })
        .join('\n');
  }
}

function servers(endpoints: readonly EndpointEntry[], { type, ...fields }: Record<string, unknown>): string {
  const entries = endpoints.map(({ name, url }) => [
    name,
    { ...(type !== undefined && { type }), url, ...fields },
  ]);
  return json({ mcpServers: Object.fromEntries(entries) });
}

function visualStudioCode(endpoints: readonly EndpointEntry[], proof: EntryProof): string {
  const fields = proven(proof, `\${input:${INPUT}}`, byClientId);
  const entries = endpoints.map(({ name, url }) => [name, { type: 'http', url, ...fields }]);
  const input = { type: 'promptString', id: INPUT, description: 'Castellan token', password: true };
  const asks = proof.by === 'token' && proof.token === undefined;
  return json({ ...(asks && { inputs: [input] }), servers: Object.fromEntries(entries) });
}

function codex({ name, url }: EndpointEntry, proof: EntryProof): string {
  const key = tomlKey(name);
  const entry = `[mcp_servers.${key}]\nurl = ${JSON.stringify(url)}\n`;
  if (proof.by === 'sign-in') {
    const { clientId: id } = proof;
    // Without an address it makes one up that is registered nowhere; the port is still its own.
    const back = `callback_url = ${JSON.stringify(CODEX_CALLBACK)}\n`;
    const oauth = `[mcp_servers.${key}.oauth]\nclient_id = ${JSON.stringify(id)}\n${back}`;
    return id === undefined ? entry : `${entry}\n${oauth}`;
  }
  return proof.token === undefined
    ? `${entry}bearer_token_env_var = ${JSON.stringify(TOKEN_VARIABLE)}\n`
    : `${entry}http_headers = { Authorization = ${JSON.stringify(`Bearer ${proof.token}`)} }\n`;
}

function tomlKey(name: string): string {
  return /^[A-Za-z0-9_-]+$/.test(name) ? name : JSON.stringify(name);
}

/** @param placeholder stands for a token that is not given @param registered says by which id a client is known */
function proven(
  proof: EntryProof,
  placeholder: string,
  registered: (clientId: string) => Record<string, unknown>,
): Record<string, unknown> {
  if (proof.by === 'sign-in') return proof.clientId === undefined ? {} : registered(proof.clientId);
  return { headers: { Authorization: `Bearer ${proof.token ?? placeholder}` } };
}

const byClientId = (clientId: string) => ({ oauth: { clientId } });
const json = (value: unknown) => `${JSON.stringify(value, null, 2)}\n`;
