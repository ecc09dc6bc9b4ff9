import { boundedCache } from '../base/bounded-cache.ts';
import { type Rate, taken } from './rate.ts';

const MAX_KEYS = 50_000;

/** One rate for each of many: addresses, clients. */
export class KeyedRate {
  readonly #rate: Rate;
  readonly #now: () => number;
  readonly #states = boundedCache<string, number>(MAX_KEYS);

  /** @param now a clock that only goes forward, ms */
  constructor(rate: Rate, now: () => number) {
    this.#rate = rate;
    this.#now = now;
  }

  /** Takes one. How long to wait when there is none left, ms; undefined: go on. */
  take(key: string): number | undefined {
    const next = taken(this.#states.get(key) ?? 0, this.#rate, this.#now());
    if (!next.ok) return next.retryAfterMs;
    this.#states.set(key, next.state);
    return undefined;
  }
}
