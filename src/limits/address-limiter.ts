import { boundedCache } from '../base/bounded-cache.ts';
import { type Rate, taken } from './rate.ts';

/** Wrong credentials that one address may present: this many at once, and one more each second. */
const WRONG: Rate = { calls: 100, perMs: 100_000 };
const MAX_ADDRESSES = 50_000;
const MAX_PROVEN = 10_000;

/**
 * Keeps an address from guessing. Wrong credentials are counted by address, not by whom they could belong to, so
 * nobody can lock somebody else out; what was good once is looked at even from an address that has used all its tries.
 */
export class AddressLimiter {
  readonly #now: () => number;
  readonly #wrong = boundedCache<string, number>(MAX_ADDRESSES);
  readonly #proven = boundedCache<string, true>(MAX_PROVEN);

  /** @param now a clock that only goes forward, ms */
  constructor(now: () => number) {
    this.#now = now;
  }

  /**
   * How long the address has to wait before a credential from it is looked at, ms; undefined: not at all.
   * @param fingerprint names the credential without being it
   */
  wait(address: string, fingerprint: () => string): number | undefined {
    const state = this.#wrong.get(address);
    if (state === undefined) return undefined;
    const next = taken(state, WRONG, this.#now());
    if (next.ok || this.#proven.has(fingerprint())) return undefined;
    return next.retryAfterMs;
  }

  wrong(address: string): void {
    const next = taken(this.#wrong.get(address) ?? 0, WRONG, this.#now());
    if (next.ok) this.#wrong.set(address, next.state);
  }

  right(fingerprint: string): void {
    this.#proven.set(fingerprint, true);
  }
}
