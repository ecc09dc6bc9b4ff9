import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { readdir } from 'node:fs/promises';
import { describe, it } from 'node:test';
import { openDataDirectory } from '../../src/store/data-directory.ts';
import { openStore, type Store } from '../../src/store/database.ts';
import { quietLogger, temporaryFolder } from '../support/databases.ts';

/** Why this machine cannot mount a small file system of its own; false when it can. */
const skip = (await canMount()) ? false : 'needs Linux and the right to mount a tmpfs';

async function canMount(): Promise<boolean> {
  if (process.platform !== 'linux' || process.getuid?.() !== 0) return false;
  const folder = await temporaryFolder();
  return mount(['-t', 'tmpfs', 'tmpfs', folder]) && unmount(folder);
}

function mount(args: string[]): boolean {
  try {
    execFileSync('mount', args, { stdio: 'ignore' });
    return true;
  } catch {
    return false;
  }
}

function unmount(at: string): boolean {
  execFileSync('umount', [at], { stdio: 'ignore' });
  return true;
}

async function onFileSystem(options: string, use: (folder: string) => Promise<void>): Promise<void> {
  const folder = await temporaryFolder();
  assert.ok(mount(['-t', 'tmpfs', '-o', options, 'tmpfs', folder]));
  try {
    await use(folder);
  } finally {
    unmount(folder);
  }
}

async function withStore(folder: string, use: (store: Store) => Promise<void>): Promise<void> {
  const dataDir = await openDataDirectory(folder, { env: {} });
  try {
    const store = await openStore({ dataDir, logger: quietLogger() });
    try {
      await use(store);
    } finally {
      await store.close();
    }
  } finally {
    await dataDir.close();
  }
}

const unavailable = (reason: RegExp) => (error: Error & { kind?: string }) => {
  assert.equal(error.kind, 'unavailable', error.stack);
  assert.match(error.message, reason);
  return true;
};

describe('a full disk', { skip }, () => {
  it('stops a first start by name at every size, and the start after it works', async () => {
    for (const size of ['4k', '8k', '12k', '16k', '24k', '40k', '64k', '96k', '160k']) {
      await onFileSystem(`size=${size}`, async (folder) => {
        await assert.rejects(
          withStore(folder, async () => {}),
          unavailable(/disk (is )?full|is it full|no space left/),
        );
        assert.ok(!(await readdir(folder)).includes('castellan.db'), size);
        assert.ok(mount(['-o', 'remount,size=16m', folder]));
        await withStore(folder, async (store) => assert.ok((await store.ready()).ok));
      });
    }
  });

  it('under way refuses writes, serves reads, loses nothing acknowledged, and recovers without a restart', async () => {
    await onFileSystem('size=1m', async (folder) => {
      let written = 0;
      await withStore(folder, async (store) => {
        const write = () =>
          store.db
            .insertInto('meta')
            .values({ key: `row ${written}`, value: 'x'.repeat(9_000) })
            .execute();
        const count = async () =>
          (await store.db.selectFrom('meta').select('key').where('key', 'like', 'row %').execute()).length;
        await assert.rejects(
          async () => {
            for (; written < 1_000; written += 1) await write();
          },
          unavailable(/disk is full|I\/O error/),
        );
        assert.ok(written > 0);
        assert.equal(await count(), written);
        assert.ok(mount(['-o', 'remount,size=16m', folder]));
        await write();
        written += 1;
        assert.equal(await count(), written);
      });
      await withStore(folder, async (store) => {
        assert.equal(
          (await store.db.selectFrom('meta').select('key').where('key', 'like', 'row %').execute()).length,
          written,
        );
      });
    });
  });

  it('that is read-only is told', async () => {
    await onFileSystem('size=16m', async (folder) => {
      await withStore(folder, async () => {});
      assert.ok(mount(['-o', 'remount,ro', folder]));
      await assert.rejects(
        withStore(folder, async () => {}),
        unavailable(/read-only file system/),
      );
    });
  });
});
