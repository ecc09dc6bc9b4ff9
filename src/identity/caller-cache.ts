import { boundedCache } from '../base/bounded-cache.ts';
import type { AuthenticatedCaller } from './caller.ts';

/** What ends a token acts within five seconds everywhere; the last of them is for the call that is on its way. */
const MAX_AGE_MS = 4_000;
const MAX_ENTRIES = 10_000;

type Entry = { caller: AuthenticatedCaller; hash: string; readAt: number; expiresAt: number };

/**
 * Answers of the last seconds, keyed by the raw token: hashing it again for every call costs more than the rest
 * of the look-up. An answer read before something ended is never kept after it: `epoch` is taken before the look-up
 * and compared when its answer arrives.
 */
export class CallerCache {
  readonly #entries = boundedCache<string, Entry>(MAX_ENTRIES);
  #epoch = 0;

  get epoch(): number {
    return this.#epoch;
  }

  get(raw: string, now: number): AuthenticatedCaller | undefined {
    const entry = this.#entries.get(raw);
    if (!entry) return undefined;
    const age = now - entry.readAt;
    // A negative age is a clock that was set back.
    if (age >= 0 && age < MAX_AGE_MS && entry.expiresAt > now) return entry.caller;
    this.#entries.delete(raw);
    return undefined;
  }

  keep(raw: string, entry: Entry, epoch: number): void {
    if (epoch === this.#epoch) this.#entries.set(raw, entry);
  }

  dropWhere(unwanted: (caller: AuthenticatedCaller) => boolean): void {
    this.#epoch += 1;
    for (const [raw, { caller }] of this.#entries) if (unwanted(caller)) this.#entries.delete(raw);
  }

  drop(hash: string): void {
    this.#epoch += 1;
    for (const [raw, entry] of this.#entries) if (entry.hash === hash) this.#entries.delete(raw);
  }
}
