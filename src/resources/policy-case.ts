import { z } from 'zod';
import { CallerFacts, ToolFacts } from '../policy/expression.ts';
import type { PolicyBook } from '../policy/policy-book.ts';
import type { DefaultAction, Verdict } from '../policy/verdict.ts';
import { DEFAULT_PROJECT } from './objects.ts';
import { keysOnly, type Problem, problemsOf } from './problems.ts';

export const POLICY_CASE = keysOnly({
  name: z.string().max(200).optional(),
  project: z.string().optional(),
  surface: z.enum(['consumer', 'operator']).optional(),
  /** Canonical name. */
  tool: z.string().min(1).max(256),
  args: z.record(z.string(), z.unknown()).optional(),
  readOnly: z.boolean().optional(),
  caller: keysOnly({
    owner: z.string().optional(),
    principal: z.string().optional(),
    token: z.string().optional(),
  }).optional(),
  expect: z.enum(['allow', 'deny', 'approve']).optional(),
});

/** A call as somebody imagines it, and what they expect of the policies. */
export type PolicyCase = z.infer<typeof POLICY_CASE>;

export type JudgedCase = {
  tool: string;
  project: string;
  action: Verdict['action'];
  /** What decided, as in `humans-first rules[0]`. */
  by: string;
  reason?: string;
  /** The condition of that rule failed, and it counts because it does. */
  failed?: true;
};

/** What is wrong with a case; `base` is the way to it. */
export function caseProblems(value: unknown, base: (string | number)[]): Problem[] {
  return problemsOf(POLICY_CASE, value, base);
}

/** What the policies say about the call, without anybody making it. */
export function judge(
  book: PolicyBook,
  defaultActionOf: (project: string) => DefaultAction,
  {
    project = DEFAULT_PROJECT,
    surface = 'consumer',
    tool,
    args = {},
    readOnly = false,
    caller = {},
  }: PolicyCase,
): JudgedCase {
  const { owner = 'admin', token = '' } = caller;
  const principal = caller.principal ?? `User:${owner}`;
  const verdict = book
    .of(project, defaultActionOf(project))
    .tool(tool)
    .decide(() => ({
      args,
      caller: new CallerFacts({ owner, principal, token, project, surface }),
      tool: new ToolFacts({ name: tool, server: tool.split('__')[0] ?? '', readOnly }),
    }));
  return {
    tool,
    project,
    action: verdict.action,
    by: decidedBy(verdict),
    ...(verdict.reason === undefined ? {} : { reason: verdict.reason }),
    ...(verdict.failed ? { failed: true } : {}),
  };
}

function decidedBy({ by }: Verdict): string {
  if (by === 'defaultAction') return 'defaultAction';
  return 'fault' in by ? `${by.policy} (unreadable: ${by.fault})` : `${by.policy} rules[${by.rule}]`;
}
