import { lstatSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { hostname } from 'node:os';
import path from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { Refusal } from '../base/errors.ts';
import { lockFile } from './file-lock.ts';
import { readPrivateFile, writePrivateFile } from './private-file.ts';

const LOCK_FILE = 'castellan.lock';
const HOLDER_FILE = 'castellan.pid';
/** Whoever only looks holds it for less. */
const PATIENCE_MS = 200;

export type DataLock = { release(): Promise<void> };

/**
 * Makes this process the only one on a data directory. The holder's pid stands in a file beside the lock, for the
 * message alone.
 * @throws Refusal `conflict` naming the holder
 */
export async function acquireDataLock(folder: string): Promise<DataLock> {
  const file = path.join(folder, LOCK_FILE);
  const lock = await lockFile(file, PATIENCE_MS);
  if (!lock) throw await heldByAnother(folder);
  const holder = path.join(folder, HOLDER_FILE);
  try {
    const content = { pid: process.pid, host: hostname(), since: new Date().toISOString() };
    await writePrivateFile(holder, `${JSON.stringify(content)}\n`);
  } catch (error) {
    lock.release();
    throw error;
  }
  let released = false;
  return {
    async release() {
      if (released) return;
      released = true;
      await rm(holder, { force: true });
      lock.release();
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
