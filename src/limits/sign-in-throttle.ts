import { boundedCache } from '../base/bounded-cache.ts';
import { type Rate, taken } from './rate.ts';

/** Passwords that one address may try, for whomever: this many at once, and one more every half minute. */
const BY_NETWORK: Rate = { calls: 20, perMs: 20 * 30_000 };
/** Passwords that may be tried for one account, from wherever it is not known: one more each minute. */
const BY_ACCOUNT: Rate = { calls: 10, perMs: 10 * 60_000 };
/** Passwords that may be tried in a browser in which that account signed in before. */
const BY_BROWSER: Rate = { calls: 10, perMs: 10 * 30_000 };
const MAX_KEYS = 50_000;

/** Where a password is tried, and for whom. `browser` names one in which the account signed in before. */
export type Attempt = { network: string; account: string; browser: string | undefined };

/**
 * Keeps people from guessing passwords. Nothing is ever locked, tries only become rare; and a browser in which the
 * account signed in before has tries of its own, so that guessers elsewhere keep nobody out there.
 */
export class SignInThrottle {
  readonly #now: () => number;
  readonly #states = boundedCache<string, number>(MAX_KEYS);

  /** @param now a clock that only goes forward, ms */
  constructor(now: () => number) {
    this.#now = now;
  }

  /** Counts a try before it is made. How long to wait when there is none left, ms; undefined: go on. */
  take(attempt: Attempt): number | undefined {
    const now = this.#now();
    const next = bucketsOf(attempt).map(([key, rate]) => ({
      key,
      taken: taken(this.#states.get(key) ?? 0, rate, now),
    }));
    const waits = next.flatMap((one) => (one.taken.ok ? [] : [one.taken.retryAfterMs]));
    if (waits.length > 0) return Math.max(...waits);
    for (const { key, taken: one } of next) if (one.ok) this.#states.set(key, one.state);
    return undefined;
  }

  /** Gives back the try of a password that was right. */
  right(attempt: Attempt): void {
    for (const [key, { perMs, calls }] of bucketsOf(attempt)) {
      const state = this.#states.get(key);
      if (state !== undefined) this.#states.set(key, state - perMs / calls);
    }
  }
}

function bucketsOf({ network, account, browser }: Attempt): [string, Rate][] {
  if (browser !== undefined) return [[`browser ${browser}`, BY_BROWSER]];
  return [
    [`network ${network}`, BY_NETWORK],
    [`account ${account}`, BY_ACCOUNT],
  ];
}
