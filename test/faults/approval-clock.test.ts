import assert from 'node:assert/strict';
import { writeFile } from 'node:fs/promises';
import path from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { after, before, describe, it } from 'node:test';
import { fileURLToPath } from 'node:url';
import pg from 'pg';
import { type Agent, administrate, newAgent, writeConfig } from '../support/agent.ts';
import { postgresDatabase, postgresMissing, TEST_MASTER_KEY, temporaryFolder } from '../support/databases.ts';
import { decide, held, holdingPolicy, stateOf } from '../support/held-calls.ts';
import { OracleUpstream } from '../support/oracle-upstream.ts';
import { eventually } from '../support/processes.ts';
import { startCastellan, type TestCastellan } from '../support/running-castellan.ts';

const HOUR_MS = 3_600_000;
const PRELOAD = fileURLToPath(new URL('../support/shifted-clock.ts', import.meta.url));
const missing = await postgresMissing();
if (missing !== undefined && process.env.CI === 'true') throw new Error(`PostgreSQL is required: ${missing}`);

let oracle: OracleUpstream;
let config: string;
let folder: string;
before(async () => {
  folder = await temporaryFolder();
  oracle = await OracleUpstream.start('modern', ['echo']);
  config = await writeConfig(
    path.join(folder, 'castellan.json'),
    { x: { url: oracle.url } },
    { demo: { servers: ['x'] } },
  );
});
after(() => oracle?.[Symbol.asyncDispose]());

let serial = 0;
const unique = () => {
  serial += 1;
  return { text: `call ${serial}` };
};
const sentOf = (args: { text: string }) =>
  oracle.calls.filter((call) => call.arguments.text === args.text).length;

/** A Castellan whose clock is off by what `shift` says, now and later. */
class Shifted {
  readonly #file: string;
  readonly #env: Record<string, string>;
  readonly #dataDir: string;
  process!: TestCastellan;

  private constructor(name: string, env: Record<string, string>) {
    this.#file = path.join(folder, `${name}.clock`);
    this.#dataDir = path.join(folder, name);
    const preload = { NODE_OPTIONS: `--import=${PRELOAD}`, CASTELLAN_TEST_CLOCK: this.#file };
    this.#env = { ...env, ...preload };
  }

  static async start(name: string, byMs: number, env: Record<string, string> = {}): Promise<Shifted> {
    const shifted = new Shifted(name, env);
    await shifted.shift(byMs);
    await shifted.begin();
    return shifted;
  }

  async begin(): Promise<void> {
    this.process = await startCastellan(['--config', config], { dataDir: this.#dataDir, env: this.#env });
  }

  shift(byMs: number): Promise<void> {
    return writeFile(this.#file, String(byMs));
  }

  async agent(): Promise<Agent> {
    const agent = await newAgent(this.process, 'demo');
    await administrate(this.process, 'PUT', '/policies/humans-first', holdingPolicy(['x__echo']));
    return agent;
  }

  get database(): DatabaseSync {
    return new DatabaseSync(path.join(this.#dataDir, 'castellan.db'), { timeout: 5_000 });
  }
}

describe('an approval on SQLite, when somebody sets the clock of the machine', () => {
  const change = (one: Shifted, id: string, set: string, ...values: number[]) => {
    using database = one.database;
    database.prepare(`update approvals set ${set} where id = ?`).run(...values, id);
  };

  it('is not lost early when it is set forward, nor made late when it is set back', async () => {
    const one = await Shifted.start('jumps', 0);
    try {
      const agent = await one.agent();
      const [lasting, ending] = [unique(), unique()];
      const lastingId = await held(agent, 'x__echo', lasting);
      const endingId = await held(agent, 'x__echo', ending);
      await one.shift(2 * HOUR_MS);
      change(one, endingId, 'expires_at = ?', Date.now() + 1_500);
      await eventually(
        'the other one is over',
        async () => (await stateOf(one.process, endingId)) === 'expired',
      );
      assert.equal(await stateOf(one.process, lastingId), 'pending');
      await one.shift(-2 * HOUR_MS);
      change(one, lastingId, 'expires_at = ?', Date.now() + 1_500);
      await eventually('it is over', async () => (await stateOf(one.process, lastingId)) === 'expired');
      const again = unique();
      const id = await held(agent, 'x__echo', again);
      assert.equal((await decide(one.process, id, 'approve')).answer.state, 'succeeded');
      for (const done of [lastingId, endingId])
        assert.equal((await decide(one.process, done, 'approve')).status, 409);
      assert.deepEqual([sentOf(lasting), sentOf(ending), sentOf(again)], [0, 0, 1]);
    } finally {
      await one.process.stop();
    }
  });

  it('ends at its time after a stop or a kill, although the clock was set back meanwhile', async () => {
    for (const signal of ['SIGTERM', 'SIGKILL'] as const) {
      const one = await Shifted.start(`restart-${signal}`, 0);
      try {
        const agent = await one.agent();
        const args = unique();
        const id = await held(agent, 'x__echo', args);
        // It was asked for a while ago, and nothing has happened since.
        const ago = Date.now() - 30 * 60_000;
        change(one, id, 'requested_at = ?, changed_at = ?', ago, ago);
        await eventually('the time is kept', () => {
          using database = one.database;
          return database.prepare('select 1 from approval_clock').get() !== undefined;
        });
        change(one, id, 'expires_at = ?', Date.now() + 1_000);
        await one.process.stop(signal);
        await one.shift(-HOUR_MS);
        await one.begin();
        await eventually('it is over', async () => (await stateOf(one.process, id)) === 'expired', 15_000);
        assert.equal((await decide(one.process, id, 'approve')).status, 409);
        assert.equal(sentOf(args), 0);
      } finally {
        await one.process.stop();
      }
    }
  });
});

describe('an approval on PostgreSQL, whose processes disagree about the time', {
  skip: missing !== undefined && `no PostgreSQL: ${missing}`,
}, () => {
  let early: Shifted;
  let late: Shifted;
  let agent: Agent;
  let client: pg.Client;
  let dispose: () => Promise<void>;
  before(async () => {
    const database = await postgresDatabase();
    dispose = () => database.dispose();
    const env = {
      CASTELLAN_DATABASE_URL: database.databaseUrl ?? '',
      CASTELLAN_MASTER_KEY: TEST_MASTER_KEY,
    };
    late = await Shifted.start('late', -5 * 60_000, env);
    early = await Shifted.start('early', 5 * 60_000, env);
    agent = await late.agent();
    await eventually('both have the policy', () =>
      administrate(early.process, 'GET', '/policies/humans-first').then(Boolean, () => false),
    );
    client = new pg.Client({ connectionString: database.databaseUrl });
    await client.connect();
  });
  after(async () => {
    await client?.end();
    await late?.process.stop();
    await early?.process.stop();
    await dispose?.();
  });

  const expire = (id: string, inMs: number) =>
    client.query(
      'update approvals set expires_at = (extract(epoch from clock_timestamp()) * 1000)::bigint + $1 where id = $2',
      [inMs, id],
    );

  it('is made by neither once it is over, and by both until then', async () => {
    for (const one of [late, early]) {
      const [kept, lost] = [unique(), unique()];
      const keptId = await held(agent, 'x__echo', kept);
      const lostId = await held(agent, 'x__echo', lost);
      await expire(keptId, 60_000);
      await expire(lostId, 0);
      const { status, answer } = await decide(one.process, lostId, 'approve');
      assert.equal(status, 409, JSON.stringify(answer));
      await eventually('it is over', async () => (await stateOf(one.process, lostId)) === 'expired');
      assert.equal(await stateOf(one.process, keptId), 'pending');
      assert.equal((await decide(one.process, keptId, 'approve')).answer.state, 'succeeded');
      assert.deepEqual([sentOf(kept), sentOf(lost)], [1, 0]);
    }
  });

  it('is over when a decision had to wait for the database until then', async () => {
    const args = unique();
    const id = await held(agent, 'x__echo', args);
    await expire(id, 2_500);
    await client.query('begin');
    await client.query('update approvals set changed_at = changed_at where id = $1', [id]);
    const deciding = decide(late.process, id, 'approve');
    const yields = async (query: string, ...values: string[]) =>
      ((await client.query(query, values)).rowCount ?? 0) > 0;
    const waits = 'select 1 from pg_locks where not granted and transactionid = pg_current_xact_id()::xid';
    await eventually('it waits', () => yields(waits));
    const over =
      'select 1 from approvals where id = $1 and expires_at < extract(epoch from clock_timestamp()) * 1000';
    await eventually('its time comes', () => yields(over, id));
    await client.query('commit');
    assert.equal((await deciding).status, 409);
    await eventually('it is over', async () => (await stateOf(late.process, id)) === 'expired');
    assert.equal(sentOf(args), 0);
  });
});
