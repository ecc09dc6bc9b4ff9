import { randomBytes } from 'node:crypto';
import { constants, promises as fs, type Stats } from 'node:fs';
import path from 'node:path';
import { Refusal } from '../base/errors.ts';

const TEMPORARY = /^\.castellan-(?:(.+)-)?[0-9a-f]{16}\.tmp$/;
const POSIX = process.platform !== 'win32';

/**
 * Replaces a file as a whole: a reader, or a machine that loses power, sees the old content or the new, never a part.
 * Mode 0600 whatever the umask; a symbolic link at `file` is replaced, not followed.
 */
export async function writePrivateFile(file: string, content: string): Promise<void> {
  const folder = path.dirname(file);
  const temporary = path.join(
    folder,
    `.castellan-${path.basename(file)}-${randomBytes(8).toString('hex')}.tmp`,
  );
  try {
    await createPrivateFile(temporary, content);
    await fs.rename(temporary, file);
  } catch (error) {
    await fs.rm(temporary, { force: true });
    throw error;
  }
  await syncFolder(folder);
}

/** Makes a file that must not exist yet, mode 0600 whatever the umask, its content on disk when this resolves. */
export async function createPrivateFile(file: string, content: string): Promise<void> {
  const handle = await fs.open(file, 'wx', 0o600);
  try {
    await handle.chmod(0o600);
    await handle.writeFile(content);
    await handle.sync();
  } finally {
    await handle.close();
  }
}

/**
 * The content of a small private file, with its mode; undefined when there is none. Symbolic links and anything that
 * is no plain file are refused, so is a file over `maxBytes`.
 */
export async function readPrivateFile(
  file: string,
  maxBytes = 64 * 1024,
): Promise<{ content: string; openToOthers: boolean } | undefined> {
  const handle = await openWithoutFollowing(file);
  if (!handle) return undefined;
  try {
    const stat = await handle.stat();
    if (!stat.isFile()) throw new Refusal('invalid', `${file} is not a plain file; move it away`);
    if (stat.size > maxBytes) {
      throw new Refusal(
        'invalid',
        `${file} has ${stat.size} bytes, at most ${maxBytes} are expected; it is damaged`,
      );
    }
    return { content: await handle.readFile('utf8'), openToOthers: openToOthers(stat) };
  } finally {
    await handle.close();
  }
}

/** True when users other than the owner may read or write it. Always false where modes mean nothing. */
export function openToOthers(stat: Stats): boolean {
  return POSIX && (stat.mode & 0o077) !== 0;
}

/** Makes a rename or a new file in this folder survive a power loss. */
export async function syncFolder(folder: string): Promise<void> {
  if (!POSIX) return;
  const handle = await fs.open(folder, 'r');
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}

/** Removes what a killed `writePrivateFile` left. Only for the one process that writes in this folder, or this file in it. */
export async function removeTemporaryFiles(folder: string, file?: string): Promise<void> {
  for (const name of await fs.readdir(folder)) {
    const found = TEMPORARY.exec(name);
    const isMeant = found !== null && (file === undefined || found[1] === file);
    if (isMeant) await fs.rm(path.join(folder, name), { force: true });
  }
}

/** A system error (disk full, no permission) as a Refusal that names the folder; any other error as it is. */
export function namedFileFault(folder: string, error: unknown): unknown {
  const { code, syscall, message } = (error ?? {}) as NodeJS.ErrnoException;
  if (error instanceof Refusal || code === undefined || syscall === undefined) return error;
  return new Refusal(
    'unavailable',
    `the data directory ${folder} cannot be used: ${message}; make room or give access, or choose another --data-dir`,
  );
}

async function openWithoutFollowing(file: string): Promise<fs.FileHandle | undefined> {
  try {
    return await fs.open(
      file,
      constants.O_RDONLY | (constants.O_NOFOLLOW ?? 0) | (constants.O_NONBLOCK ?? 0),
    );
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code;
    if (code === 'ENOENT') return undefined;
    if (code === 'ELOOP') {
      throw new Refusal('invalid', `${file} is a symbolic link; put the file itself there`);
    }
    throw error;
  }
}
