import { lstatSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { hostname } from 'node:os';
import path from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { setTimeout as delay } from 'node:timers/promises';
import { Refusal } from '../base/errors.ts';
import { createPrivateFile, readPrivateFile, writePrivateFile } from './private-file.ts';

const LOCK_FILE = 'castellan.lock';
const HOLDER_FILE = 'castellan.pid';
const SQLITE_BUSY = 5;
const ATTEMPTS = 5;
const ATTEMPT_MS = 40;

export type DataLock = { release(): Promise<void> };

/**
 * Makes this process the only one on a data directory. The lock is an exclusive SQLite transaction on a file that
 * stays empty: the system drops it when the process dies, however it dies. The holder's pid stands in a file beside
 * it, for the message alone.
 * @throws Refusal `conflict` naming the holder
 */
export async function acquireDataLock(folder: string): Promise<DataLock> {
  const file = path.join(folder, LOCK_FILE);
  await createLockFile(file);
  const lock = await takeLock(file);
  if (!lock) throw await heldByAnother(folder);
  const holder = path.join(folder, HOLDER_FILE);
  try {
    const content = { pid: process.pid, host: hostname(), since: new Date().toISOString() };
    await writePrivateFile(holder, `${JSON.stringify(content)}\n`);
  } catch (error) {
    lock.close();
    throw error;
  }
  let released = false;
  return {
    async release() {
      if (released) return;
      released = true;
      await rm(holder, { force: true });
      lock.close();
    },
  };
}

/**
 * Whether a process holds the data directory now. Looks without taking anything; a folder that cannot be looked into
 * counts as held.
 */
export function isDataDirectoryHeld(folder: string): boolean {
  const file = path.join(folder, LOCK_FILE);
  if (!lstatSync(file, { throwIfNoEntry: false })?.isFile()) return false;
  let look: DatabaseSync | undefined;
  try {
    look = new DatabaseSync(file, { timeout: 0, readOnly: true });
    look.prepare('select count(*) from sqlite_schema').get();
    return false;
  } catch {
    return true;
  } finally {
    look?.close();
  }
}

/** Undefined when another process has it. Tries for a moment: whoever only looks holds it for less. */
async function takeLock(file: string): Promise<DatabaseSync | undefined> {
  for (let attempt = 1; ; attempt += 1) {
    const lock = new DatabaseSync(file, { timeout: 0 });
    try {
      lock.exec('begin exclusive');
      return lock;
    } catch (error) {
      lock.close();
      if ((error as { errcode?: number }).errcode !== SQLITE_BUSY) {
        const reason = (error as Error).message;
        throw new Refusal('invalid', `${file} cannot be locked: ${reason}; delete this file and start again`);
      }
      if (attempt === ATTEMPTS) return undefined;
      await delay(ATTEMPT_MS);
    }
  }
}

/** Never opens a lock file that exists: closing any descriptor of it would drop a lock this process holds. */
async function createLockFile(file: string): Promise<void> {
  const stat = lstatSync(file, { throwIfNoEntry: false });
  if (!stat) {
    try {
      await createPrivateFile(file, '');
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
    }
  } else if (!stat.isFile()) {
    throw new Refusal('invalid', `${file} is not a plain file; delete it and start again`);
  }
}

async function heldByAnother(folder: string): Promise<Refusal> {
  const fix = 'stop it, or choose another --data-dir';
  try {
    const read = await readPrivateFile(path.join(folder, HOLDER_FILE));
    const { pid, host, since } = JSON.parse(read?.content ?? '{}') as Record<string, unknown>;
    if (typeof pid === 'number') {
      const where = host === hostname() ? '' : ` on ${String(host)}`;
      return new Refusal(
        'conflict',
        `another castellan (pid ${pid}${where}, since ${String(since)}) is running on ${folder}; ${fix}`,
      );
    }
  } catch {
    // The file is for the message alone.
  }
  return new Refusal('conflict', `another castellan is running on ${folder}; ${fix}`);
}
