import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { Agent, administrate, type Message, newAgent } from './agent.ts';
import { postgresDatabase, TEST_MASTER_KEY, type TestDatabase } from './databases.ts';
import { eventually } from './processes.ts';
import { startCastellan, type TestCastellan } from './running-castellan.ts';
import { type VendorHabits, VendorProcess } from './vendor-process.ts';

export type Place = 'SQLite' | 'PostgreSQL';

const SERVER = 'tracker';
/** A process that died with a renewal is followed after five seconds; the rest is for a busy machine. */
const RECOVERY_MS = 45_000;

/** Processes of Castellan on one database, a vendor in a process of its own, and somebody signed in there. */
export class Signed implements AsyncDisposable {
  readonly vendor: VendorProcess;
  castellans: TestCastellan[] = [];
  readonly #folder: string;
  readonly #database: TestDatabase | undefined;
  #token = '';

  private constructor(vendor: VendorProcess, folder: string, database: TestDatabase | undefined) {
    this.vendor = vendor;
    this.#folder = folder;
    this.#database = database;
  }

  /** PostgreSQL has two processes, SQLite one. */
  static async start(place: Place, habits: VendorHabits, spec: object = {}): Promise<Signed> {
    const vendor = await VendorProcess.start(habits);
    const folder = await mkdtemp(path.join(tmpdir(), 'castellan-vendor-'));
    const database = place === 'PostgreSQL' ? await postgresDatabase() : undefined;
    const signed = new Signed(vendor, folder, database);
    try {
      signed.castellans.push(await signed.another(0));
      if (database) signed.castellans.push(await signed.another(1));
      const auth = { type: 'oauth', ...spec };
      await signed.#put('Server', SERVER, { url: vendor.url, auth });
      await signed.#put('Project', 'p', { servers: [SERVER] });
      const made = await newAgent(signed.first, 'p');
      signed.#token = made.token ?? '';
    } catch (error) {
      await signed[Symbol.asyncDispose]();
      throw error;
    }
    return signed;
  }

  get first(): TestCastellan {
    const [first] = this.castellans;
    if (!first) throw new Error('no process of Castellan runs');
    return first;
  }

  /** Starts the process of this place anew. */
  another(place: number): Promise<TestCastellan> {
    const url = this.#database?.databaseUrl;
    const env = url ? { CASTELLAN_DATABASE_URL: url, CASTELLAN_MASTER_KEY: TEST_MASTER_KEY } : undefined;
    return startCastellan([], { dataDir: path.join(this.#folder, `data-${place}`), ...(env && { env }) });
  }

  async signIn(): Promise<void> {
    const login = `/servers/${SERVER}/login`;
    const { url } = (await this.#administrate('POST', login, { flow: 'paste' })) as { url: string };
    await this.#administrate('POST', `${login}/complete`, { url: await this.vendor.visit(url) });
  }

  agentAt(castellan: TestCastellan): Agent {
    return new Agent(`${castellan.url}/projects/p/mcp`, this.#token);
  }

  /** Calls until one goes through, or says why none will. */
  async recover(castellan: TestCastellan): Promise<'works' | 'needs login'> {
    const agent = this.agentAt(castellan);
    let last: Message | undefined;
    let verdict: 'works' | 'needs login' | undefined;
    const settled = async () => {
      last = await agent.call(`${SERVER}__echo`).catch(() => undefined);
      if (last?.result && !last.result.isError) verdict = 'works';
      const { code } = last?.result?._meta?.['castellan/error'] ?? {};
      if (code === 'UPSTREAM_NEEDS_LOGIN') verdict = 'needs login';
      return verdict !== undefined;
    };
    await eventually('a call has an outcome', settled, RECOVERY_MS).catch((error: Error) => {
      throw new Error(`${error.message}: ${JSON.stringify(last)}`);
    });
    assert.ok(verdict);
    return verdict;
  }

  /** What the server is said to need. */
  async lastError(castellan: TestCastellan): Promise<string> {
    const { lastError } = (await administrate(castellan, 'GET', `/servers/${SERVER}/status`)) as {
      lastError?: string;
    };
    return lastError ?? '';
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const castellan of this.castellans) await castellan.stop('SIGKILL');
    await this.vendor[Symbol.asyncDispose]();
    await this.#database?.dispose();
    await rm(this.#folder, { recursive: true, force: true });
  }

  #put(kind: string, name: string, spec: object) {
    return this.#administrate('PUT', `/${kind.toLowerCase()}s/${name}`, { kind, metadata: { name }, spec });
  }

  #administrate(method: string, route: string, body: object) {
    return administrate(this.first, method, route, body);
  }
}

/** So many calls and lists at once on a token that is over: every one is answered, after one refresh. */
export async function refreshOnce(place: Place, calls: number): Promise<void> {
  await using signed = await Signed.start(place, { lifeSeconds: 3, graceSeconds: 0, pauseMs: 300 });
  await signed.signIn();
  for (const castellan of signed.castellans) assert.equal(await signed.recover(castellan), 'works');
  const before = signed.vendor.progress.refreshes;
  await sleep(3_100);
  const agents = signed.castellans.map((castellan) => signed.agentAt(castellan));
  const answers = await Promise.all(
    Array.from({ length: calls }, (_, at) => {
      const agent = agents[at % agents.length];
      assert.ok(agent);
      return agent.call(`${SERVER}__echo`);
    }),
  );
  for (const { result, error } of answers)
    assert.ok(result && !result.isError, JSON.stringify(error ?? result));
  assert.equal(signed.vendor.progress.refreshes - before, 1, 'refreshes at the vendor');
}

export type KillFigures = {
  kills: number;
  /** How far the vendor was when the process died. */
  asked: number;
  issued: number;
  answered: number;
  /** The vendor refused the refresh token, and somebody had to sign in again. */
  lost: number;
  /** Between the kill and the first call that went through, ms, the longest. */
  slowestMs: number;
};

/**
 * Kills the process that renews at a random moment, so many times, and looks whether the next one goes on with the
 * grant. A vendor that forgives nothing may end it; then that has to be said, and signing in again has to help.
 */
export async function killWhileRenewing(
  place: Place,
  kills: number,
  graceSeconds: number,
): Promise<KillFigures> {
  await using signed = await Signed.start(place, { lifeSeconds: 1, graceSeconds, pauseMs: 40 });
  await signed.signIn();
  const figures: KillFigures = { kills: 0, asked: 0, issued: 0, answered: 0, lost: 0, slowestMs: 0 };
  assert.equal(await signed.recover(signed.first), 'works');
  while (figures.kills < kills) await killOnce(signed, figures);
  return figures;
}

async function killOnce(signed: Signed, figures: KillFigures): Promise<void> {
  const { vendor } = signed;
  const victim = signed.first;
  const agent = signed.agentAt(victim);
  const calling = new AbortController();
  const load = (async () => {
    while (!calling.signal.aborted) await agent.call(`${SERVER}__echo`).catch(() => sleep(5));
  })();
  const began = await vendor.next('asked', 20_000);
  assert.ok(began, 'a token is renewed');
  await sleep(Math.random() * 70);
  const { stage } = vendor.progress;
  victim.process.kill('SIGKILL');
  const killed = performance.now();
  calling.abort();
  await victim.stop('SIGKILL');
  await load;
  figures.kills += 1;
  figures[stage] += 1;
  const place = Number(victim.dataDir.slice(-1));
  const starting = signed.another(place);
  const [, survivor] = signed.castellans;
  const next = survivor ?? (await starting);
  const verdict = await signed.recover(next);
  if (verdict === 'works') figures.slowestMs = Math.max(figures.slowestMs, performance.now() - killed);
  signed.castellans = survivor ? [survivor, await starting] : [next];
  if (verdict === 'works') return;
  figures.lost += 1;
  assert.match(await signed.lastError(next), /cut off|already has one|the vendor ended the sign-in/);
  await signed.signIn();
  assert.equal(await signed.recover(next), 'works');
}
