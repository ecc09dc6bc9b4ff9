import { cleanForTerminal } from './terminal.ts';
import type { VerbContext } from './verbs.ts';

/** One thing that was looked at. `skipped`: it is not there, or could not be looked at. */
export type Check = { check: string; status: 'pass' | 'fail' | 'skipped'; message: string };

const MARKS = { pass: ['green', '✓'], fail: ['red', '✗'], skipped: ['dim', '-'] } as const;
const MIN_WIDTH = 14;

/** Prints all checks; false when one failed. */
export function printChecks(
  checks: readonly Check[],
  output: 'text' | 'json',
  { terminal }: Pick<VerbContext, 'terminal'>,
): boolean {
  const ok = checks.every(({ status }) => status !== 'fail');
  if (output === 'json') {
    terminal.data(JSON.stringify({ ok, checks }, null, 2));
    return ok;
  }
  const width = Math.max(MIN_WIDTH, ...checks.map(({ check }) => check.length));
  for (const { check, status, message } of checks) {
    const [style, mark] = MARKS[status];
    const text = `${check.padEnd(width)} ${message}`;
    terminal.styledLine(`${terminal.styled(style, mark)} ${cleanForTerminal(text)}`);
  }
  return ok;
}
