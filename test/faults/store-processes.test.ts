import assert from 'node:assert/strict';
import { type ChildProcessByStdio, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readdir, readFile } from 'node:fs/promises';
import path from 'node:path';
import { createInterface } from 'node:readline';
import { DatabaseSync } from 'node:sqlite';
import type { Readable } from 'node:stream';
import { afterEach, describe, it } from 'node:test';
import { openDataDirectory } from '../../src/store/data-directory.ts';
import { isDataDirectoryHeld } from '../../src/store/data-lock.ts';
import { openStore } from '../../src/store/database.ts';
import { quietLogger, temporaryFolder } from '../support/databases.ts';

const SCRIPT = path.join(import.meta.dirname, '../support/hold-store.ts');
const children = new Set<ChildProcessByStdio<null, Readable, null>>();

/** A process that stops by itself when this one does not stop it, and the lines it says. */
function start(...args: string[]) {
  const child = spawn(process.execPath, [SCRIPT, ...args], {
    stdio: ['ignore', 'pipe', 'inherit'],
    timeout: 60_000,
  });
  children.add(child);
  const said: string[] = [];
  let wake = () => {};
  const lines = createInterface({ input: child.stdout });
  lines.on('line', (line) => {
    said.push(line);
    wake();
  });
  const closed = once(lines, 'close').finally(() => wake());
  const until = async (wanted: number) => {
    while (said.length < wanted) {
      assert.equal(child.exitCode, null, 'the process ended early');
      await new Promise<void>((resolve) => {
        wake = resolve;
      });
    }
  };
  const kill = async () => {
    child.kill('SIGKILL');
    if (child.exitCode === null && child.signalCode === null) await once(child, 'exit');
    children.delete(child);
  };
  return { child, said, until, kill, closed };
}

async function openBriefly<T>(
  folder: string,
  use: (db: Awaited<ReturnType<typeof openStore>>['db']) => Promise<T>,
) {
  const dataDir = await openDataDirectory(folder, { env: {} });
  try {
    const store = await openStore({ dataDir, logger: quietLogger() });
    const result = await use(store.db);
    await store.close();
    return result;
  } finally {
    await dataDir.close();
  }
}

describe('one data directory and several processes', () => {
  afterEach(() => {
    for (const child of children) child.kill('SIGKILL');
    children.clear();
  });

  it('refuses the second by the pid of the first, and the first goes on', async () => {
    const folder = await temporaryFolder();
    const first = start('hold', folder);
    await first.until(2);
    assert.equal(isDataDirectoryHeld(folder), true);
    const refusal = new RegExp(
      `another castellan \\(pid ${first.child.pid}, since .*\\) is running on .*choose another`,
    );
    await assert.rejects(
      openBriefly(folder, async () => {}),
      (error: Error & { kind?: string }) => error.kind === 'conflict' && refusal.test(error.message),
    );
    await first.until(first.said.length + 5);
    const outside = new DatabaseSync(path.join(folder, 'castellan.db'), { readOnly: true });
    assert.equal(outside.prepare("select count(*) as n from resources where kind = 'User'").get()?.n, 1);
    outside.close();
    await first.kill();
    assert.equal(isDataDirectoryHeld(folder), false);
  });

  it('lets exactly one of eight that start at once in', async () => {
    const folder = await temporaryFolder();
    const started = Array.from({ length: 8 }, () =>
      openDataDirectory(folder, { env: {} }).then(
        (dataDir) => ({ dataDir, reason: '' }),
        (error: Error) => ({ dataDir: undefined, reason: error.message }),
      ),
    );
    const ended = await Promise.all(started);
    const opened = ended.filter((each) => each.dataDir);
    assert.equal(opened.length, 1);
    for (const each of ended) if (!each.dataDir) assert.match(each.reason, /another castellan/);
    await opened[0]?.dataDir?.close();
  });

  it('opens at once after kill -9 of the holder, with every acknowledged row and no damage', async () => {
    const folder = await temporaryFolder();
    const acknowledged: string[] = [];
    for (let round = 0; round < 5; round += 1) {
      const holder = start('hold', folder);
      await holder.until(10 + round * 7);
      await holder.kill();
      await holder.closed;
      acknowledged.push(...holder.said.slice(1));
    }
    await openBriefly(folder, async (db) => {
      const rows = await db.selectFrom('meta').select('key').where('key', 'like', 'row %').execute();
      const kept = new Set(rows.map((row) => row.key));
      for (const row of acknowledged) assert.ok(kept.has(`row ${row}`), row);
    });
    const db = new DatabaseSync(path.join(folder, 'castellan.db'), { readOnly: true });
    assert.equal(db.prepare('pragma integrity_check').get()?.integrity_check, 'ok');
    db.close();
  });

  it('starts after kill -9 at any moment of the first creation', async () => {
    let unfinished = 0;
    // A creation is short beside what lies between two: on a busy machine it takes more kills to meet one.
    for (let round = 0; round < 8 || (unfinished === 0 && round < 80); round += 1) {
      const folder = await temporaryFolder();
      const creator = start('create', folder, '1000');
      // Another number of finished creations each time, then another fraction of the next one.
      await creator.until(1 + (round % 4));
      for (let turn = 0; turn < (round % 16) * 3; turn += 1) await new Promise(setImmediate);
      await creator.kill();
      await creator.closed;
      for (const name of await readdir(folder)) {
        const at = path.join(folder, name);
        if (!(await readdir(at)).includes('castellan.db')) unfinished += 1;
        assert.equal(await openBriefly(at, (db) => countUsers(db)), 1, `${at}: ${await readdir(at)}`);
        assert.equal(JSON.parse(await readFile(path.join(at, 'instance.json'), 'utf8')).life, 'live');
        assert.equal((await readdir(at)).filter((file) => /\.new|\.tmp/.test(file)).length, 0);
      }
    }
    assert.ok(unfinished > 0, 'no kill met an unfinished creation, so this test shows nothing');
  });
});

async function countUsers(db: Awaited<ReturnType<typeof openStore>>['db']): Promise<number> {
  return (await db.selectFrom('resources').select('uid').where('kind', '=', 'User').execute()).length;
}
