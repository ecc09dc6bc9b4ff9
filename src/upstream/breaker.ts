/**
 * When an upstream may be tried again. Pure: time and chance come in as values.
 *
 * closed     every call passes; failures are counted, a success forgets them
 * open       from the `threshold`-th failure in a row until `openUntil`: nothing passes
 * half-open  after `openUntil` one call passes as a probe; while it is out the others are refused
 */
export type Breaker = { readonly failures: number; readonly openUntil: number };

export const CLOSED: Breaker = { failures: 0, openUntil: 0 };

const BASE_MS = 500;
const CEILING_MS = 30_000;
const PROBE_WINDOW_MS = 10_000;

/** `chance` in [0, 1) spreads the retries of many callers; a wait is between half of the exponential step and all of it. */
export function afterFailure(breaker: Breaker, threshold: number, now: number, chance: number): Breaker {
  const failures = breaker.failures + 1;
  if (failures < threshold) return { failures, openUntil: 0 };
  const step = Math.min(CEILING_MS, BASE_MS * 2 ** Math.min(16, failures - threshold));
  return { failures, openUntil: now + step / 2 + (chance * step) / 2 };
}

export function tryPass(
  breaker: Breaker,
  now: number,
): { pass: boolean; next: Breaker; retryAfterMs: number } {
  if (breaker.openUntil === 0) return { pass: true, next: breaker, retryAfterMs: 0 };
  if (now < breaker.openUntil) {
    return { pass: false, next: breaker, retryAfterMs: Math.ceil(breaker.openUntil - now) };
  }
  return { pass: true, next: { ...breaker, openUntil: now + PROBE_WINDOW_MS }, retryAfterMs: 0 };
}
