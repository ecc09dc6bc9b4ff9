import { LRUCache } from 'lru-cache';
import type { AuthenticatedCaller } from './caller.ts';

/** The product's promise: what ends a token acts within this time everywhere. */
const MAX_AGE_MS = 5_000;
const MAX_ENTRIES = 10_000;

type Entry = { caller: AuthenticatedCaller; readAt: number; expiresAt: number };

/**
 * Answers of the last five seconds, keyed by the SHA-256 of the raw token. An answer read before something ended is
 * never kept after it: `epoch` is taken before the look-up and compared when its answer arrives.
 */
export class CallerCache {
  readonly #entries = new LRUCache<string, Entry>({ max: MAX_ENTRIES });
  #epoch = 0;

  get epoch(): number {
    return this.#epoch;
  }

  get(hash: string, now: number): AuthenticatedCaller | undefined {
    const entry = this.#entries.get(hash);
    if (!entry) return undefined;
    const age = now - entry.readAt;
    // A negative age is a clock that was set back.
    if (age >= 0 && age < MAX_AGE_MS && entry.expiresAt > now) return entry.caller;
    this.#entries.delete(hash);
    return undefined;
  }

  keep(hash: string, entry: Entry, epoch: number): void {
    if (epoch === this.#epoch) this.#entries.set(hash, entry);
  }

  drop(hash: string): void {
    this.#epoch += 1;
    this.#entries.delete(hash);
  }
}
