import { constants, promises as fs, type Stats } from 'node:fs';
import { homedir } from 'node:os';
import path from 'node:path';
import { Refusal } from '../base/errors.ts';
import { newId } from '../base/ids.ts';
import { type MasterKey, Sealer } from '../base/seal.ts';
import { acquireDataLock } from './data-lock.ts';
import { MASTER_KEY_FILE, masterKeyFromEnvironment, newMasterKeyText, parseMasterKey } from './master-key.ts';
import {
  namedFileFault,
  openToOthers,
  readPrivateFile,
  removeTemporaryFiles,
  writePrivateFile,
} from './private-file.ts';

const INSTANCE_FILE = 'instance.json';

/** Whether a SQLite database ever went live here: once it did, a missing file is a loss and never a first start. */
export type Life = 'new' | 'live';

/** An open data directory; this process holds it alone until `close()`. */
export type DataDirectory = {
  /** Absolute, symbolic links resolved. */
  readonly path: string;
  /** Stable for the life of the directory; marks the child processes that belong to it. */
  readonly instanceId: string;
  readonly masterKey: MasterKey;
  /** Where the master key came from; `generated` is `master.key` in the directory. */
  readonly masterKeyOrigin: 'environment' | 'generated';
  readonly sealer: Sealer;
  readonly life: Life;
  /** The database is in place: from now on its absence is a loss. */
  markLive(): Promise<void>;
  close(): Promise<void>;
};

/**
 * Opens `folder` (made when missing, mode 0700) and takes it for this process alone.
 *
 * First creation, in an order that a kill at any point leaves resumable: lock, `instance.json` (life `new`),
 * `master.key`, `castellan.db` under a temporary name, rename, life `live`.
 * @throws Refusal when it is held by another process, unfit, damaged, or the master key is missing or bad
 */
export async function openDataDirectory(
  folder: string,
  options: { env?: NodeJS.ProcessEnv; databaseUrl?: string | undefined } = {},
): Promise<DataDirectory> {
  const given = await masterKeyFromEnvironment(options.env ?? process.env);
  if (!given && options.databaseUrl !== undefined) {
    throw new Refusal(
      'invalid',
      'CASTELLAN_MASTER_KEY or CASTELLAN_MASTER_KEY_FILE is required with CASTELLAN_DATABASE_URL: every process on one database shares one key; make it with: openssl rand -base64 32',
    );
  }
  const resolved = await prepareFolder(folder);
  const lock = await acquireDataLock(resolved).catch((error) => {
    throw namedFileFault(resolved, error);
  });
  try {
    await removeTemporaryFiles(resolved);
    await closeToOthers(resolved);
    const instance = await openInstance(resolved);
    const masterKey = given ?? (await generatedMasterKey(resolved, instance.life));
    let life = instance.life;
    return {
      path: resolved,
      instanceId: instance.id,
      masterKey,
      masterKeyOrigin: given ? 'environment' : 'generated',
      sealer: new Sealer(masterKey),
      get life() {
        return life;
      },
      async markLive() {
        if (life === 'live') return;
        await writeInstance(resolved, { id: instance.id, life: 'live' });
        life = 'live';
      },
      close: () => lock.release(),
    };
  } catch (error) {
    await lock.release();
    throw namedFileFault(resolved, error);
  }
}

async function prepareFolder(folder: string): Promise<string> {
  try {
    await fs.mkdir(folder, { recursive: true, mode: 0o700 });
    const resolved = await fs.realpath(folder);
    const stat = await fs.stat(resolved);
    await refuseFoldersOfOthers(resolved, stat);
    if (openToOthers(stat)) await fs.chmod(resolved, 0o700);
    await fs.access(resolved, constants.R_OK | constants.W_OK | constants.X_OK);
    return resolved;
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code !== 'EEXIST' && code !== 'ENOTDIR') throw namedFileFault(folder, error);
    throw new Refusal('invalid', `the data directory ${folder} is not a folder; choose another --data-dir`);
  }
}

/** A data directory becomes 0700: never do that to a folder that serves others, such as /tmp or /etc. */
async function refuseFoldersOfOthers(folder: string, stat: Stats): Promise<void> {
  const names = (await fs.readdir(folder)).filter((name) => name !== 'lost+found');
  if (names.length === 0 || names.includes(INSTANCE_FILE) || names.includes('castellan.db')) return;
  const sticky = (stat.mode & 0o1000) !== 0;
  const system = path.dirname(path.dirname(folder)) === path.dirname(folder);
  if (openToOthers(stat) && (sticky || system || folder === homedir())) {
    throw new Refusal(
      'invalid',
      `the data directory ${folder} holds other files and is open to other users; choose a folder of its own`,
    );
  }
}

/** Files of an older start under another umask, or copied in by hand. Links are left alone: opening refuses them. */
async function closeToOthers(folder: string): Promise<void> {
  for (const entry of await fs.readdir(folder, { withFileTypes: true })) {
    if (!entry.isFile() || !/^(castellan\.|master\.key$|instance\.json$)/.test(entry.name)) continue;
    const file = path.join(folder, entry.name);
    if (openToOthers(await fs.lstat(file))) await fs.chmod(file, 0o600);
  }
}

type Instance = { id: string; life: Life };

async function openInstance(folder: string): Promise<Instance> {
  const file = path.join(folder, INSTANCE_FILE);
  const read = await readPrivateFile(file);
  if (read) return parseInstance(file, read.content);
  // Without its instance file a folder that holds a key or a database was live before.
  const names = await fs.readdir(folder);
  const life: Life = names.includes(MASTER_KEY_FILE) || names.includes('castellan.db') ? 'live' : 'new';
  const instance: Instance = { id: newId('ins'), life };
  await writeInstance(folder, instance);
  return instance;
}

function parseInstance(file: string, content: string): Instance {
  try {
    const { id, life } = JSON.parse(content) as Partial<Instance>;
    if (typeof id === 'string' && /^ins_[0-9A-Za-z]{22}$/.test(id) && (life === 'new' || life === 'live')) {
      return { id, life };
    }
  } catch {
    // Told below.
  }
  throw new Refusal('invalid', `${file} is damaged; restore it from a backup, or delete this one file`);
}

async function writeInstance(folder: string, instance: Instance): Promise<void> {
  await writePrivateFile(path.join(folder, INSTANCE_FILE), `${JSON.stringify(instance)}\n`);
}

async function generatedMasterKey(folder: string, life: Life): Promise<MasterKey> {
  const file = path.join(folder, MASTER_KEY_FILE);
  const read = await readPrivateFile(file);
  if (read) {
    try {
      return parseMasterKey(read.content, file);
    } catch (error) {
      throw new Refusal(
        'invalid',
        `${(error as Error).message.split(';')[0]}; restore ${file} from a backup`,
      );
    }
  }
  if (life === 'live') {
    throw new Refusal(
      'invalid',
      `${file} is missing, and the data in ${folder} was sealed with it; restore it from a backup, or set CASTELLAN_MASTER_KEY if the key was given that way`,
    );
  }
  const text = newMasterKeyText();
  await writePrivateFile(file, `${text}\n`);
  return parseMasterKey(text, file);
}
