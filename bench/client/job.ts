import type { Era } from '../era.ts';
import type { LoopPlan, LoopResult } from './closed-loop.ts';
import type { Operation } from './wire.ts';

/** What the load client speaks to: a URL, or the arguments of a Node script that it starts and talks to over pipes. */
export type Target = { kind: 'http'; url: string; token?: string } | { kind: 'stdio'; args: string[] };

export type Job = {
  target: Target;
  era: Era;
  operation: Operation;
  /** The tool's name as the target exposes it. */
  tool: string;
  /** How many tools a complete list has. */
  tools: number;
  concurrency: number;
  plan: LoopPlan;
  /** Roots of the process trees whose CPU the window measures. */
  trees: { gateway?: number; upstream?: number };
};

/** CPU in seconds over the window. A stdio target's child counts as `upstream`. */
export type CpuSeconds = { client: number; gateway?: number; upstream?: number };

/** `strangers` is the share (0 to 1) of all cores that went to processes outside the measurement. */
export type JobOutcome = LoopResult & { cpu: CpuSeconds; strangers: number };

/** What the load client's process sends back for one job. */
export type JobReply = { outcome: JobOutcome } | { error: string };
