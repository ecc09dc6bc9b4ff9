import { readdir } from 'node:fs/promises';
import { setTimeout as delay } from 'node:timers/promises';
import { markedProcesses, readProcess } from '../../src/base/process-tree.ts';

/** Waits until `holds`, looking often; fails with `what` after `timeoutMs`. */
export async function eventually(
  what: string,
  holds: () => boolean | Promise<boolean>,
  timeoutMs = 5000,
): Promise<void> {
  for (const end = Date.now() + timeoutMs; ; await delay(20)) {
    if (await holds()) return;
    if (Date.now() > end) throw new Error(`not within ${timeoutMs} ms: ${what}`);
  }
}

/** The pids of living processes whose marker begins with `id` (see ChildProcesses). */
export async function pidsMarked(id: string): Promise<number[]> {
  const found = await markedProcesses((marker) => marker.startsWith(`${id}.`));
  return found.map((info) => info.pid);
}

/** False for a process that has ended, waited for or not. */
export async function isAlive(pid: number): Promise<boolean> {
  const info = await readProcess(pid);
  return info !== undefined && info.state !== 'Z' && info.state !== 'X';
}

/** Ended processes that this one has not waited for. */
export async function zombiesOf(parent: number): Promise<number[]> {
  const pids = (await readdir('/proc')).filter((name) => /^\d+$/.test(name)).map(Number);
  const infos = await Promise.all(pids.map(readProcess));
  return infos.filter((info) => info?.parent === parent && info.state === 'Z').map((info) => info?.pid ?? 0);
}
