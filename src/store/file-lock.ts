import { lstatSync } from 'node:fs';
import { DatabaseSync } from 'node:sqlite';
import { setTimeout as delay } from 'node:timers/promises';
import { Refusal } from '../base/errors.ts';
import { createPrivateFile } from './private-file.ts';

const SQLITE_BUSY = 5;
const ATTEMPT_MS = 40;

export type FileLock = { release(): void };

/**
 * Takes a lock that processes share: an exclusive SQLite transaction on a file that stays empty. The system drops it
 * when the process dies, however it dies; the file is never removed.
 * @param patienceMs how long another process is waited for
 * @returns undefined when another process still has it
 * @throws Refusal `invalid` where the file cannot be locked
 */
export async function lockFile(file: string, patienceMs: number): Promise<FileLock | undefined> {
  await createLockFile(file);
  const attempts = Math.max(1, Math.ceil(patienceMs / ATTEMPT_MS));
  for (let attempt = 1; ; attempt += 1) {
    const lock = new DatabaseSync(file, { timeout: 0 });
    try {
      lock.exec('begin exclusive');
      return { release: () => lock.close() };
    } catch (error) {
      lock.close();
      if ((error as { errcode?: number }).errcode !== SQLITE_BUSY) {
        const reason = (error as Error).message;
        throw new Refusal('invalid', `${file} cannot be locked: ${reason}; delete this file and start again`);
      }
      if (attempt === attempts) return undefined;
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
