/** So many in any stretch of this length; they may come all at once. */
export type Rate = { calls: number; perMs: number };

/**
 * One more at `now` under the rate. `state` is when all that was taken is paid for, ms: it is all that has to be kept,
 * and 0 where nothing is. Refused, it says how long to wait.
 */
export function taken(
  state: number,
  { calls, perMs }: Rate,
  now: number,
): { ok: true; state: number } | { ok: false; retryAfterMs: number } {
  const next = Math.max(state, now) + perMs / calls;
  const early = next - now - perMs;
  // What the division leaves over is no reason to refuse.
  return early > 1e-6 ? { ok: false, retryAfterMs: Math.ceil(early) } : { ok: true, state: next };
}
