import assert from 'node:assert/strict';
import { randomInt } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { setTimeout as delay } from 'node:timers/promises';
import { type Agent, administrate, newAgent, writeConfig } from '../support/agent.ts';
import { postgresDatabase, postgresMissing, TEST_MASTER_KEY } from '../support/databases.ts';
import { OracleUpstream } from '../support/oracle-upstream.ts';
import { startCastellan, type TestCastellan } from '../support/running-castellan.ts';

// Kills a Castellan with SIGKILL at random moments of mixed writes, again and again on one database: `node
// kill-audit.ts [COUNT] [sqlite|postgres]`, on SQLite, and on PostgreSQL when there is one. After each start every acknowledged object
// and token has to be there, every call that reached its server has to have been announced, and the audit to verify.

const count = Number(process.argv[2] ?? 50);
const only = process.argv[3];
const LANES = 6;

type Acknowledged = { tokens: string[]; objects: string[]; calls: number[] };

async function load(castellan: TestCastellan, agent: Agent, done: Acknowledged, from: number): Promise<void> {
  let next = from;
  const until = async (work: () => Promise<unknown>) => {
    for (;;) await work();
  };
  const lanes = Array.from({ length: LANES }, () =>
    until(async () => {
      const number = next++;
      const { result } = await agent.call('oracle__echo', { number });
      if (result && !result.isError) done.calls.push(number);
    }),
  );
  lanes.push(
    until(async () => {
      const made = await newAgent(castellan, 'p');
      done.tokens.push(made.token!);
    }),
    until(async () => {
      const name = `s${next++}`;
      const object = { apiVersion: 'castellan/v1', kind: 'Server', metadata: { name } };
      await administrate(castellan, 'PUT', `/servers/${name}`, {
        ...object,
        spec: { url: 'http://127.0.0.1:9/' },
      });
      done.objects.push(name);
      if (done.objects.length > 200) {
        const gone = done.objects.shift()!;
        await administrate(castellan, 'DELETE', `/servers/${gone}`);
      }
    }),
  );
  await Promise.allSettled(lanes);
}

async function check(castellan: TestCastellan, oracle: OracleUpstream, done: Acknowledged): Promise<number> {
  const { items } = await administrate(castellan, 'GET', '/servers');
  const names = new Set((items as { metadata: { name: string } }[]).map(({ metadata }) => metadata.name));
  for (const name of done.objects) assert.ok(names.has(name), `server ${name} was acknowledged and is gone`);
  for (const token of done.tokens.splice(0)) {
    const headers = { authorization: `Bearer ${token}` };
    const answer = await fetch(`${castellan.url}/api/v1/mcptokens/introspect`, { headers });
    assert.equal(answer.status, 200, 'a token was acknowledged and is gone');
  }
  const announced = new Set<number>();
  for (let cursor = ''; ; ) {
    const query = `/audit?event=tool.intent&limit=1000&since=1m${cursor && `&cursor=${cursor}`}`;
    const page = await administrate(castellan, 'GET', query);
    for (const { detail } of page.items) announced.add(detail.arguments.number);
    if (page.next === undefined) break;
    cursor = page.next;
  }
  // B1: nothing reaches a server that was not on the disk before.
  for (const call of oracle.calls.splice(0)) {
    const { number } = call.arguments as { number: number };
    assert.ok(announced.has(number), `call ${number} reached its server unannounced`);
  }
  const report = await administrate(castellan, 'GET', '/audit/verify');
  assert.equal(report.ok, true, JSON.stringify(report.findings));
  return report.rows;
}

function checkFile(dataDir: string): void {
  const database = new DatabaseSync(path.join(dataDir, 'castellan.db'), { readOnly: true });
  assert.deepEqual({ ...database.prepare('pragma integrity_check').get() }, { integrity_check: 'ok' });
  database.close();
}

async function torment(name: string, dataDir: string, env: Record<string, string>): Promise<void> {
  await using oracle = await OracleUpstream.start('modern', ['echo']);
  const file = await writeConfig(
    path.join(folder, `${name}.json`),
    { oracle: { url: oracle.url } },
    { p: { servers: ['oracle'], audit: { arguments: true } } },
  );
  const done: Acknowledged = { tokens: [], objects: [], calls: [] };
  let total = { tokens: 0, calls: 0 };
  for (let number = 1; number <= count; number += 1) {
    const castellan = await startCastellan(['--config', file], { dataDir, env });
    try {
      const rows = await check(castellan, oracle, done);
      const agent = await newAgent(castellan, 'p');
      await agent.call('oracle__echo', { number: number * 1_000_000 });
      const working = load(castellan, agent, done, number * 1_000_000 + 1);
      await delay(randomInt(5, 400));
      castellan.process.kill('SIGKILL');
      await Promise.all([working, castellan.stop('SIGKILL')]);
      total = { tokens: total.tokens + done.tokens.length, calls: total.calls + done.calls.length };
      done.calls = [];
      if (env.CASTELLAN_DATABASE_URL === undefined) checkFile(dataDir);
      if (number % 10 === 0) console.log(`${name} ${number}: ${rows} rows verify`);
    } finally {
      await castellan.stop('SIGKILL');
    }
  }
  await using last = await startCastellan(['--config', file], { dataDir, env });
  const rows = await check(last, oracle, done);
  const { tokens, calls } = total;
  console.log(
    `${name}: ${count} kills, ${calls} calls and ${tokens} tokens acknowledged, ${rows} rows verify`,
  );
}

const folder = await mkdtemp(path.join(tmpdir(), 'castellan-kill-audit-'));
try {
  if (only !== 'postgres') await torment('SQLite', path.join(folder, 'sqlite'), {});
  const missing = only === 'sqlite' ? 'not asked for' : await postgresMissing();
  if (missing === undefined) {
    const database = await postgresDatabase();
    try {
      await torment('PostgreSQL', path.join(folder, 'postgres'), {
        CASTELLAN_DATABASE_URL: database.databaseUrl!,
        CASTELLAN_MASTER_KEY: TEST_MASTER_KEY,
      });
    } finally {
      await database.dispose();
    }
  } else console.log(`PostgreSQL: skipped, ${missing}`);
} finally {
  await rm(folder, { recursive: true });
}
