import type { DatabaseSync } from 'node:sqlite';
import type { Append } from './append.ts';
import { namedFault } from './fault.ts';
import { SqliteAppender } from './sqlite-appender.ts';
import type { SqliteThread } from './sqlite-thread-dialect.ts';

/** Appends in a second from which on they are a thread's work. */
const MANY = 50;
const WINDOW_MS = 1_000;
/** A disk on which commits take longer keeps everybody waiting: they are a thread's work too. */
const SLOW_MS = 2;
/** How many commits that is the average of, about: each now and then waits for a checkpoint. */
const AVERAGED = 8;

/** Commits appends in a thread, which is worth its 18 MB once there are many, or when the disk is slow. */
export class SqliteAppends {
  readonly #thread: SqliteThread;
  readonly #here: SqliteAppender;
  readonly #slowMs: number;
  #windowStart = 0;
  #inWindow = 0;
  #averageMs = 0;

  /** @param database a connection that nobody else uses while `append` runs */
  constructor(database: DatabaseSync, thread: SqliteThread, slowMs: number = SLOW_MS) {
    this.#slowMs = slowMs;
    this.#here = new SqliteAppender(database);
    this.#thread = thread;
  }

  /** The hash of the last row; undefined when the mark was not where it should be, and nothing was written. */
  async append(append: Append): Promise<string | undefined> {
    const now = performance.now();
    if (now - this.#windowStart > WINDOW_MS) {
      this.#windowStart = now;
      this.#inWindow = 0;
    }
    this.#inWindow += 1;
    if (this.#thread.isRunning || this.#inWindow > MANY || this.#isSlow()) return this.#thread.append(append);
    try {
      return this.#here.append(append);
    } catch (error) {
      throw namedFault(error);
    } finally {
      this.#averageMs += (performance.now() - now - this.#averageMs) / AVERAGED;
    }
  }

  /** Once the thread has ended for want of work, the disk is judged anew. */
  #isSlow(): boolean {
    const slow = this.#averageMs > this.#slowMs;
    if (slow) this.#averageMs = 0;
    return slow;
  }
}
