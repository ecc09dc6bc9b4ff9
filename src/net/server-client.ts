// Undici's index loads fetch, WebSocket and caches as well: 50 ms of start and 16 MB that nothing here uses.
import Pool from 'undici/lib/dispatcher/pool.js';
import { Load, PooledReply, type ReplyReader } from './reply.ts';

const CONNECT_TIMEOUT_MS = 10_000;
const CONNECTIONS_PER_ORIGIN = 256;
const STREAMS_PER_ORIGIN = 1024;
const WAITING_PER_ORIGIN = 1024;

/** Headers are a flat list of names and values: those that are always the same, and more of this request alone. */
export type ServerRequest = {
  path: string;
  method: 'GET' | 'POST' | 'DELETE';
  headers?: string[];
  more?: string[];
  body?: string;
};

/** Sends one request whose reply the reader reads. False: too many wait already, nothing was sent or will be. */
export type Send = (request: ServerRequest, reader: ReplyReader) => boolean;

/** The sockets to one origin, shared by every transport that holds a lease on it. */
export type OriginLease = {
  /** For requests. Beyond 256 at once they wait in line until they are answered or abandoned. */
  readonly call: Send;
  /** For streams that stay open, so that they can never use up what requests need. */
  readonly stream: Send;
  /** Gives the lease back; the last one closes the sockets. Idempotent. */
  release(): Promise<void>;
};

type Origin = { calls: Pool; streams: Pool; call: Send; stream: Send; leases: number };

/**
 * Pooled HTTP for servers that an administrator configured. Keep-alive, no redirects, certificates always verified.
 * Has no timeouts after connecting: whoever sends a request abandons it at its own deadline.
 */
export class ServerClient implements AsyncDisposable {
  readonly #origins = new Map<string, Origin>();

  /** `origin` is scheme, host and port, as `URL.origin` gives it. */
  lease(origin: string): OriginLease {
    const entry = this.#origins.get(origin) ?? openOrigin(origin);
    this.#origins.set(origin, entry);
    entry.leases += 1;
    let held = true;
    const release = async (): Promise<void> => {
      if (!held) return;
      held = false;
      entry.leases -= 1;
      if (entry.leases > 0) return;
      if (this.#origins.get(origin) === entry) this.#origins.delete(origin);
      await destroy(entry);
    };
    return { call: entry.call, stream: entry.stream, release };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const entries = [...this.#origins.values()];
    this.#origins.clear();
    await Promise.all(entries.map(destroy));
  }
}

function openOrigin(origin: string): Origin {
  const calls = openPool(origin, CONNECTIONS_PER_ORIGIN);
  const streams = openPool(origin, STREAMS_PER_ORIGIN);
  return {
    calls,
    streams,
    call: boundedSend(calls, CONNECTIONS_PER_ORIGIN),
    stream: boundedSend(streams, STREAMS_PER_ORIGIN),
    leases: 0,
  };
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

function boundedSend(pool: Pool, connections: number): Send {
  const load = new Load();
  return ({ path, method, headers = [], more, body }, reader) => {
    if (load.running >= connections + WAITING_PER_ORIGIN) return false;
    const all = more && more.length > 0 ? [...headers, ...more] : headers;
    pool.dispatch({ path, method, headers: all, body }, new PooledReply(reader, load));
    return true;
  };
}

async function destroy(entry: Origin): Promise<void> {
  await Promise.all([entry.calls.destroy(), entry.streams.destroy()]);
}
