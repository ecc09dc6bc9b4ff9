import assert from 'node:assert/strict';
import path from 'node:path';
import type { DatabaseSync } from 'node:sqlite';
import { describe, test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import type { Worker } from 'node:worker_threads';
import { temporaryFolder } from '../../test/support/databases.ts';
import { eventually } from '../../test/support/processes.ts';
import { type Append, tied } from './append.ts';
import { SqliteAppends } from './sqlite-appends.ts';
import { openConnection } from './sqlite-connection.ts';
import { SqliteThread } from './sqlite-thread-dialect.ts';

const KEY = new Uint8Array(32).fill(7);

/** A table of rows, the mark that says how far it goes, and the threads that were started for it. */
class Rig implements AsyncDisposable {
  readonly file: string;
  readonly database: DatabaseSync;
  readonly thread: SqliteThread;
  readonly appends: SqliteAppends;
  readonly workers: Worker[] = [];
  #seq = 0;
  #hash = '';
  readonly #count = (worker: Worker) => void this.workers.push(worker);

  private constructor(folder: string, idleMs: number, slowMs: number) {
    this.file = path.join(folder, 'appends.db');
    this.database = openConnection(this.file);
    this.database.exec('create table rows (n, digest, hash); create table marks (id, seq, hash, seal)');
    this.database.exec("insert into marks values ('m', 0, '', '')");
    this.thread = new SqliteThread(this.file, idleMs);
    this.appends = new SqliteAppends(this.database, this.thread, slowMs);
    process.on('worker', this.#count);
  }

  /** `slowMs` is how long a commit may take on the event loop. */
  static async start(idleMs = 30_000, slowMs = 1_000): Promise<Rig> {
    return new Rig(await temporaryFolder(), idleMs, slowMs);
  }

  async append(count: number): Promise<void> {
    for (let turn = 0; turn < count; turn += 1) {
      const next = this.#next();
      assert.equal(await this.appends.append(next), tied(next).hash);
      this.#seq += 1;
      this.#hash = tied(next).hash;
    }
  }

  rows(): number {
    return Number(this.database.prepare('select count(*) as n from rows').get()?.n);
  }

  #next(): Append {
    return {
      into: 'rows',
      columns: [
        { name: 'n', type: 'bigint' },
        { name: 'digest', type: 'text' },
        { name: 'hash', type: 'text' },
      ],
      rows: [[this.#seq, 'json:{}']],
      tie: {
        key: KEY,
        label: 'row',
        before: this.#hash,
        digest: { at: 1, key: KEY },
        hashInto: 'hash',
        seal: { into: 'seal', key: KEY, parts: [] },
      },
      mark: { table: 'marks', set: { seq: this.#seq + 1 }, where: { id: 'm', seq: this.#seq } },
    };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    process.off('worker', this.#count);
    await this.thread.close();
    this.database.close();
  }
}

describe('appends to SQLite', () => {
  test('few need no thread; many get one, and go on where the few ended', async () => {
    await using it = await Rig.start();
    await it.append(20);
    assert.equal(it.workers.length, 0);
    await it.append(200);
    assert.equal(it.workers.length, 1);
    assert.equal(it.rows(), 220);
  });

  test('on a slow disk all but the first are a thread’s', async () => {
    await using it = await Rig.start(30_000, 0);
    await it.append(1);
    assert.equal(it.workers.length, 0);
    await it.append(2);
    assert.equal(it.workers.length, 1);
    assert.equal(it.rows(), 3);
  });

  test('a mark that somebody moved refuses the rows, here and in the thread', async () => {
    for (const slowMs of [1_000, 0]) {
      await using it = await Rig.start(30_000, slowMs);
      await it.append(2);
      it.database.exec('update marks set seq = 9');
      await assert.rejects(it.append(1), assert.AssertionError);
      assert.equal(it.rows(), 2);
    }
  });

  test('a thread without work ends, and the next work starts another', async () => {
    await using it = await Rig.start(50, 0);
    await it.append(2);
    assert.equal(it.workers.length, 1);
    await eventually('it has ended', () => !it.thread.isRunning);
    // The disk is judged anew.
    await it.append(1);
    assert.equal(it.workers.length, 1);
    await it.append(1);
    assert.equal(it.workers.length, 2);
    await Promise.all(
      Array.from({ length: 20 }, async (_, at) => {
        await delay(at * 10);
        const [row] = await it.thread.read({ sql: 'select count(*) as n from rows', parameters: [] });
        assert.deepEqual({ ...(row as object) }, { n: 4 });
      }),
    );
  });
});
