import { z } from 'zod';
import { keysOnly, textThat } from './problems.ts';
import { duration, quantityFault } from './quantities.ts';
import type { CallLimit, CallLimits } from './spec.ts';

/** What may have a limit of its own. */
export const LIMITED = ['token', 'user', 'tool', 'surface', 'project'] as const;

const DEFAULT_PER = '1m';

const LIMIT = keysOnly({
  calls: z.int().min(1).max(1_000_000).optional(),
  per: textThat((value) => quantityFault(duration, value, '1s', '24h')).optional(),
  concurrent: z.int().min(1).max(10_000).optional(),
}).superRefine(({ calls, per, concurrent }, context) => {
  if (calls === undefined && per !== undefined)
    context.addIssue({ code: 'custom', path: ['per'], message: 'has no meaning without calls: add calls' });
  else if (calls === undefined && concurrent === undefined)
    context.addIssue({ code: 'custom', message: 'limits nothing: add calls or concurrent' });
});

/** `Project.spec.limits`: what each token, user and surface and the project as a whole may call, and how often each tool. */
export const LIMITS = keysOnly({
  token: LIMIT.optional(),
  user: LIMIT.optional(),
  tool: LIMIT.optional(),
  surface: LIMIT.optional(),
  project: LIMIT.optional(),
});

/** Undefined where nothing is limited. */
export function callLimits(written: z.infer<typeof LIMITS> | undefined): CallLimits | undefined {
  if (!written) return undefined;
  const limits: CallLimits = {};
  for (const subject of LIMITED) {
    const limit = written[subject];
    if (limit) limits[subject] = callLimit(limit);
  }
  return Object.keys(limits).length > 0 ? limits : undefined;
}

function callLimit({ calls, per, concurrent }: z.infer<typeof LIMIT>): CallLimit {
  return {
    rate: calls === undefined ? undefined : { calls, perMs: duration.parse(per ?? DEFAULT_PER)! },
    concurrent,
  };
}
