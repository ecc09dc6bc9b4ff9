import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { lstat, readdir, readFile, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { AuthFile } from '../../src/vendors/auth-file.ts';
import type { Grant } from '../../src/vendors/grants.ts';
import { temporaryFolder } from './databases.ts';

const KEY = { server: 'a server', owner: '' };

/** Signs in anew, which makes a version more of the grant. */
async function signIn(store: AuthFile, id: string): Promise<void> {
  const filler = 'x'.repeat(20_000);
  const grant = { url: filler } as unknown as Grant;
  await store.begin(KEY, { id, flow: 'paste', details: {}, pollAt: 0, expiresAt: Date.now() + 60_000 });
  assert.equal(await store.settle(KEY, id, grant), true);
}

/** Another process that signs in so many times, and tells of each. */
function writer(folder: string, times: number): ChildProcess {
  const args = [fileURLToPath(import.meta.url), folder, String(times)];
  return spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'inherit'] });
}

/** Kills a process that writes the file, so many times: the content is whole and no older than what was told. */
export async function killWriters(kills: number): Promise<void> {
  const folder = await temporaryFolder();
  const store = new AuthFile(folder);
  let version = 0;
  for (let round = 0; round < kills; round += 1) {
    const child = writer(folder, 1_000_000);
    let told = 0;
    child.stdout?.on('data', (text: Buffer) => {
      told += String(text).split('\n').length - 1;
    });
    await once(child.stdout ?? child, 'data');
    await sleep(Math.random() * 20);
    child.kill('SIGKILL');
    await once(child, 'close');
    const kept = await store.read(KEY);
    const now = kept?.version ?? 0;
    assert.ok(now === version + told || now === version + told + 1, `${version} + ${told}: ${now}`);
    assert.equal((await lstat(store.file)).mode & 0o777, 0o600);
    await signIn(store, `parent-${round}`);
    const left = (await readdir(folder)).filter((name) => name.endsWith('.tmp'));
    assert.deepEqual(left, []);
    version = now + 1;
  }
}

/** Two processes at once: no change of either is lost. */
export async function writeAtOnce(times: number): Promise<void> {
  const folder = await temporaryFolder();
  // What other files of the folder leave behind is not ours to remove.
  const foreign = path.join(folder, '.castellan-contexts.json-0123456789abcdef.tmp');
  await writeFile(foreign, 'half');
  const children = [writer(folder, times), writer(folder, times)];
  const codes = await Promise.all(children.map(async (child) => (await once(child, 'close'))[0]));
  assert.deepEqual(codes, [0, 0]);
  assert.equal((await new AuthFile(folder).read(KEY))?.version, 2 * times);
  assert.equal(await readFile(foreign, 'utf8'), 'half');
}

async function main(folder: string, times: number): Promise<void> {
  process.umask(0);
  const store = new AuthFile(folder);
  for (let at = 0; at < times; at += 1) {
    await signIn(store, `${process.pid}-${at}`);
    process.stdout.write('.\n');
  }
}

if (process.argv[1] === fileURLToPath(import.meta.url))
  await main(process.argv[2] ?? '', Number(process.argv[3]));
