import type { IncomingHttpHeaders } from 'node:http';
import { META_CAPABILITIES, META_VERSION, type Message, VERSION } from '../era.ts';

const LEGACY_VERSIONS = new Set(['2024-11-05', '2025-03-26', '2025-06-18', VERSION.legacy]);
const SEPARATOR = '__';

/** Why headers and body contradict each other, or undefined. What a modern request must repeat, it must repeat exactly. */
export function mismatchOf(headers: IncomingHttpHeaders, message: Message): string | undefined {
  if (message.jsonrpc !== '2.0' || typeof message.method !== 'string') return 'not a JSON-RPC request';
  const header = headers['mcp-protocol-version'];
  const claimed = message.params?._meta?.[META_VERSION];
  if (claimed === undefined) {
    if (header === undefined || LEGACY_VERSIONS.has(header as string)) return undefined;
    return 'MCP-Protocol-Version without _meta';
  }
  if (header !== claimed || claimed !== VERSION.modern) return 'MCP-Protocol-Version differs from the body';
  if (headers['mcp-method'] !== message.method) return 'Mcp-Method differs from the body';
  if (message.method === 'tools/call' && headers['mcp-name'] !== message.params?.name)
    return 'Mcp-Name differs from the body';
  if (typeof message.params?._meta?.[META_CAPABILITIES] !== 'object') return 'no client capabilities';
  return undefined;
}

/** Takes the gateway's `server__` off the tool's name in place; false when the name has none. */
export function stripServerName(message: Message): boolean {
  const name = message.params?.name;
  if (name === undefined) return false;
  const at = name.indexOf(SEPARATOR);
  if (at === -1) return false;
  message.params!.name = name.slice(at + SEPARATOR.length);
  return true;
}
