import { readFile } from 'node:fs/promises';
import { parse } from 'yaml';
import type { Check } from './official-tool.ts';

/** Why checks of some suites fail, as written in expected-failures.yaml. */
export type ExpectedFailure = { suites: string[]; checks: string[]; reason: string };

export async function readExpectedFailures(file: URL): Promise<ExpectedFailure[]> {
  const entries: unknown = parse(await readFile(file, 'utf8')) ?? [];
  if (!Array.isArray(entries)) throw new Error('expected-failures.yaml must hold a list');
  for (const { suites, checks, reason } of entries as Partial<ExpectedFailure>[])
    if (!suites?.length || !checks?.length || !reason)
      throw new Error('expected-failures.yaml: an entry needs suites, checks and a reason');
  return entries as ExpectedFailure[];
}

export type Verdict = { passed: number; unexpected: string[]; expected: number };

/** Splits what failed into what was expected and what was not; an expectation that did not come true is a failure. */
export function judge(suite: string, checks: readonly Check[], expectations: ExpectedFailure[]): Verdict {
  const allowed = new Set(
    expectations.filter(({ suites }) => suites.includes(suite)).flatMap((entry) => entry.checks),
  );
  const seen = new Set<string>();
  const verdict: Verdict = { passed: 0, unexpected: [], expected: 0 };
  for (const { key, status, message } of checks) {
    if (status === 'SUCCESS') verdict.passed += 1;
    if (status !== 'FAILURE') continue;
    seen.add(key);
    if (allowed.has(key)) verdict.expected += 1;
    else verdict.unexpected.push(`${key}: ${message}`);
  }
  for (const key of allowed)
    if (!seen.has(key)) verdict.unexpected.push(`${key}: is expected to fail, but does not (stale)`);
  return verdict;
}
