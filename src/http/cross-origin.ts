import type { IncomingMessage, ServerResponse } from 'node:http';

/** What clients in a browser ask for: MCP, the OAuth endpoints that no person looks at, and their metadata. */
const PATHS =
  /^\/(?:(?:projects\/[^/?]+\/)?(?:operator-)?mcp|token|revoke|introspect|device_authorization|jwks|register|\.well-known\/[^?]+)(?:\?|$)/;
/** Names of headers; the browser asks for each that the client wants to send. */
const NAMES = /^[\w-]+(?:\s*,\s*[\w-]+){0,49}$/;
const READABLE = 'mcp-session-id, mcp-protocol-version, www-authenticate, retry-after';
const REMEMBERED_SECONDS = '600';

/**
 * Lets a page of an allowed origin send requests and read the answers (Fetch standard, CORS protocol), never with the
 * cookies of the browser. True when that was all that was asked, and it is answered.
 * @param origin of the page, which the caller has found to be allowed
 */
export function crossOrigin(req: IncomingMessage, res: ServerResponse, origin: string): boolean {
  if (!PATHS.test(req.url ?? '')) return false;
  res.setHeader('access-control-allow-origin', origin);
  res.setHeader('access-control-expose-headers', READABLE);
  res.setHeader('vary', 'origin');
  if (req.method !== 'OPTIONS' || req.headers['access-control-request-method'] === undefined) return false;
  const names = req.headers['access-control-request-headers'] ?? '';
  res.writeHead(204, {
    'access-control-allow-methods': 'GET, POST, DELETE',
    ...(NAMES.test(names) && { 'access-control-allow-headers': names }),
    'access-control-max-age': REMEMBERED_SECONDS,
  });
  res.end();
  return true;
}
