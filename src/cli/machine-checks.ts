import { randomBytes } from 'node:crypto';
import { rm, stat } from 'node:fs/promises';
import path from 'node:path';
import { messageOf } from '../base/errors.ts';
import { createPrivateFile, syncFolder } from '../store/private-file.ts';
import { schemaState } from '../store/schema-state.ts';
import type { Check } from './checks.ts';
import type { ListedServer } from './commands/mcp-servers.ts';

const NEEDED_NODE = 24;
/** Tokens and links are judged by the clock; so much is forgiven nowhere. */
const MAX_SKEW_MS = 30_000;
/** A disk that takes longer makes every call that may change something wait for it. */
const SLOW_SYNC_MS = 250;
const MAX_NAMED = 5;

export function nodeCheck(): Check {
  const { node } = process.versions;
  const isNew = Number.parseInt(node, 10) >= NEEDED_NODE;
  const message = isNew ? `${node}` : `${node} is too old: install Node ${NEEDED_NODE}`;
  return { check: 'node', status: isNew ? 'pass' : 'fail', message };
}

/** Whether the data directory is there, nobody else's to read, and keeps what is written. */
export async function dataDirectoryChecks(folder: string): Promise<Check[]> {
  const check = 'data directory';
  const found = await stat(folder).catch(() => undefined);
  if (!found)
    return [{ check, status: 'skipped', message: `${folder} does not exist; castellan serve makes it` }];
  if (!found.isDirectory())
    return [{ check, status: 'fail', message: `${folder} is no folder: name another` }];
  const isOpen = process.platform !== 'win32' && (found.mode & 0o077) !== 0;
  if (isOpen)
    return [
      { check, status: 'fail', message: `${folder} is open to other users: run chmod 700 ${folder}` },
      await diskCheck(folder),
    ];
  return [{ check, status: 'pass', message: folder }, await diskCheck(folder)];
}

async function diskCheck(folder: string): Promise<Check> {
  const check = 'disk';
  const file = path.join(folder, `.castellan-doctor-${randomBytes(8).toString('hex')}.tmp`);
  const startedAt = performance.now();
  try {
    await createPrivateFile(file, 'written by castellan doctor\n');
    await syncFolder(folder);
  } catch (error) {
    const fix = 'make room or give access, or choose another --data-dir';
    return { check, status: 'fail', message: `nothing can be written there: ${messageOf(error)}; ${fix}` };
  } finally {
    await rm(file, { force: true });
  }
  const ms = Math.round(performance.now() - startedAt);
  if (ms <= SLOW_SYNC_MS) return { check, status: 'pass', message: `written and on the disk in ${ms} ms` };
  const fix = 'calls that may change something wait for it; put the data directory on a faster disk';
  return { check, status: 'warn', message: `took ${ms} ms to have a small file on the disk: ${fix}` };
}

/** Whether this build can go on with the database, and what it would change first. */
export async function databaseCheck(folder: string, databaseUrl: string | undefined): Promise<Check> {
  const check = 'database';
  try {
    const state = await schemaState(folder, databaseUrl);
    if (!state) return { check, status: 'skipped', message: 'there is none yet; castellan serve makes it' };
    const { place, version, known } = state;
    if (version > known) {
      const fix = 'run the newer Castellan that wrote it, or restore a backup';
      return {
        check,
        status: 'fail',
        message: `${place} has version ${version}, this build knows ${known}: ${fix}`,
      };
    }
    if (version === known) return { check, status: 'pass', message: `${place}, version ${version}` };
    const pending = `${known - version} pending migrations run at the next start: back it up before`;
    return { check, status: 'warn', message: `${place}, version ${version} of ${known}: ${pending}` };
  } catch (error) {
    const fix = 'start the database, or correct CASTELLAN_DATABASE_URL and its rights';
    return { check, status: 'fail', message: `${messageOf(error)}; ${fix}` };
  }
}

/** @param date of the answer of a server, to the second */
export function clockCheck(date: string | null, now: number): Check {
  const check = 'clock';
  const there = Date.parse(date ?? '');
  if (Number.isNaN(there)) return { check, status: 'skipped', message: 'the server does not tell the time' };
  const skew = Math.abs(now - there);
  if (skew <= MAX_SKEW_MS) return { check, status: 'pass', message: 'the server agrees with this machine' };
  const seconds = Math.round(skew / 1_000);
  const message = `${seconds} s away from that of the server: set both by NTP, or sign-ins and tokens end early or late`;
  return { check, status: 'fail', message };
}

/** Said plainly, because no sealing helps against whoever is the same user. */
export function stdioCheck(servers: readonly Pick<ListedServer, 'name' | 'spec'>[]): Check {
  const check = 'processes';
  const own = servers.filter(({ spec }) => spec?.command !== undefined).map(({ name }) => name);
  if (own.length === 0)
    return { check, status: 'pass', message: 'no server runs as a process of this machine' };
  const more = own.length > MAX_NAMED ? ` and ${own.length - MAX_NAMED} more` : '';
  const what = `${own.slice(0, MAX_NAMED).join(', ')}${more} run as the same user as Castellan, and can read its keys and all that they open`;
  const fix = 'run code that you do not trust elsewhere, and connect to it by url';
  return { check, status: 'warn', message: `${what}: ${fix}` };
}
