import { cleanForTerminal, type Terminal } from './terminal.ts';
import type { VerbContext } from './verbs.ts';

/** One thing that was looked at. `warn`: it works, and should be known · `skipped`: it is not there, or hidden. */
export type Check = { check: string; status: 'pass' | 'warn' | 'fail' | 'skipped'; message: string };

const MARKS = {
  pass: ['green', '✓'],
  warn: ['yellow', '!'],
  fail: ['red', '✗'],
  skipped: ['dim', '-'],
} as const;
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
  for (const check of checks) terminal.styledLine(checkLine(check, terminal, width));
  return ok;
}

export function checkLine({ check, status, message }: Check, terminal: Terminal, width = MIN_WIDTH): string {
  const [style, mark] = MARKS[status];
  return `${terminal.styled(style, mark)} ${cleanForTerminal(`${check.padEnd(width)} ${message}`)}`;
}
