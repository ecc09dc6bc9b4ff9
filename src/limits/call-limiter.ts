import type { CallLimit, CallLimits } from '../resources/spec.ts';
import { taken } from './rate.ts';

/** Whom a limit counts: all that happens under the same key counts together. */
export type LimitedBy = { subject: keyof CallLimits; key: string; limit: CallLimit };

export type Taken =
  | { ok: true; release: () => void }
  | { ok: false; subject: LimitedBy['subject']; what: 'rate' | 'concurrent'; retryAfterMs: number };

type Account = { state: number; running: number };

const MAX_ACCOUNTS = 100_000;
/** Nobody knows when a running call ends. */
const CONCURRENT_RETRY_MS = 1_000;

/** Counts calls in this process: how many in a stretch of time, how many at once. */
export class CallLimiter {
  readonly #now: () => number;
  readonly #accounts = new Map<string, Account>();

  /** @param now a clock that only goes forward, ms */
  constructor(now: () => number) {
    this.#now = now;
  }

  /** Takes one call from every limit, or, when one refuses, from none. `release` when the call is over, once. */
  take(limits: readonly LimitedBy[]): Taken {
    const now = this.#now();
    const states: number[] = [];
    const accounts = limits.map(({ key }) => this.#account(key, now));
    for (const [index, { subject, limit }] of limits.entries()) {
      const account = accounts[index]!;
      if (limit.concurrent !== undefined && account.running >= limit.concurrent) {
        return { ok: false, subject, what: 'concurrent', retryAfterMs: CONCURRENT_RETRY_MS };
      }
      const one = limit.rate
        ? taken(account.state, limit.rate, now)
        : { ok: true as const, state: account.state };
      if (!one.ok) return { ok: false, subject, what: 'rate', retryAfterMs: one.retryAfterMs };
      states.push(one.state);
    }
    for (const [index, account] of accounts.entries()) {
      account.state = states[index]!;
      account.running += 1;
    }
    let released = false;
    const release = () => {
      if (released) return;
      released = true;
      for (const account of accounts) account.running -= 1;
    };
    return { ok: true, release };
  }

  get size(): number {
    return this.#accounts.size;
  }

  #account(key: string, now: number): Account {
    const known = this.#accounts.get(key);
    if (known) return known;
    if (this.#accounts.size >= MAX_ACCOUNTS) this.#forget(now);
    const account = { state: 0, running: 0 };
    this.#accounts.set(key, account);
    return account;
  }

  /** Accounts that owe nothing say no more than new ones; where few are so, the oldest tenth is let off. */
  #forget(now: number): void {
    const all = [...this.#accounts];
    const settled = all.filter(([, { running, state }]) => running === 0 && state <= now);
    const tenth = MAX_ACCOUNTS / 10;
    const gone = settled.length >= tenth ? settled : all.slice(0, tenth);
    for (const [key] of gone) this.#accounts.delete(key);
  }
}
