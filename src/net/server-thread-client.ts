import type { Worker } from 'node:worker_threads';
import { startThread } from '../base/thread.ts';
import type { Load, ReplyHead, ReplyReader } from './reply.ts';
import type { ServerRequest } from './server-client.ts';
// Loaded here as well, so that its compiled code is kept when the process ends: see `startThread`.
import { type FromThread, TOGETHER, type ToThread, type WholeHead } from './server-thread.ts';

const MAX_HEADER_SETS = 1_000;
/** How long a thread without work is kept. */
const IDLE_MS = 30_000;
const NO_HEADERS: string[] = [];

type Waiting = { reader: ReplyReader; load: Load };

/** Hears the rest of a reply that nobody reads any more. */
const DEAF: ReplyReader = {
  begun() {},
  head() {},
  data: () => true,
  end() {},
  whole() {},
  failed() {},
};

/**
 * Sends requests from a thread and hears of their replies. It ends when there was nothing to do for half a minute, or
 * when the thread died; what was under way then has failed, and a new one takes its place.
 */
export class ServerThread {
  readonly #worker: Worker;
  readonly #ended: () => void;
  readonly #waiting: (Waiting | undefined)[] = [];
  readonly #freeIds: number[] = [];
  readonly #idle: NodeJS.Timeout;
  #running = 0;
  #used = true;
  #ready = false;
  #isOver = false;
  #orders: ToThread[] = [];
  #headerSets = new WeakMap<string[], number>();
  #knownSets = 0;

  /** @param ended called once */
  constructor(ended: () => void) {
    this.#ended = ended;
    this.#worker = startThread('server-thread', import.meta.url);
    this.#worker.on('message', (batch: FromThread[]) => {
      this.#ready = true;
      for (const news of batch) this.#hear(news);
    });
    this.#worker.on('error', (error) => this.#over(error));
    this.#worker.on('exit', () => this.#over(new Error('the thread ended')));
    this.#worker.unref();
    this.#idle = setInterval(() => this.#rest(), IDLE_MS).unref();
  }

  /** Whether it has started. What it is given before that waits for it. */
  get ready(): boolean {
    return this.#ready;
  }

  send(origin: string, request: ServerRequest, reader: ReplyReader, load: Load): void {
    const { method, path, headers = NO_HEADERS, more, body } = request;
    const set = this.#numberOf(headers);
    const id = this.#freeIds.pop() ?? this.#waiting.length;
    const waiting = { reader, load };
    this.#waiting[id] = waiting;
    load.begin();
    this.#used = true;
    this.#running += 1;
    // Whoever waits for a reply keeps the process alive, an idle thread does not.
    if (this.#running === 1) this.#worker.ref();
    this.#order(['call', id, set, [origin, method, path, more?.length ? more : undefined, body]]);
    reader.begun(() => {
      // Afterwards the id is somebody else's.
      if (this.#waiting[id] === waiting) this.#order(['abort', id]);
    });
  }

  /** Gives up the sockets, and the headers too: credentials of that origin may be among them. */
  close(origin: string): void {
    this.#order(['close', origin]);
    this.#forgetHeaders();
  }

  async end(): Promise<void> {
    this.#over(new Error('the thread was ended'));
    await this.#worker.terminate();
  }

  #numberOf(headers: string[]): number {
    let set = this.#headerSets.get(headers);
    if (set === undefined) {
      if (this.#knownSets === MAX_HEADER_SETS) this.#forgetHeaders();
      this.#knownSets += 1;
      set = this.#knownSets;
      this.#headerSets.set(headers, set);
      this.#order(['headers', set, headers]);
    }
    return set;
  }

  #forgetHeaders(): void {
    this.#headerSets = new WeakMap();
    this.#knownSets = 0;
    this.#order(['forget']);
  }

  /** Orders of one turn of the event loop leave in few messages. */
  #order(order: ToThread): void {
    if (this.#orders.length === 0) setImmediate(() => this.#flush());
    this.#orders.push(order);
    if (this.#orders.length === TOGETHER) this.#flush();
  }

  #flush(): void {
    if (this.#orders.length === 0) return;
    const batch = this.#orders;
    this.#orders = [];
    this.#worker.postMessage(batch);
  }

  #hear(news: FromThread): void {
    const id = news[1];
    const waiting = this.#waiting[id];
    if (!waiting) return;
    const { reader } = waiting;
    try {
      this.#pass(news, reader);
    } catch (error) {
      // Nobody else's reply is lost for it.
      if (this.#waiting[id] === waiting) this.#order(['abort', id]);
      waiting.reader = DEAF;
      reader.failed(error as Error, true);
    }
  }

  #pass(news: FromThread, reader: ReplyReader): void {
    const [kind, id] = news;
    switch (kind) {
      case 'whole':
        this.#settled(id);
        reader.whole(headOf(news[4]), news[2], news[3]);
        return;
      case 'head':
        reader.head(news[2], () => {});
        return;
      case 'data': {
        const { buffer, byteOffset, byteLength } = news[2];
        this.#order(['read', id, byteLength]);
        reader.data(Buffer.from(buffer, byteOffset, byteLength));
        return;
      }
      case 'end':
        this.#settled(id);
        reader.end();
        return;
      case 'failed':
        this.#settled(id);
        reader.failed(errorOf(news[3]), news[2]);
    }
  }

  #settled(id: number): void {
    this.#waiting[id]?.load.end();
    this.#waiting[id] = undefined;
    this.#freeIds.push(id);
    this.#running -= 1;
    if (this.#running === 0) this.#worker.unref();
  }

  #rest(): void {
    if (this.#running === 0 && !this.#used) void this.end();
    this.#used = false;
  }

  /** Whether what is under way was sent is not known then. */
  #over(error: Error): void {
    if (this.#isOver) return;
    this.#isOver = true;
    clearInterval(this.#idle);
    this.#ended();
    for (const [id, waiting] of this.#waiting.entries()) {
      if (!waiting) continue;
      this.#settled(id);
      waiting.reader.failed(error, true);
    }
  }
}

function headOf([
  status,
  contentType,
  contentLength,
  contentEncoding,
  sessionId,
  challenge,
  location,
]: WholeHead): ReplyHead {
  return { status, contentType, contentLength, contentEncoding, sessionId, challenge, location };
}

function errorOf({ name, message, code }: { name: string; message: string; code?: unknown }): Error {
  return Object.assign(new Error(message), { name, code });
}
