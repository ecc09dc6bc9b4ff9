import { boundedCache } from '../base/bounded-cache.ts';
import { type Rate, taken } from './rate.ts';

/** Sessions that one principal may begin: this many at once, and ten more each second. */
const BEGUN: Rate = { calls: 1_000, perMs: 100_000 };
const MAX_PRINCIPALS = 50_000;

/** Keeps a principal from beginning sessions without end: each may leave rows behind that outlive it. */
export class HandshakeLimiter {
  readonly #now: () => number;
  readonly #begun = boundedCache<string, number>(MAX_PRINCIPALS);

  /** @param now a clock that only goes forward, ms */
  constructor(now: () => number) {
    this.#now = now;
  }

  /** One more; or how long to wait for it, ms. */
  take(principal: string): number | undefined {
    const next = taken(this.#begun.get(principal) ?? 0, BEGUN, this.#now());
    if (!next.ok) return next.retryAfterMs;
    this.#begun.set(principal, next.state);
    return undefined;
  }
}
