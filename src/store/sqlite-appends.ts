import type { DatabaseSync } from 'node:sqlite';
import type { Append } from './append.ts';
import { namedFault } from './fault.ts';
import { SqliteAppender } from './sqlite-appender.ts';
import type { SqliteThread } from './sqlite-thread-dialect.ts';

/** Appends in a second from which on they are a thread's work. */
const MANY = 50;
const WINDOW_MS = 1_000;
/** A disk on which a commit takes longer keeps everybody waiting: its commits always are. */
const SLOW_MS = 2;

/** Commits appends in a thread, which is worth its 18 MB once there are many, or when the disk is slow. */
export class SqliteAppends {
  readonly #thread: SqliteThread;
  readonly #here: SqliteAppender;
  readonly #slowMs: number;
  #windowStart = 0;
  #inWindow = 0;
  #slow = false;

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
    if (this.#thread.isRunning || this.#slow || this.#inWindow > MANY) return this.#thread.append(append);
    try {
      return this.#here.append(append);
    } catch (error) {
      throw namedFault(error);
    } finally {
      this.#slow = performance.now() - now > this.#slowMs;
    }
  }
}
