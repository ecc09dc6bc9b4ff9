/**
 * `npm run bench [-- --quick] [-- --floor-only]`: Castellan against a pass-through floor and against no gateway at all.
 * The report goes to stdout as Markdown, progress to stderr. `--quick` takes about three minutes, the whole twenty;
 * `--floor-only` says what this machine can do, without Castellan.
 */
import { execFileSync } from 'node:child_process';
import { mkdirSync } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { Castellan } from './castellan.ts';
import { ChildProcesses, pathInBench } from './child-processes.ts';
import type { Job, JobOutcome } from './client/job.ts';
import { measureFsync } from './fsync-time.ts';
import { type Memory, memoryOfTree } from './process-usage.ts';
import { renderReport } from './report.ts';
import { jobOf, type RoundsPlan, runRounds, type Trees } from './rounds.ts';
import { allScenarios, floorRoutes, type Scenario } from './scenarios.ts';
import { median } from './statistics.ts';
import type { UpstreamUrls } from './upstream/http-server.ts';

const FULL: RoundsPlan = { rounds: 5, window: { warmupMs: 500, measureMs: 2500, maxCalls: 500_000 } };
const QUICK: RoundsPlan = { rounds: 3, window: { warmupMs: 150, measureMs: 500, maxCalls: 500_000 } };
const MEMORY_CALLS = 20_000;
const COLD_STARTS = 5;
const SETTLE_MS = 1_000;

type Facts = [string, string][];
type Run = (job: Job) => Promise<JobOutcome>;

const progress = (line: string): void => void process.stderr.write(`${line}\n`);
const milliseconds = (value: number): string => `${value.toFixed(value < 10 ? 2 : 0)} ms`;

/** Cold starts one after the other; the last one stays up. */
async function measureColdStarts(castellan: Castellan, facts: Facts): Promise<void> {
  const times: number[] = [];
  for (let turn = 0; turn < COLD_STARTS; turn += 1) {
    progress(`cold start ${turn + 1}/${COLD_STARTS}`);
    await castellan.stop();
    times.push(await castellan.start());
  }
  facts.push(['cold start to the first complete tools/list', milliseconds(median(times))]);
  const empty = Array.from({ length: COLD_STARTS }, () => {
    const started = performance.now();
    execFileSync(process.execPath, ['-e', '0']);
    return performance.now() - started;
  });
  facts.push(['for scale: an empty Node process', milliseconds(median(empty))]);
}

const megabytes = ({ rss, pss }: Memory): string =>
  `${(rss / 1e6).toFixed(0)} MB (process tree, shared pages split: ${(pss / 1e6).toFixed(0)} MB)`;

/** Idle, and right after 20,000 calls at concurrency 16, half of them in each era. */
async function measureMemory(scenarios: Scenario[], trees: Trees, run: Run, facts: Facts): Promise<void> {
  await delay(SETTLE_MS);
  const calls = scenarios.filter(({ operation, concurrency }) => operation === 'call' && concurrency === 16);
  const httpCalls = calls.filter(({ aims }) => aims.direct?.target.kind === 'http').slice(0, 2);
  const plan = { warmupMs: 0, measureMs: 120_000, maxCalls: MEMORY_CALLS / httpCalls.length };
  for (const contender of ['floor', 'castellan'] as const) {
    const pid = trees[contender];
    if (pid === undefined) continue;
    progress(`memory of ${contender}`);
    facts.push([`memory of ${contender}, idle`, megabytes(memoryOfTree(pid))]);
    for (const scenario of httpCalls) await run(jobOf(scenario, contender, plan, trees));
    const after = megabytes(memoryOfTree(pid));
    facts.push([`memory of ${contender}, after ${MEMORY_CALLS.toLocaleString('en')} calls`, after]);
  }
}

async function measureDisk(facts: Facts): Promise<void> {
  const scratch = pathInBench('../node_modules/.cache');
  mkdirSync(scratch, { recursive: true });
  const { p50Ms, p99Ms } = await measureFsync(scratch);
  facts.push([
    'durable append of 4 KiB (fsync), p50 / p99',
    `${milliseconds(p50Ms)} / ${milliseconds(p99Ms)}`,
  ]);
}

/** Everything started goes onto `stack`, so that an interrupted run leaves neither process nor file behind. */
async function bench(stack: AsyncDisposableStack, plan: RoundsPlan, floorOnly: boolean): Promise<boolean> {
  const facts: Facts = [];
  const children = stack.use(new ChildProcesses());
  const upstream = await children.startReady<UpstreamUrls>('upstream/http-server.ts');
  const routes = JSON.stringify(floorRoutes(upstream.ready));
  const floor = await children.startReady<{ url: string }>('floor/server.ts', [routes]);
  const client = children.startClient();
  const castellan = floorOnly ? undefined : await Castellan.prepare(children, stack, upstream.ready);
  if (castellan !== undefined) await measureColdStarts(castellan, facts);
  const trees: Trees = { upstream: upstream.pid, floor: floor.pid, castellan: castellan?.pid };
  const scenarios = allScenarios({
    upstream: upstream.ready,
    floorUrl: floor.ready.url,
    castellan: castellan?.access,
  });
  await measureMemory(scenarios, trees, client, facts);
  const measured = await runRounds(scenarios, plan, trees, client, progress);
  if (castellan !== undefined)
    facts.push(['memory of castellan, after all rounds', megabytes(memoryOfTree(castellan.pid))]);
  await measureDisk(facts);
  process.stdout.write(renderReport(measured, facts));
  return measured.every(({ series }) => Object.values(series).every(({ failure }) => failure === undefined));
}

async function main(): Promise<void> {
  const options = { quick: { type: 'boolean' }, 'floor-only': { type: 'boolean' } } as const;
  const { values } = parseArgs({ options });
  await using stack = new AsyncDisposableStack();
  for (const signal of ['SIGINT', 'SIGTERM'] as const)
    process.once(signal, () => void stack.disposeAsync().finally(() => process.exit(130)));
  const complete = await bench(stack, values.quick ? QUICK : FULL, values['floor-only'] === true);
  if (!complete) process.exitCode = 1;
}

await main();
