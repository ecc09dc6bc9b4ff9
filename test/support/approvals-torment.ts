import assert from 'node:assert/strict';
import { randomInt } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { setTimeout as delay } from 'node:timers/promises';
import pg from 'pg';
import { Agent, administrate, type Loose, newAgent, writeConfig } from './agent.ts';
import { postgresDatabase, TEST_MASTER_KEY } from './databases.ts';
import { decide, endOf, errorIn, held, holdingPolicy, stateOf } from './held-calls.ts';
import { OracleUpstream } from './oracle-upstream.ts';
import { eventually } from './processes.ts';
import { startCastellan, type TestCastellan } from './running-castellan.ts';

export type Where = 'sqlite' | 'postgres';

/** What the rounds came to: how many ended in each state. */
export type Tally = Record<string, number>;

const HELD = ['x__echo', 'x__hold'];
const approvalIn = (answer: Loose): string | undefined =>
  errorIn(answer)?.approvalId ?? answer.result?._meta?.['castellan/approval']?.approvalId;

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
  readonly #unjudged: { id: string; args: { round: string } }[] = [];

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
    const oracle = used.use(await OracleUpstream.start('modern', ['echo', 'hold']));
    const config = await writeConfig(
      path.join(folder, 'castellan.json'),
      { x: { url: oracle.url } },
      { demo: { servers: ['x'], changedTools: 'warn' } },
    );
    const databaseUrl = database?.databaseUrl;
    const torment = new ApprovalsTorment(where, used, { oracle, config, folder, databaseUrl });
    used.defer(() => torment.#stop());
    torment.#here = await torment.#process('here');
    torment.#there = where === 'postgres' ? await torment.#process('there') : torment.#here;
    torment.#agent = await newAgent(torment.#here, 'demo');
    await administrate(torment.#here, 'PUT', '/policies/humans-first', holdingPolicy(HELD));
    await eventually('both have a policy', () => torment.#policies().then(Boolean, () => false));
    return torment;
  }

  /** Two approvers, the requester who takes it back, and the end of its time, all at one moment. */
  async race(): Promise<string> {
    const args = this.#next();
    const id = await held(this.#agent, 'x__echo', args);
    assert.equal(this.#sent(args), 0);
    const chosen = randomInt(4);
    const soon = randomInt(5, 60);
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

  /**
   * Kills the process that is told to approve, at any moment from the decision to just after the answer of the server,
   * and has the caller ask again. Where the approval stood at that moment; `judgeAll` says later what became of it.
   */
  async kill(): Promise<string> {
    const args = this.#next();
    const id = await held(this.#agent, 'x__hold', args);
    const before = this.#oracle.calls.length;
    const deciding = decide(this.#here, id, 'approve').catch(() => undefined);
    if (randomInt(2) === 0) {
      const answering = delay(randomInt(0, 90)).then(() => this.#oracle.letGo());
      await delay(randomInt(10, 120));
      this.#here.process.kill('SIGKILL');
      await answering;
    } else {
      await this.#oracle.arrival(before);
      this.#oracle.letGo();
      await delay(randomInt(0, 8));
      this.#here.process.kill('SIGKILL');
    }
    await this.#here.stop('SIGKILL');
    const found = await this.#stateIn(id);
    await deciding;
    const alone = this.#there === this.#here;
    this.#here = await this.#process('here');
    if (alone) this.#there = this.#here;
    this.#agent = new Agent(`${this.#here.url}/projects/demo/mcp`, this.#agent.token);
    const again = await this.#agent.call('x__hold', args);
    this.#oracle.letGo();
    assert.equal(approvalIn(again), id, `the call after the kill is another one: ${JSON.stringify(again)}`);
    // A decision may have been on its way to the database, which still took it.
    const stood = found === 'pending' && (await stateOf(this.#here, id)) !== 'pending' ? 'approved' : found;
    if (stood === 'pending') {
      assert.equal(this.#sent(args), 0);
      await decide(this.#here, id, 'cancel');
    }
    this.#unjudged.push({ id, args });
    return stood;
  }

  /**
   * Changes the policy or the tool at any moment of an approval, and has the caller ask again: it stays the same
   * approval, whatever came first, and a call that was sent is not hidden by what has changed since.
   */
  async edit(): Promise<string> {
    await eventually('both know the policy', async () => new Set(await this.#policies()).size === 1);
    const args = this.#next();
    const id = await held(this.#agent, 'x__hold', args);
    const change = async (): Promise<void> => {
      if (randomInt(2) === 0) this.#oracle.about = { description: args.round };
      else {
        const policy = holdingPolicy(HELD, { expires: `${60 + this.#round}m` });
        await administrate(this.#there, 'PUT', '/policies/humans-first', policy);
      }
    };
    if (randomInt(3) === 0) {
      await change();
      assert.equal((await decide(this.#there, id, 'approve')).status, 409, 'it was not the call any more');
      return this.#judge(id, args);
    }
    const ask = async () => {
      await delay(randomInt(0, 90));
      const again = await this.#agent.call('x__hold', args);
      assert.equal(approvalIn(again), id, `another approval: ${JSON.stringify(again)}`);
    };
    const answer = delay(randomInt(0, 120)).then(() => this.#oracle.letGo());
    const acts = [
      delay(randomInt(0, 120)).then(change),
      ask(),
      answer,
      ...[this.#here, this.#there].map((one) => decide(one, id, 'approve')),
    ];
    const until = setInterval(() => this.#oracle.letGo(), 100);
    await Promise.all(acts);
    clearInterval(until);
    return this.#judge(id, args);
  }

  /** Changes the policy after a decision has looked at it, which waits for the database meanwhile. PostgreSQL alone. */
  async editMeanwhile(): Promise<string> {
    const args = this.#next();
    const id = await held(this.#agent, 'x__echo', args);
    const client = new pg.Client({ connectionString: this.#databaseUrl });
    await client.connect();
    await client.query('begin');
    await client.query('update approvals set changed_at = changed_at where id = $1', [id]);
    const deciding = decide(this.#here, id, 'approve');
    const waits = 'select 1 from pg_locks where not granted and transactionid = pg_current_xact_id()::xid';
    await eventually(
      'the decision waits',
      async () => ((await client.query(waits)).rowCount ?? 0) > 0,
      20_000,
    );
    const policy = holdingPolicy(HELD, { expires: `${60 + this.#round}m` });
    await administrate(this.#here, 'PUT', '/policies/humans-first', policy);
    await client.query('commit');
    await client.end();
    await deciding;
    return this.#judge(id, args);
  }

  /** What became of every approval that was cut short. */
  async judgeAll(): Promise<Tally> {
    const tally: Tally = {};
    const answering = setInterval(() => this.#oracle.letGo(), 100);
    for (const { id, args } of this.#unjudged.splice(0)) {
      const state = await this.#judge(id, args);
      tally[state] = (tally[state] ?? 0) + 1;
    }
    clearInterval(answering);
    return tally;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#used.disposeAsync();
  }

  async #judge(id: string, args: { round: string }): Promise<string> {
    const state = await endOf(this.#there, id);
    const sent = this.#sent(args);
    const expected = state === 'succeeded' ? [1] : state === 'unknown' ? [0, 1] : [0];
    assert.ok(expected.includes(sent), `approval ${id} is ${state}, and its call was sent ${sent} times`);
    const { executedAt, expiresAt } = await administrate(this.#there, 'GET', `/approvals/${id}`);
    // A statement looks at the clock a moment before it writes what the clock says.
    const late = Date.parse(executedAt) - Date.parse(expiresAt) > 5;
    assert.ok(!late, `approval ${id} was over at ${expiresAt}, and made at ${executedAt}`);
    return state;
  }

  /** The policy as each process knows it by now. */
  async #policies(): Promise<string[]> {
    const known = [this.#here, this.#there].map((one) => administrate(one, 'GET', '/policies/humans-first'));
    return (await Promise.all(known)).map(({ spec }) => JSON.stringify(spec));
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
      using database = this.#sqlite();
      database.prepare('update approvals set expires_at = ? where id = ?').run(Date.now() + inMs, id);
      return;
    }
    await this.#postgres(
      'update approvals set expires_at = (extract(epoch from clock_timestamp()) * 1000)::bigint + $1 where id = $2',
      [inMs, id],
    );
  }

  /** As the database has it, for when nobody is there to ask. */
  async #stateIn(id: string): Promise<string> {
    if (this.#databaseUrl === undefined) {
      using database = this.#sqlite();
      return String(database.prepare('select state from approvals where id = ?').get(id)?.state);
    }
    const rows = await this.#postgres('select state from approvals where id = $1', [id]);
    return String(rows[0]?.state);
  }

  #sqlite(): DatabaseSync {
    return new DatabaseSync(path.join(this.#folder, 'here', 'castellan.db'), { timeout: 5_000 });
  }

  async #postgres(text: string, values: unknown[]): Promise<{ state?: string }[]> {
    const client = new pg.Client({ connectionString: this.#databaseUrl });
    await client.connect();
    try {
      return (await client.query(text, values)).rows;
    } finally {
      await client.end();
    }
  }
}
