import { z } from 'zod';
import { compileRules, type HoldTerms, type Policy, type Rule } from '../policy/policy.ts';
import { NOTIFY, noticeTarget, notifyProblems } from './notify-fields.ts';
import {
  describeProblem,
  keysOnly,
  type LocatedProblem,
  type Problem,
  problemsOf,
  textThat,
} from './problems.ts';
import { duration, quantityFault } from './quantities.ts';

const MAX_RULES = 200;

const globs = z.array(textThat(globFault)).min(1).max(100);

const RULE = keysOnly({
  tools: globs,
  when: z.string().optional(),
  action: z.enum(['allow', 'deny', 'approve']),
  reason: z.string().min(1).max(500).optional(),
  approvers: z.array(textThat(approverFault)).min(1).max(100).optional(),
  expires: textThat((value) => quantityFault(duration, value, '1m', '30d')).optional(),
  selfApproval: z.enum(['page', 'cli', 'never']).optional(),
  executeOn: z.enum(['approve', 'retry']).optional(),
  holdMs: z.int().min(0).max(300_000).optional(),
  outcomeTtl: textThat((value) => quantityFault(duration, value, '1m', '30d')).optional(),
  notify: NOTIFY.optional(),
});

/** What has a meaning beside `action: approve` alone. */
const HOLD_FIELDS = [
  'approvers',
  'expires',
  'selfApproval',
  'executeOn',
  'holdMs',
  'outcomeTtl',
  'notify',
] as const;
const HOUR_MS = 3_600_000;

export const POLICY = keysOnly({
  description: z.string().max(1000).optional(),
  projects: globs,
  rules: z.array(RULE).min(1).max(MAX_RULES),
});

type PolicyFields = z.infer<typeof POLICY>;

/** What is wrong with the spec of a Policy, its expressions included. */
export function policyProblems(spec: unknown): Problem[] {
  const read = readPolicy(spec);
  return 'problems' in read ? read.problems : [];
}

/**
 * The policy as the decision sees it. One that this version cannot read denies what it would cover, and where even
 * that cannot be read, everything.
 */
export function policyOf(name: string, spec: unknown, locate: (problem: Problem) => LocatedProblem): Policy {
  const read = readPolicy(spec);
  if (!('problems' in read)) return { name, ...read };
  const described = read.problems.slice(0, 5).map((problem) => describeProblem(locate(problem)));
  return { name, projects: readableProjects(spec), fault: described.join('; ') };
}

function readPolicy(spec: unknown): { problems: Problem[] } | { projects: string[]; rules: Rule[] } {
  const shape = problemsOf(POLICY, spec, ['spec']);
  if (shape.length > 0) return { problems: shape };
  const { projects, rules: written } = spec as PolicyFields;
  const { rules, problems } = compileRules(
    written.map((rule) => (rule.action === 'approve' ? { ...rule, hold: holdTerms(rule) } : rule)),
  );
  const whens = problems.map(({ rule, message }) => ({ path: ['spec', 'rules', rule, 'when'], message }));
  const all = [...written.flatMap(approvalProblems), ...whens];
  return all.length > 0 ? { problems: all } : { projects, rules };
}

function approvalProblems(rule: PolicyFields['rules'][number], index: number): Problem[] {
  const at = (field: string, message: string) => ({ path: ['spec', 'rules', index, field], message });
  if (rule.action === 'approve') {
    const path = ['spec', 'rules', index, 'notify'];
    return rule.notify ? notifyProblems(rule.notify, path, holdTerms(rule).expiresMs) : [];
  }
  return HOLD_FIELDS.filter((field) => rule[field] !== undefined).map((field) =>
    at(field, `has no meaning beside action: ${rule.action}: remove it`),
  );
}

function holdTerms(rule: PolicyFields['rules'][number]): HoldTerms {
  const ms = (text: string | undefined, fallback: number) =>
    text === undefined ? fallback : (duration.parse(text) ?? fallback);
  return {
    approvers: rule.approvers ?? [],
    expiresMs: ms(rule.expires, HOUR_MS),
    selfApproval: rule.selfApproval ?? 'page',
    executeOn: rule.executeOn ?? 'approve',
    holdMs: rule.holdMs ?? 25_000,
    outcomeTtlMs: ms(rule.outcomeTtl, 24 * HOUR_MS),
    ...(rule.notify && { notify: noticeTarget(rule.notify) }),
  };
}

function readableProjects(spec: unknown): readonly string[] {
  const projects = globs.safeParse((spec as { projects?: unknown } | undefined)?.projects);
  return projects.success ? projects.data : ['*'];
}

function globFault(value: string): string | undefined {
  if (value === '') return 'is empty: write a name or a pattern such as github__*';
  return value.length > 256 ? 'is longer than 256 characters: shorten it' : undefined;
}

function approverFault(value: string): string | undefined {
  return /^(?:User|Group):\S{1,254}$/.test(value)
    ? undefined
    : 'names nobody: write User:alice@example.com or Group:oncall';
}
