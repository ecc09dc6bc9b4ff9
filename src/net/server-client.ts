import { Pool } from 'undici';

const CONNECT_TIMEOUT_MS = 10_000;
const CONNECTIONS_PER_ORIGIN = 256;
const STREAMS_PER_ORIGIN = 1024;

/** The sockets to one origin, shared by every transport that holds a lease on it. */
export type OriginLease = {
  /** For requests. Beyond its connections, requests wait in line until they are answered or abandoned. */
  readonly calls: Pool;
  /** For streams that stay open, so that they can never use up what requests need. */
  readonly streams: Pool;
  /** Gives the lease back; the last one closes the sockets. Idempotent. */
  release(): Promise<void>;
};

type Origin = { calls: Pool; streams: Pool; leases: number };

/**
 * Pooled HTTP for servers that an administrator configured. Keep-alive, no redirects, certificates always verified.
 * Has no timeouts after connecting: whoever sends a request abandons it at its own deadline.
 */
export class ServerClient implements AsyncDisposable {
  readonly #origins = new Map<string, Origin>();

  /** `origin` is scheme, host and port, as `URL.origin` gives it. */
  lease(origin: string): OriginLease {
    const found = this.#origins.get(origin);
    const entry = found ?? {
      calls: openPool(origin, CONNECTIONS_PER_ORIGIN),
      streams: openPool(origin, STREAMS_PER_ORIGIN),
      leases: 0,
    };
    if (!found) this.#origins.set(origin, entry);
    entry.leases += 1;
    let held = true;
    return {
      calls: entry.calls,
      streams: entry.streams,
      release: async () => {
        if (!held) return;
        held = false;
        entry.leases -= 1;
        if (entry.leases > 0) return;
        if (this.#origins.get(origin) === entry) this.#origins.delete(origin);
        await destroy(entry);
      },
    };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const entries = [...this.#origins.values()];
    this.#origins.clear();
    await Promise.all(entries.map(destroy));
  }
}

function openPool(origin: string, connections: number): Pool {
  return new Pool(origin, {
    connections,
    headersTimeout: 0,
    bodyTimeout: 0,
    // Said here so that NODE_TLS_REJECT_UNAUTHORIZED cannot switch verification off.
    connect: { timeout: CONNECT_TIMEOUT_MS, rejectUnauthorized: true, minVersion: 'TLSv1.2' },
  });
}

async function destroy(entry: Origin): Promise<void> {
  await Promise.all([entry.calls.destroy(), entry.streams.destroy()]);
}
