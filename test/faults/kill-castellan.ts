import assert from 'node:assert/strict';
import { once } from 'node:events';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { fileURLToPath } from 'node:url';
import { MARKER_VARIABLE, readProcess, readProcessTable } from '../../src/base/process-tree.ts';
import { type Agent, newAgent, writeConfig } from '../support/agent.ts';
import { eventually, isAlive } from '../support/processes.ts';
import { startCastellan, type TestCastellan } from '../support/running-castellan.ts';

// Kills a Castellan under load with SIGKILL, again and again on one data directory: `node kill-castellan.ts [COUNT]`.
// Each time nothing that it had started may be left after five seconds, the database has to be whole, every token that
// was handed out has to open its project, and the next start has to serve.

const ROOT = fileURLToPath(new URL('../../', import.meta.url));
const HOSTILE = path.join(ROOT, 'test/support/hostile-server.ts');
const GONE_WITHIN_MS = 5_000;
const LOAD = ['plain__echo', 'wrapped__echo', 'npx__echo'];

const count = Number(process.argv[2] ?? 20);
const folder = await mkdtemp(path.join(tmpdir(), 'castellan-kill-'));
const dataDir = path.join(folder, 'data');

function config(): Promise<string> {
  const plain = { command: process.execPath, args: [HOSTILE, path.join(folder, 'plain')] };
  const wrapped = {
    command: '/bin/sh',
    args: ['-c', '"$@"; exit $?', 'sh', process.execPath, HOSTILE, path.join(folder, 'wrapped')],
  };
  const npx = { command: 'npx', args: ['--no', 'mcp-server-everything', 'stdio'], cwd: ROOT };
  return writeConfig(
    path.join(folder, 'config.json'),
    { plain, wrapped, npx },
    { p: { servers: ['plain', 'wrapped', 'npx'] } },
  );
}

/** Everyone who belongs to this data directory or descends from `parent`: found by environment and by parentage. */
async function everyoneOf(parent: number): Promise<number[]> {
  const found = new Set([parent]);
  const table = await readProcessTable();
  for (let size = 0; size !== found.size; ) {
    size = found.size;
    for (const { pid, parent: above } of table) if (found.has(above)) found.add(pid);
  }
  const marker = await markerOf([...found]);
  for (const { pid } of table) if ((await environmentOf(pid)).includes(marker)) found.add(pid);
  return [...found].filter((pid) => pid !== parent);
}

const environmentOf = (pid: number) => readFile(`/proc/${pid}/environ`, 'latin1').catch(() => '');

/** The part of the children's marker that all starts on this data directory share. */
async function markerOf(pids: readonly number[]): Promise<string> {
  for (const pid of pids) {
    const [found] = new RegExp(`${MARKER_VARIABLE}=[^.\\0]+\\.`).exec(await environmentOf(pid)) ?? [];
    if (found) return found;
  }
  throw new Error('no child carries a marker');
}

/** Tokens that were acknowledged before a kill; each is on the disk for good. */
const acknowledged: string[] = [];

/** Calls on every server and new tokens, without pause, until the server is gone. */
function load(castellan: TestCastellan, agent: Agent): Promise<unknown> {
  const until = async (work: () => Promise<unknown>) => {
    for (;;) await work();
  };
  const lanes = Array.from({ length: 8 }, (_, lane) =>
    until(() => agent.call(LOAD[lane % LOAD.length]!, { text: lane, message: 'x' })),
  );
  lanes.push(
    until(async () => {
      const made = await newAgent(castellan, 'p');
      acknowledged.push(made.token!);
    }),
  );
  return Promise.allSettled(lanes);
}

async function checkDatabase(): Promise<void> {
  const database = new DatabaseSync(path.join(dataDir, 'castellan.db'), { readOnly: true });
  assert.deepEqual({ ...database.prepare('pragma integrity_check').get() }, { integrity_check: 'ok' });
  database.close();
}

async function round(number: number, file: string): Promise<void> {
  const castellan = await startCastellan(['--config', file], { dataDir });
  const pid = castellan.process.pid!;
  try {
    const last = acknowledged.at(-1);
    if (last) {
      const { active } = await introspect(castellan, last);
      assert.equal(active, true, 'an acknowledged token is gone');
    }
    const agent = await newAgent(castellan, 'p');
    for (const name of LOAD) {
      const { result } = await agent.call(name, { text: 'x', message: 'x' });
      assert.notEqual(result?.isError, true, JSON.stringify(result));
    }
    const left = await agent.call('plain__leave');
    const stray = Number(left.result?.content[0].text);
    const before = acknowledged.length;
    const working = load(castellan, agent);
    await eventually('it is under load', () => acknowledged.length > before + 1 + (number % 5), 10_000);
    const everyone = await everyoneOf(pid);
    assert.ok(everyone.includes(stray) && everyone.length >= 7, `${everyone.length} processes`);

    castellan.process.kill('SIGKILL');
    const killed = performance.now();
    for (const one of everyone) {
      const patience = Math.max(1, GONE_WITHIN_MS - (performance.now() - killed));
      await eventually(`process ${one} is gone`, async () => !(await isAlive(one)), patience).catch(
        async (error) => {
          throw new Error(`${error.message}: ${JSON.stringify(await readProcess(one))}`);
        },
      );
    }
    const took = Math.round(performance.now() - killed);
    await Promise.all([working, castellan.stop('SIGKILL')]);
    await checkDatabase();
    console.log(`${number}: ${everyone.length} processes gone after ${took} ms, database ok`);
  } finally {
    await castellan.stop('SIGKILL');
  }
}

async function introspect(castellan: TestCastellan, token: string): Promise<{ active: boolean }> {
  const headers = { authorization: `Bearer ${token}` };
  const answer = await fetch(`${castellan.url}/api/v1/mcptokens/introspect`, { headers });
  return (await answer.json()) as { active: boolean };
}

const file = await config();
for (let number = 1; number <= count; number += 1) await round(number, file);

const last = await startCastellan(['--config', file], { dataDir });
for (const token of acknowledged) assert.equal((await introspect(last, token)).active, true);
last.process.kill('SIGTERM');
if (last.process.exitCode === null) await once(last.process, 'exit');
assert.equal(last.process.exitCode, 0);
await checkDatabase();
await rm(folder, { recursive: true });
console.log(`${count} kills, ${acknowledged.length} tokens acknowledged, none lost`);
