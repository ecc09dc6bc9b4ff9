import type { LoopPlan } from './client/closed-loop.ts';
import type { Job, JobOutcome } from './client/job.ts';
import type { Contender, Scenario } from './scenarios.ts';

/** Round by round what one contender did in one scenario; `failure` ends its part. */
export type Series = { outcomes: JobOutcome[]; failure?: string };
export type Measured = { scenario: Scenario; series: Partial<Record<Contender, Series>> };

export type RoundsPlan = { rounds: number; window: LoopPlan };
export type Trees = { upstream: number; floor: number; castellan: number | undefined };

/**
 * Every round runs every scenario, and in it every contender, one right after the other: a ratio compares
 * neighbours in time. The order turns by one from round to round, so that none always follows the same neighbour.
 */
export async function runRounds(
  scenarios: Scenario[],
  plan: RoundsPlan,
  trees: Trees,
  run: (job: Job) => Promise<JobOutcome>,
  progress: (line: string) => void,
): Promise<Measured[]> {
  const measured = scenarios.map((scenario): Measured => ({ scenario, series: {} }));
  for (let round = 0; round < plan.rounds; round += 1) {
    for (const [index, entry] of measured.entries()) {
      progress(`round ${round + 1}/${plan.rounds}, ${index + 1}/${measured.length}: ${entry.scenario.title}`);
      for (const contender of turned(entry.scenario, round)) {
        await runOnce(entry, contender, plan.window, trees, run);
      }
    }
  }
  return measured;
}

function turned(scenario: Scenario, round: number): Contender[] {
  const contenders = Object.keys(scenario.aims) as Contender[];
  const start = round % contenders.length;
  return [...contenders.slice(start), ...contenders.slice(0, start)];
}

async function runOnce(
  entry: Measured,
  contender: Contender,
  plan: LoopPlan,
  trees: Trees,
  run: (job: Job) => Promise<JobOutcome>,
): Promise<void> {
  entry.series[contender] ??= { outcomes: [] };
  const series = entry.series[contender];
  if (series.failure !== undefined) return;
  try {
    series.outcomes.push(await run(jobOf(entry.scenario, contender, plan, trees)));
  } catch (error) {
    series.failure = error instanceof Error ? error.message : String(error);
  }
}

/** A stdio server is a child of the gateway, so its CPU is in the gateway's tree. */
export function jobOf(scenario: Scenario, contender: Contender, plan: LoopPlan, trees: Trees): Job {
  const { era, operation, concurrency, tools } = scenario;
  const { target, tool } = scenario.aims[contender]!;
  const gateway = contender === 'direct' ? undefined : trees[contender];
  return {
    target,
    era,
    operation,
    tool,
    tools,
    concurrency,
    plan,
    trees: { gateway, upstream: trees.upstream },
  };
}
