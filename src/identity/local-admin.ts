import { timingSafeEqual } from 'node:crypto';
import path from 'node:path';
import { Refusal } from '../base/errors.ts';
import { credentialKind, mintCredential, sha256Hex } from '../base/ids.ts';
import type { Logger } from '../base/logger.ts';
import { FIRST_USER } from '../resources/access-fields.ts';
import type { DataDirectory } from '../store/data-directory.ts';
import { isDataDirectoryHeld } from '../store/data-lock.ts';
import { readPrivateFile, writePrivateFile } from '../store/private-file.ts';
import { type AuthenticatedCaller, authenticatedCaller } from './caller.ts';

const ADMIN_FILE = 'admin.json';

/** The user that whoever holds the data directory is. */
const LOCAL_ADMIN = FIRST_USER;

/** `admin.json`: how the command line finds the server that runs on this data directory, and proves who it is. */
type AdminFile = {
  /** Absent while no server runs. */
  url?: string;
  user: string;
  credential: string;
  pid?: number;
  /** It serves one client and ends with it. */
  passing?: true;
};

export type LocalAdmin = {
  /** Publishes the URL of the running server, with this process's pid, and whether it is passing; undefined withdraws it. */
  setUrl(url: string | undefined, passing?: boolean): Promise<void>;
  /** Whether the command line can find the server. */
  readonly published: boolean;
  /** The administrator when `raw` is the credential; compared in constant time. */
  verify(raw: string): AuthenticatedCaller | undefined;
};

/**
 * Loads the credential of this data directory, or makes one. A credential that others could read, or a damaged file,
 * is replaced: the command line reads the new one by itself.
 */
export async function openLocalAdmin(dataDir: DataDirectory, logger: Logger): Promise<LocalAdmin> {
  const file = path.join(dataDir.path, ADMIN_FILE);
  const credential = (await keptCredential(file, logger)) ?? mintCredential('adm');
  const write = (more: Omit<AdminFile, 'user' | 'credential'>) =>
    writePrivateFile(
      file,
      `${JSON.stringify({ ...more, user: LOCAL_ADMIN, credential } satisfies AdminFile, null, 2)}\n`,
    );
  await write({});
  const digest = Buffer.from(sha256Hex(credential), 'hex');
  const caller = localAdminCaller();
  let published = false;
  return {
    setUrl: async (url, passing) => {
      published = false;
      await write(url === undefined ? {} : { url, pid: process.pid, ...(passing && { passing }) });
      published = url !== undefined;
    },
    get published() {
      return published;
    },
    verify: (raw) => (timingSafeEqual(Buffer.from(sha256Hex(raw), 'hex'), digest) ? caller : undefined),
  };
}

/** Whoever holds the data directory, and what its configuration files ask for. */
export function localAdminCaller(): AuthenticatedCaller {
  return authenticatedCaller({
    principal: `User:${LOCAL_ADMIN}`,
    owner: LOCAL_ADMIN,
    ceilings: [],
    project: '*',
    surfaces: new Set(['consumer', 'operator'] as const),
  });
}

/**
 * For the command line: where the server of this data directory is, and the credential for it.
 * @throws Refusal `unavailable` when none runs here, `forbidden` when others can read the file, `invalid` when damaged
 */
export async function readLocalAdmin(
  dataDir: string,
): Promise<{ url: string; credential: string; pid: number | undefined; passing: boolean }> {
  const file = path.join(dataDir, ADMIN_FILE);
  const read = await readOrRefuse(file);
  if (!read) {
    throw new Refusal(
      'unavailable',
      `no castellan runs on ${dataDir} (${file} is missing); start one with castellan serve, or give --data-dir or --server`,
    );
  }
  if (read.openToOthers) {
    throw new Refusal(
      'forbidden',
      `${file} can be read by other users; run: chmod 600 ${file}, then restart castellan for a new credential`,
    );
  }
  const parsed = parse(read.content);
  if (!parsed)
    throw new Refusal('invalid', `${file} is damaged; restart castellan serve, which writes it anew`);
  // After a kill the file still names a port that anyone may have taken since: the credential must not go there.
  if (parsed.url === undefined || !isDataDirectoryHeld(dataDir)) {
    throw new Refusal(
      'unavailable',
      `no castellan runs on ${dataDir}; start one with castellan serve, or give --data-dir or --server`,
    );
  }
  const { url, credential, pid, passing = false } = parsed;
  return { url, credential, pid, passing };
}

async function readOrRefuse(file: string): ReturnType<typeof readPrivateFile> {
  try {
    return await readPrivateFile(file);
  } catch (error) {
    if (error instanceof Refusal) throw error;
    const kind = (error as NodeJS.ErrnoException).code === 'EACCES' ? 'forbidden' : 'unavailable';
    throw new Refusal(kind, `${file} cannot be read: ${(error as Error).message}`);
  }
}

async function keptCredential(file: string, logger: Logger): Promise<string | undefined> {
  const read = await readPrivateFile(file);
  if (!read) return undefined;
  const parsed = parse(read.content);
  if (!parsed)
    logger.warn({ file }, 'the local administrator file was damaged; a new credential replaces it');
  else if (read.openToOthers)
    logger.warn({ file }, 'other users could read the local administrator credential; a new one replaces it');
  else return parsed.credential;
  return undefined;
}

function parse(content: string): AdminFile | undefined {
  try {
    const { url, user, credential, pid, passing } = JSON.parse(content) as Partial<AdminFile>;
    if (typeof credential !== 'string' || credentialKind(credential) !== 'adm') return undefined;
    return {
      user: typeof user === 'string' ? user : LOCAL_ADMIN,
      credential,
      ...(typeof url === 'string' ? { url } : {}),
      ...(typeof pid === 'number' ? { pid } : {}),
      ...(passing === true ? { passing } : {}),
    };
  } catch {
    return undefined;
  }
}
