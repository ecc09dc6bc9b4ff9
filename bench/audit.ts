import type { LoopPlan } from './client/closed-loop.ts';
import type { Job, JobOutcome } from './client/job.ts';
import { type CastellanAccess, callServer, RELAXED_PROJECT } from './scenarios.ts';

const MODES = { strict: 'calls', relaxed: RELAXED_PROJECT } as const;

/**
 * Calls that are announced in the audit: `strict` ones wait until their row is on the disk, `relaxed` ones do not. To
 * be read beside the disk's own time for an fsync.
 */
export async function measureAudit(
  castellan: CastellanAccess & { pid: number },
  plan: LoopPlan,
  run: (job: Job) => Promise<JobOutcome>,
): Promise<[string, string][]> {
  const facts: [string, string][] = [];
  for (const concurrency of [16, 64]) {
    for (const [mode, project] of Object.entries(MODES)) {
      const url = `${castellan.url}/projects/${project}/mcp`;
      const { calls, seconds, p50Ms, p99Ms, cpu } = await run({
        target: { kind: 'http', url, token: castellan.tokens[project]! },
        era: 'modern',
        operation: 'call',
        tool: `${callServer('modern')}__echo`,
        tools: 0,
        concurrency,
        plan,
        trees: { gateway: castellan.pid },
      });
      const rate = `${Math.round(calls / seconds).toLocaleString('en')} calls/s`;
      const each =
        cpu.gateway === undefined ? '' : `, ${Math.round((cpu.gateway / calls) * 1e6)} µs CPU a call`;
      facts.push([
        `audit ${mode}, ${concurrency} calls at once`,
        `${rate}, p50 ${p50Ms.toFixed(2)} ms, p99 ${p99Ms.toFixed(2)} ms${each}`,
      ]);
    }
  }
  return facts;
}
