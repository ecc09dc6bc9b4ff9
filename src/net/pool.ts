// Undici's index loads fetch, WebSocket and caches as well: 50 ms of start and 16 MB that nothing here uses.
import Pool from 'undici/lib/dispatcher/pool.js';

const CONNECT_TIMEOUT_MS = 10_000;
export const CONNECTIONS_PER_ORIGIN = 256;

/** Keep-alive, no redirects, certificates always verified; no timeouts after connecting. */
export function openPool(origin: string, connections: number = CONNECTIONS_PER_ORIGIN): Pool {
  return new Pool(origin, {
    connections,
    headersTimeout: 0,
    bodyTimeout: 0,
    // Said here so that NODE_TLS_REJECT_UNAUTHORIZED cannot switch verification off.
    connect: { timeout: CONNECT_TIMEOUT_MS, rejectUnauthorized: true, minVersion: 'TLSv1.2' },
  });
}
