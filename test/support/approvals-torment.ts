import assert from 'node:assert/strict';
import { randomInt } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { setTimeout as delay } from 'node:timers/promises';
import pg from 'pg';
import { Agent, administrate, newAgent, writeConfig } from './agent.ts';
import { postgresDatabase, TEST_MASTER_KEY } from './databases.ts';
import { decide, endOf, held, holdingPolicy } from './held-calls.ts';
import { OracleUpstream } from './oracle-upstream.ts';
import { startCastellan, type TestCastellan } from './running-castellan.ts';

export type Where = 'sqlite' | 'postgres';

/** What the rounds came to: how many ended in each state. */
export type Tally = Record<string, number>;

/** A Castellan, on PostgreSQL two of them on one database, with calls on hold in front of a server that counts. */
export class ApprovalsTorment implements AsyncDisposable {
  readonly #where: Where;
  readonly #used: AsyncDisposableStack;
  readonly #oracle: OracleUpstream;
  readonly #config: string;
  readonly #folder: string;
  readonly #env: Record<string, string>;
  readonly #databaseUrl: string | undefined;
  #here!: TestCastellan;
  #there!: TestCastellan;
  #agent!: Agent;
  #round = 0;

  private constructor(
    where: Where,
    used: AsyncDisposableStack,
    parts: { oracle: OracleUpstream; config: string; folder: string; databaseUrl: string | undefined },
  ) {
    this.#where = where;
    this.#used = used;
    this.#oracle = parts.oracle;
    this.#config = parts.config;
    this.#folder = parts.folder;
    this.#databaseUrl = parts.databaseUrl;
    this.#env =
      parts.databaseUrl === undefined
        ? {}
        : { CASTELLAN_DATABASE_URL: parts.databaseUrl, CASTELLAN_MASTER_KEY: TEST_MASTER_KEY };
  }

  static async start(where: Where): Promise<ApprovalsTorment> {
    const used = new AsyncDisposableStack();
    const folder = await mkdtemp(path.join(tmpdir(), 'castellan-approvals-'));
    used.defer(() => rm(folder, { recursive: true, force: true }));
    const database = where === 'postgres' ? await postgresDatabase() : undefined;
    if (database) used.defer(() => database.dispose());
    const oracle = used.use(await OracleUpstream.start('modern', ['echo']));
    const config = await writeConfig(
      path.join(folder, 'castellan.json'),
      { x: { url: oracle.url } },
      { demo: { servers: ['x'] } },
    );
    const databaseUrl = database?.databaseUrl;
    const torment = new ApprovalsTorment(where, used, { oracle, config, folder, databaseUrl });
    used.defer(() => torment.#stop());
    torment.#here = await torment.#process('here');
    torment.#there = where === 'postgres' ? await torment.#process('there') : torment.#here;
    torment.#agent = await newAgent(torment.#here, 'demo');
    await administrate(torment.#here, 'PUT', '/policies/humans-first', holdingPolicy(['x__echo']));
    return torment;
  }

  /** Two approvers, the requester who takes it back, and the end of its time, all at one moment. */
  async race(): Promise<string> {
    const args = this.#next();
    const id = await held(this.#agent, 'x__echo', args);
    assert.equal(this.#sent(args), 0);
    const chosen = randomInt(4);
    const soon = randomInt(0, 60);
    const acts = [
      () => this.#expire(id, soon),
      () => decide(this.#here, id, 'approve'),
      () => decide(this.#there, id, 'approve'),
      async () => {
        // An approval looks at the server first: now and then it is the faster one.
        await delay(randomInt(0, 60));
        await decide(this.#there, id, 'cancel', { credential: this.#agent.token! });
      },
      () => held(this.#agent, 'x__echo', args).catch(() => undefined),
    ];
    // Whoever is first changes from round to round.
    const order = [...acts.slice(chosen), ...acts.slice(0, chosen)];
    await Promise.all(order.map((act) => act()));
    return this.#judge(id, args);
  }

  /** Two approvers and nothing else: the call is made. */
  async approveTwice(): Promise<void> {
    const args = this.#next();
    const id = await held(this.#agent, 'x__echo', args);
    const both = await Promise.all([this.#here, this.#there].map((one) => decide(one, id, 'approve')));
    assert.deepEqual(both.map(({ status }) => status).sort(), [200, 409]);
    assert.equal(await endOf(this.#here, id), 'succeeded');
    assert.equal(this.#sent(args), 1);
  }

  /** Kills the process that is told to approve, somewhere between that and the recorded outcome. */
  async kill(): Promise<string> {
    const args = this.#next();
    const id = await held(this.#agent, 'x__echo', args);
    const deciding = decide(this.#here, id, 'approve').catch(() => undefined);
    await delay(randomInt(0, 40));
    this.#here.process.kill('SIGKILL');
    await deciding;
    await this.#here.stop('SIGKILL');
    const alone = this.#there === this.#here;
    this.#here = await this.#process('here');
    if (alone) this.#there = this.#here;
    this.#agent = new Agent(`${this.#here.url}/projects/demo/mcp`, this.#agent.token);
    const { state } = await administrate(this.#here, 'GET', `/approvals/${id}`);
    if (state !== 'pending') return this.#judge(id, args);
    assert.equal(this.#sent(args), 0);
    await decide(this.#here, id, 'cancel');
    return 'pending';
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#used.disposeAsync();
  }

  async #judge(id: string, args: { round: string }): Promise<string> {
    const state = await endOf(this.#there, id);
    const sent = this.#sent(args);
    const expected = state === 'succeeded' ? [1] : state === 'unknown' ? [0, 1] : [0];
    assert.ok(expected.includes(sent), `approval ${id} is ${state}, and its call was sent ${sent} times`);
    return state;
  }

  #next(): { round: string } {
    this.#round += 1;
    return { round: `${this.#where}-${this.#round}` };
  }

  #sent({ round }: { round: string }): number {
    return this.#oracle.calls.filter((call) => call.arguments.round === round).length;
  }

  #process(name: string): Promise<TestCastellan> {
    const dataDir = path.join(this.#folder, name);
    return startCastellan(['--config', this.#config], { dataDir, env: this.#env });
  }

  async #stop(): Promise<void> {
    for (const one of new Set([this.#here, this.#there])) await one?.stop();
  }

  /** Lets its time come in so many milliseconds, by the clock that counts. */
  async #expire(id: string, inMs: number): Promise<void> {
    if (this.#databaseUrl === undefined) {
      const database = new DatabaseSync(path.join(this.#folder, 'here', 'castellan.db'), { timeout: 5_000 });
      database.prepare('update approvals set expires_at = ? where id = ?').run(Date.now() + inMs, id);
      database.close();
      return;
    }
    const client = new pg.Client({ connectionString: this.#databaseUrl });
    await client.connect();
    await client.query(
      'update approvals set expires_at = (extract(epoch from clock_timestamp()) * 1000)::bigint + $1 where id = $2',
      [inMs, id],
    );
    await client.end();
  }
}
