import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import {
  copyFile,
  mkdir,
  open,
  readdir,
  readFile,
  rename,
  rm,
  stat,
  symlink,
  truncate,
  writeFile,
} from 'node:fs/promises';
import path from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { describe, it } from 'node:test';
import { sql } from 'kysely';
import { quietLogger, TEST_MASTER_KEY, temporaryFolder } from '../../test/support/databases.ts';
import { openDataDirectory } from './data-directory.ts';
import { openStore, type Store } from './database.ts';
import { SCHEMA_VERSION } from './migrator.ts';

async function withStore<T>(
  folder: string,
  use: (store: Store) => Promise<T>,
  env: NodeJS.ProcessEnv = {},
): Promise<T> {
  const dataDir = await openDataDirectory(folder, { env });
  try {
    const store = await openStore({ dataDir, logger: quietLogger() });
    const result = await use(store);
    await store.close();
    return result;
  } finally {
    await dataDir.close();
  }
}

async function inUse(rows = 50): Promise<{ folder: string; file: string }> {
  const folder = await temporaryFolder();
  await withStore(folder, async (store) => {
    for (let row = 0; row < rows; row += 1) {
      await store.db
        .insertInto('meta')
        .values({ key: `row ${row}`, value: 'x'.repeat(500) })
        .execute();
    }
  });
  return { folder, file: path.join(folder, 'castellan.db') };
}

/** Refused for this reason, with a way out, and the file is what it was. */
async function refusesToStart(folder: string, reason: RegExp): Promise<void> {
  const file = path.join(folder, 'castellan.db');
  const digest = async () =>
    createHash('sha256')
      .update(await readFile(file))
      .digest('hex');
  const before = await digest();
  await assert.rejects(
    withStore(folder, async () => {}),
    (error: Error & { kind?: string }) => {
      assert.equal(error.name, 'Refusal', error.stack);
      assert.match(error.message, reason);
      assert.match(error.message, /restore|start that version|move the database/);
      return true;
    },
  );
  assert.equal(await digest(), before);
  assert.ok(!(await readdir(folder)).includes('castellan.db.new'));
}

describe('castellan.db', () => {
  it('carries its application id and version, in write-ahead mode with full sync', async () => {
    const { file } = await inUse(1);
    const db = new DatabaseSync(file, { readOnly: true });
    assert.equal(db.prepare('pragma application_id').get()?.application_id, 0x4373746c);
    assert.equal(db.prepare('pragma user_version').get()?.user_version, SCHEMA_VERSION);
    assert.equal(db.prepare('pragma journal_mode').get()?.journal_mode, 'wal');
    db.close();
    const folder = await temporaryFolder();
    await withStore(folder, async (store) => {
      const outside = new DatabaseSync(path.join(folder, 'castellan.db'), { readOnly: true });
      assert.equal(
        outside.prepare("select count(*) as n from resources where kind = 'User'").get()?.n,
        1,
        'readable from outside',
      );
      outside.close();
      assert.equal((await store.ready()).ok, true);
    });
  });

  it('keeps its rows from start to start and leaves no log after a clean close', async () => {
    const { folder } = await inUse(50);
    assert.deepEqual(
      (await readdir(folder)).filter((name) => name.startsWith('castellan.db')),
      ['castellan.db'],
    );
    await withStore(folder, async (store) => {
      const rows = await store.db.selectFrom('meta').select('key').where('key', 'like', 'row %').execute();
      assert.equal(rows.length, 50);
    });
  });

  it('of 0 bytes is refused', async () => {
    const { folder, file } = await inUse();
    await truncate(file, 0);
    await refusesToStart(folder, /castellan\.db is empty \(0 bytes\)/);
  });

  it('cut short, at any place, is refused', async () => {
    const { folder, file } = await inUse();
    const whole = await readFile(file);
    for (const size of [1, 50, 100, 4_096, 4_097, whole.length - 4_096, whole.length - 1]) {
      await writeFile(file, whole.subarray(0, size));
      await refusesToStart(folder, /damaged|no SQLite database/);
    }
    await writeFile(file, whole);
    await withStore(folder, async () => {});
  });

  it('with overwritten pages is refused', async () => {
    const { folder, file } = await inUse(400);
    const handle = await open(file, 'r+');
    const { size } = await stat(file);
    for (let page = 2; page < size / 4_096; page += 3)
      await handle.write(Buffer.alloc(512, 0xee), 0, 512, page * 4_096);
    await handle.close();
    await refusesToStart(folder, /castellan\.db is damaged \(.+\)/);
  });

  it('that is text, or another program’s database, is refused and not touched', async () => {
    const { folder, file } = await inUse();
    await writeFile(file, 'this is a shopping list\n'.repeat(500));
    await refusesToStart(folder, /no SQLite database at all/);
    await rm(file);
    const foreign = new DatabaseSync(file);
    foreign.exec('create table users (x)');
    foreign.close();
    await refusesToStart(folder, /database of another program/);
  });

  it('of a newer Castellan is refused, by version and by migration', async () => {
    const { folder, file } = await inUse();
    const backup = `${file}.kept`;
    await copyFile(file, backup);
    let db = new DatabaseSync(file);
    db.exec('pragma user_version = 99');
    db.close();
    await refusesToStart(folder, /newer Castellan \(its version is 99, this build knows \d+\)/);
    await rename(backup, file);
    db = new DatabaseSync(file);
    db.exec(`insert into castellan_migration values ('9999-from-the-future', '2099-01-01T00:00:00.000Z')`);
    db.close();
    await refusesToStart(folder, /newer Castellan \(it has 9999-from-the-future\)/);
  });

  it('that is missing from a directory in use is not made anew', async () => {
    const { folder, file } = await inUse();
    await rename(file, `${file}.moved`);
    await assert.rejects(
      withStore(folder, async () => {}),
      /castellan\.db is missing, though this data directory was in use/,
    );
    await rm(path.join(folder, 'instance.json'));
    await assert.rejects(
      withStore(folder, async () => {}),
      /castellan\.db is missing/,
      'the key alone is proof enough',
    );
    assert.ok(!(await readdir(folder)).includes('castellan.db'));
    await rename(`${file}.moved`, file);
    await withStore(folder, async () => {});
  });

  it('that is missing is not made anew either when the key came from the environment', async () => {
    const folder = await temporaryFolder();
    const env = { CASTELLAN_MASTER_KEY: TEST_MASTER_KEY };
    await withStore(folder, async () => {}, env);
    await rm(path.join(folder, 'castellan.db'));
    await assert.rejects(
      withStore(folder, async () => {}, env),
      /castellan\.db is missing/,
    );
  });

  it('that is a link or a folder, or a log without its database, is refused', async () => {
    const { folder, file } = await inUse();
    const elsewhere = path.join(await temporaryFolder(), 'db');
    await rename(file, elsewhere);
    await symlink(elsewhere, file);
    await refusesToStart(folder, /is a symbolic link/);
    await rm(file);
    await mkdir(file);
    await assert.rejects(
      withStore(folder, async () => {}),
      /is not a plain file/,
    );
    const fresh = await temporaryFolder();
    await writeFile(path.join(fresh, 'castellan.db-wal'), 'rows that were acknowledged');
    await assert.rejects(
      withStore(fresh, async () => {}),
      /castellan\.db is missing, its write-ahead log .* is not/,
    );
  });

  it('made with another key is refused', async () => {
    const { folder } = await inUse();
    const env = { CASTELLAN_MASTER_KEY: TEST_MASTER_KEY };
    await assert.rejects(
      withStore(folder, async () => {}, env),
      /CASTELLAN_MASTER_KEY is not the key that .*castellan\.db was made with/,
    );
    await withStore(folder, async () => {});
  });

  it('that is locked, full or read-only now is told as such, and serves again afterwards', async () => {
    const { folder, file } = await inUse();
    await withStore(folder, async (store) => {
      const write = () =>
        store.db
          .insertInto('meta')
          .values({ key: `k${Math.random()}`, value: 'x'.repeat(20_000) })
          .execute();
      const refusedFor = (reason: RegExp) =>
        assert.rejects(
          write(),
          (error: Error & { kind?: string }) => error.kind === 'unavailable' && reason.test(error.message),
        );
      const outside = new DatabaseSync(file);
      outside.exec('begin immediate');
      await refusedFor(/not available: another program holds the file/);
      outside.exec('rollback');
      outside.close();
      await write();
      const { rows } = await sql<{ page_count: number }>`pragma page_count`.execute(store.db);
      await sql`pragma max_page_count = ${sql.lit(rows[0]?.page_count)}`.execute(store.db);
      await refusedFor(/not available: the disk is full/);
      const inTransaction = store.db.transaction().execute(async (transaction) => {
        for (let row = 0; row < 50; row += 1) {
          await transaction
            .insertInto('meta')
            .values({ key: `t${row}`, value: 'x'.repeat(20_000) })
            .execute();
        }
      });
      await assert.rejects(inTransaction, /not available: the disk is full/);
      await sql`pragma max_page_count = 1073741823`.execute(store.db);
      await sql`pragma query_only = on`.execute(store.db);
      await refusedFor(/not available: .* read-only/);
      assert.equal((await store.ready()).ok, true, 'reads go on');
      await sql`pragma query_only = off`.execute(store.db);
      await write();
    });
  });

  it('resumes a first creation that was killed, wherever that was', async () => {
    const whole = await inUse(0);
    const id = JSON.parse(await readFile(path.join(whole.folder, 'instance.json'), 'utf8')).id;
    const instance = JSON.stringify({ id, life: 'new' });
    const key = await readFile(path.join(whole.folder, 'master.key'));
    const database = await readFile(whole.file);
    const states: Record<string, string | Buffer>[] = [
      { 'castellan.lock': '' },
      { '.castellan-0123456789abcdef.tmp': 'half' },
      { 'instance.json': instance },
      { 'instance.json': instance, '.castellan-0123456789abcdef.tmp': '' },
      { 'instance.json': instance, 'master.key': key },
      { 'instance.json': instance, 'master.key': key, 'castellan.db.new': '' },
      {
        'instance.json': instance,
        'master.key': key,
        'castellan.db.new': database.subarray(0, 5_000),
        'castellan.db.new-wal': 'half a log',
        'castellan.db.new-shm': 'x',
      },
      { 'instance.json': instance, 'master.key': key, 'castellan.db.new': database },
      { 'instance.json': instance, 'master.key': key, 'castellan.db': database },
    ];
    for (const files of states) {
      const folder = await temporaryFolder();
      for (const [name, content] of Object.entries(files)) await writeFile(path.join(folder, name), content);
      await withStore(folder, async (store) => {
        assert.equal(
          (
            await store.db
              .selectFrom('resources')
              .select('name')
              .where('kind', '=', 'User')
              .executeTakeFirstOrThrow()
          ).name,
          'admin',
        );
      });
      const left = (await readdir(folder)).sort();
      assert.deepEqual(
        left,
        ['castellan.db', 'castellan.lock', 'instance.json', 'master.key'],
        Object.keys(files).join(),
      );
    }
  });
});
