/** What the two protocol eras put on the wire, as far as the benchmark speaks them. */
export type Era = 'legacy' | 'modern';

export const ERAS: readonly Era[] = ['legacy', 'modern'];
export const VERSION: Record<Era, string> = { legacy: '2025-11-25', modern: '2026-07-28' };

const RESERVED = 'io.modelcontextprotocol/';
export const META_VERSION = `${RESERVED}protocolVersion`;
export const META_SERVER = `${RESERVED}serverInfo`;
export const META_CLIENT = `${RESERVED}clientInfo`;
export const META_CAPABILITIES = `${RESERVED}clientCapabilities`;

/** One parsed JSON-RPC message; the benchmark trusts its own peers about the rest. */
export type Message = {
  jsonrpc: '2.0';
  id?: string | number;
  method?: string;
  params?: {
    name?: string;
    arguments?: { message?: string };
    _meta?: Record<string, unknown>;
    [key: string]: unknown;
  };
};
