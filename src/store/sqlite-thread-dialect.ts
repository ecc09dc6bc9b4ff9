import type { Worker } from 'node:worker_threads';
import { type DatabaseConnection, type Driver, type QueryResult, SqliteDialect } from 'kysely';
import { messageOf, Refusal } from '../base/errors.ts';
import { startThread } from '../base/thread.ts';
import type { Append, Statement } from './append.ts';
import { namedFault } from './fault.ts';
// Loaded here as well, so that its compiled code is kept when the process ends: see `startThread`.
import './sqlite-thread.ts';
import type { ThreadReply, ThreadRequest } from './sqlite-thread.ts';

type Waiting = { resolve(reply: ThreadReply): void; reject(error: unknown): void };

/** How long a thread without work is kept. */
const IDLE_MS = 30_000;

/**
 * Reads and appends in a thread, which starts with the first of them and ends when there was nothing to do for half a
 * minute. One that died is replaced by the next request.
 */
export class SqliteThread {
  readonly #file: string;
  readonly #idleMs: number;
  #worker: Worker | undefined;
  #waiting: Waiting[] = [];
  #closed = false;
  #used = true;
  #idle: NodeJS.Timeout | undefined;
  #resting: Promise<unknown> | undefined;

  constructor(file: string, idleMs: number = IDLE_MS) {
    this.#file = file;
    this.#idleMs = idleMs;
  }

  get isRunning(): boolean {
    return this.#worker !== undefined;
  }

  async read({ sql, parameters }: Statement): Promise<unknown[]> {
    const reply = await this.#ask({ kind: 'read', sql, parameters });
    return 'rows' in reply ? reply.rows : [];
  }

  /** The hash of the last row; undefined when the mark was not where it should be, and nothing was written. */
  async append(append: Append): Promise<string | undefined> {
    const reply = await this.#ask({ kind: 'append', append });
    return 'hash' in reply ? reply.hash : undefined;
  }

  /** What was asked before is still answered. */
  async close(): Promise<void> {
    if (this.#closed) return;
    const worker = this.#worker;
    const last = worker && this.#ask({ kind: 'close' });
    this.#closed = true;
    clearInterval(this.#idle);
    await last?.catch(() => {});
    await Promise.all([worker?.terminate(), this.#resting]);
  }

  #ask(request: ThreadRequest): Promise<ThreadReply> {
    if (this.#closed) return Promise.reject(unavailable(new Error('the database is closed')));
    let worker: Worker;
    try {
      worker = this.#started();
    } catch (error) {
      return Promise.reject(unavailable(error));
    }
    return new Promise((resolve, reject) => {
      // Whoever waits for an answer keeps the process alive, an idle thread does not.
      if (this.#waiting.length === 0) worker.ref();
      this.#used = true;
      this.#waiting.push({
        resolve: (reply) => ('error' in reply ? reject(asError(reply.error)) : resolve(reply)),
        reject,
      });
      worker.postMessage(request);
    });
  }

  #started(): Worker {
    if (this.#worker) return this.#worker;
    const worker = startThread('sqlite-thread', import.meta.url, { workerData: this.#file });
    worker.on('message', (reply: ThreadReply) => {
      if (this.#worker !== worker) return;
      const waiting = this.#waiting.shift();
      if (this.#waiting.length === 0) worker.unref();
      waiting?.resolve(reply);
    });
    worker.on('error', (error) => this.#lost(worker, error));
    worker.on('exit', () => this.#lost(worker, new Error('its thread ended')));
    this.#worker = worker;
    this.#idle = setInterval(() => this.#rest(worker), this.#idleMs).unref();
    return worker;
  }

  /** The next request is another one's. */
  #rest(worker: Worker): void {
    const idle = this.#waiting.length === 0 && !this.#used;
    this.#used = false;
    if (!idle) return;
    this.#forget();
    this.#resting = new Promise((resolve) => {
      worker.ref();
      worker.once('message', () => void worker.terminate());
      worker.once('exit', resolve);
      worker.postMessage({ kind: 'close' } satisfies ThreadRequest);
    });
  }

  #forget(): void {
    clearInterval(this.#idle);
    this.#worker = undefined;
  }

  #lost(worker: Worker, error: unknown): void {
    if (this.#worker !== worker) return;
    this.#forget();
    const waiting = this.#waiting;
    this.#waiting = [];
    for (const one of waiting) one.reject(unavailable(error));
  }
}

function asError({ message, ...codes }: { message: string; errcode?: number; code?: string }): unknown {
  return namedFault(Object.assign(new Error(message), codes));
}

function unavailable(error: unknown): Refusal {
  return new Refusal('unavailable', `the database is not available: ${messageOf(error)}; try again`);
}

/** The thread's connection for kysely, to read with. */
export class SqliteThreadDialect extends SqliteDialect {
  readonly #thread: SqliteThread;

  constructor(thread: SqliteThread) {
    super({ database: () => Promise.reject(new Error('the connection is in its thread')) });
    this.#thread = thread;
  }

  override createDriver(): Driver {
    const thread = this.#thread;
    const connection: DatabaseConnection = {
      async executeQuery<Row>(statement: Statement): Promise<QueryResult<Row>> {
        return { rows: (await thread.read(statement)) as Row[] };
      },
      streamQuery: () => readOnly(),
    };
    return {
      init: async () => {},
      acquireConnection: async () => connection,
      // Appends go through the same connection and would end up in it.
      beginTransaction: readOnly,
      commitTransaction: readOnly,
      rollbackTransaction: readOnly,
      releaseConnection: async () => {},
      destroy: async () => {},
    };
  }
}

function readOnly(): never {
  throw new Error('this connection reads alone, and in pages');
}
