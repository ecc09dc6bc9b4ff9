import { availableParallelism } from 'node:os';
import type Pool from 'undici/lib/dispatcher/pool.js';
import { CONNECTIONS_PER_ORIGIN, openPool } from './pool.ts';
import { Load, PooledReply, type ReplyReader } from './reply.ts';
import { ServerThread } from './server-thread-client.ts';

const STREAMS_PER_ORIGIN = 1024;
const WAITING_PER_ORIGIN = 1024;
/** Requests at once, on average, from which on a thread sends them, and down to which it goes on. */
const MANY = { from: 7, downTo: 5 };
/** Requests come in bursts, as when a commit lets all go that waited for it: the average is that of about so many. */
const AVERAGED = 128;
/** So many requests later it starts: a moment's rush, as at a start, is not worth its 20 MB. */
const RUSH = 500;
/** One for those who decide about calls, one for the thread, and one for whatever else this machine does. */
const CORES_FOR_A_THREAD = 3;

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
  /** For requests. Beyond 256 at once, from here and from a thread each, they wait in line until answered or abandoned. */
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
 *
 * While many requests are under way a thread sends them, with sockets of its own: they cost as much as all that is
 * decided about a call. One request after the other is sent sooner from here.
 */
export class ServerClient implements AsyncDisposable {
  readonly #origins = new Map<string, Origin>();
  readonly #calls = new Load();
  #mayThread: boolean;
  #thread: ServerThread | undefined;
  #average = 0;
  #many = false;
  /** Requests while there were many, less those while there were few. */
  #rush = 0;

  constructor(cores: number = availableParallelism()) {
    this.#mayThread = cores >= CORES_FOR_A_THREAD;
  }

  /** `origin` is scheme, host and port, as `URL.origin` gives it. */
  lease(origin: string): OriginLease {
    const entry = this.#origins.get(origin) ?? this.#open(origin);
    this.#origins.set(origin, entry);
    entry.leases += 1;
    let held = true;
    const release = async (): Promise<void> => {
      if (!held) return;
      held = false;
      entry.leases -= 1;
      if (entry.leases > 0) return;
      if (this.#origins.get(origin) === entry) this.#origins.delete(origin);
      this.#thread?.close(origin);
      await destroy(entry);
    };
    return { call: entry.call, stream: entry.stream, release };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#mayThread = false;
    const entries = [...this.#origins.values()];
    this.#origins.clear();
    await Promise.all([this.#thread?.end(), ...entries.map(destroy)]);
  }

  #open(origin: string): Origin {
    const calls = openPool(origin);
    const streams = openPool(origin, STREAMS_PER_ORIGIN);
    const send = bounded(CONNECTIONS_PER_ORIGIN, new Load(this.#calls), (request, reader, load) => {
      const thread = this.#threadForMany();
      if (thread) thread.send(origin, request, reader, load);
      else dispatch(calls, request, reader, load);
    });
    const stream = bounded(STREAMS_PER_ORIGIN, new Load(), (request, reader, load) =>
      dispatch(streams, request, reader, load),
    );
    return { calls, streams, call: send, stream, leases: 0 };
  }

  #threadForMany(): ServerThread | undefined {
    this.#average += (this.#calls.running - this.#average) / AVERAGED;
    this.#many = this.#average >= (this.#many ? MANY.downTo : MANY.from);
    if (!this.#mayThread) return undefined;
    if (!this.#thread) this.#rush = Math.max(0, this.#rush + (this.#many ? 1 : -1));
    if (this.#rush === RUSH) this.#startThread();
    return this.#many && this.#thread?.ready ? this.#thread : undefined;
  }

  /** Where the system lets no thread start, all goes on from here. */
  #startThread(): void {
    this.#rush = 0;
    try {
      this.#thread = new ServerThread(() => {
        this.#thread = undefined;
      });
    } catch {
      this.#thread = undefined;
    }
  }
}

function bounded(
  connections: number,
  load: Load,
  send: (request: ServerRequest, reader: ReplyReader, load: Load) => void,
): Send {
  return (request, reader) => {
    if (load.running >= connections + WAITING_PER_ORIGIN) return false;
    send(request, reader, load);
    return true;
  };
}

function dispatch(pool: Pool, request: ServerRequest, reader: ReplyReader, load: Load): void {
  const { path, method, headers = [], more, body } = request;
  const all = more?.length ? [...headers, ...more] : headers;
  pool.dispatch({ path, method, headers: all, body }, new PooledReply(reader, load));
}

async function destroy(entry: Origin): Promise<void> {
  await Promise.all([entry.calls.destroy(), entry.streams.destroy()]);
}
