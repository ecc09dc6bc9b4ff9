import assert from 'node:assert/strict';
import { chmod, lstat, mkdir, readdir, readFile, rm, symlink, truncate, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { describe, it } from 'node:test';
import { quietLogger, TEST_MASTER_KEY, temporaryFolder } from '../../test/support/databases.ts';
import { type DataDirectory, openDataDirectory } from './data-directory.ts';
import { openStore } from './database.ts';

const mode = async (file: string) => (await lstat(file)).mode & 0o777;

async function inUse(): Promise<string> {
  const folder = await temporaryFolder();
  await withStore(folder, async () => {});
  return folder;
}

async function withStore(folder: string, use: (dataDir: DataDirectory) => Promise<void>): Promise<void> {
  const dataDir = await openDataDirectory(folder, { env: {} });
  try {
    const store = await openStore({ dataDir, logger: quietLogger() });
    await use(dataDir);
    await store.close();
  } finally {
    await dataDir.close();
  }
}

describe('data directory', () => {
  it('is made 0700 with 0600 files even under umask 000, log and shared memory included', async () => {
    const folder = path.join(await temporaryFolder(), 'a', 'b');
    const before = process.umask(0);
    try {
      await withStore(folder, async () => {
        assert.equal(await mode(folder), 0o700);
        const names = await readdir(folder);
        for (const name of [
          'castellan.db',
          'castellan.db-wal',
          'castellan.db-shm',
          'master.key',
          'instance.json',
        ]) {
          assert.ok(names.includes(name), name);
        }
        for (const name of names) assert.equal(await mode(path.join(folder, name)), 0o600, name);
      });
    } finally {
      process.umask(before);
    }
  });

  it('keeps its id, its key and what it sealed from start to start', async () => {
    const folder = await temporaryFolder();
    let first: { id: string; sealed: string } | undefined;
    await withStore(folder, async ({ instanceId, sealer, masterKeyOrigin }) => {
      assert.equal(masterKeyOrigin, 'generated');
      first = { id: instanceId, sealed: sealer.seal('test', 'kept') };
    });
    await withStore(folder, async ({ instanceId, sealer, life }) => {
      assert.equal(life, 'live');
      assert.equal(instanceId, first?.id);
      assert.deepEqual(sealer.open('test', first?.sealed ?? ''), { ok: true, value: 'kept' });
    });
  });

  it('closes files that another umask left open', async () => {
    const folder = await inUse();
    await chmod(path.join(folder, 'castellan.db'), 0o644);
    await chmod(path.join(folder, 'master.key'), 0o666);
    await chmod(folder, 0o755);
    await withStore(folder, async () => {
      assert.equal(await mode(folder), 0o700);
      assert.equal(await mode(path.join(folder, 'castellan.db')), 0o600);
      assert.equal(await mode(path.join(folder, 'master.key')), 0o600);
    });
  });

  it('resolves a link to the directory and refuses links in it', async () => {
    const folder = await inUse();
    const link = path.join(await temporaryFolder(), 'link');
    await symlink(folder, link);
    await withStore(link, async (dataDir) => assert.equal(dataDir.path, folder));
    const elsewhere = path.join(await temporaryFolder(), 'key');
    await writeFile(elsewhere, await readFile(path.join(folder, 'master.key')));
    await rm(path.join(folder, 'master.key'));
    await symlink(elsewhere, path.join(folder, 'master.key'));
    await assert.rejects(openDataDirectory(folder, { env: {} }), /master\.key is a symbolic link/);
  });

  it('is no folder that serves others', async () => {
    const shared = path.join(await temporaryFolder(), 'shared');
    await mkdir(shared);
    await chmod(shared, 0o1777);
    await writeFile(path.join(shared, 'of-someone-else'), '');
    await assert.rejects(openDataDirectory(shared, { env: {} }), /choose a folder of its own/);
    assert.equal((await lstat(shared)).mode & 0o7777, 0o1777);
    const file = path.join(shared, 'of-someone-else');
    await assert.rejects(openDataDirectory(file, { env: {} }), /is not a folder; choose another --data-dir/);
    await assert.rejects(openDataDirectory(path.join(file, 'x'), { env: {} }), /is not a folder/);
  });

  it('may hold other files of its owner', async () => {
    const folder = await temporaryFolder();
    await chmod(folder, 0o755);
    await writeFile(path.join(folder, 'castellan.yaml'), '');
    await withStore(folder, async () => assert.equal(await mode(folder), 0o700));
  });

  it('refuses an empty, cut or missing key, and leaves everything as it was', async () => {
    const folder = await inUse();
    const key = path.join(folder, 'master.key');
    const text = await readFile(key, 'utf8');
    await truncate(key, 0);
    await assert.rejects(
      openDataDirectory(folder, { env: {} }),
      /master\.key: the master key is empty; restore/,
    );
    await truncate(key, 20);
    await assert.rejects(openDataDirectory(folder, { env: {} }), /restore .*master\.key from a backup/);
    await rm(key);
    await assert.rejects(
      openDataDirectory(folder, { env: {} }),
      /master\.key is missing.*restore it from a backup/,
    );
    assert.ok(!(await readdir(folder)).includes('master.key'));
    await writeFile(key, text);
    await withStore(folder, async () => {});
  });

  it('refuses a damaged instance file and survives its loss', async () => {
    const folder = await inUse();
    const instance = path.join(folder, 'instance.json');
    for (const content of ['', '{', '{"id":"x","life":"new"}', 'null']) {
      await writeFile(instance, content);
      await assert.rejects(openDataDirectory(folder, { env: {} }), /instance\.json is damaged/);
    }
    await rm(instance);
    await withStore(folder, async (dataDir) => assert.equal(dataDir.life, 'live'));
  });

  it('needs a key from outside when the database is shared, and generates none', async () => {
    const folder = await temporaryFolder();
    const databaseUrl = 'postgres://localhost/x';
    await assert.rejects(
      openDataDirectory(folder, { env: {}, databaseUrl }),
      /CASTELLAN_MASTER_KEY or CASTELLAN_MASTER_KEY_FILE is required/,
    );
    assert.deepEqual(await readdir(folder), []);
    const dataDir = await openDataDirectory(folder, {
      env: { CASTELLAN_MASTER_KEY: TEST_MASTER_KEY },
      databaseUrl,
    });
    assert.equal(dataDir.masterKeyOrigin, 'environment');
    await dataDir.close();
    assert.ok(!(await readdir(folder)).includes('master.key'));
  });

  it('is released by close, twice harmlessly, and held against this very process until then', async () => {
    const folder = await temporaryFolder();
    const dataDir = await openDataDirectory(folder, { env: {} });
    await assert.rejects(
      openDataDirectory(folder, { env: {} }),
      new RegExp(`another castellan \\(pid ${process.pid}, `),
    );
    await dataDir.close();
    await dataDir.close();
    await (await openDataDirectory(folder, { env: {} })).close();
  });
});
