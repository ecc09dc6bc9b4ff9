import type { Kysely } from 'kysely';
import { Refusal } from '../base/errors.ts';
import type { Schema } from '../store/schema.ts';
import type { Audit } from './audit.ts';
import type { AuditFilter } from './filter.ts';
import { matching } from './query.ts';
import { type RecordedEvent, recordedEvent } from './row.ts';

/** What comes after a place in all chains; give `next` back to go on. */
export type TailPage = { items: RecordedEvent[]; next: string };
/** The last sequence seen of each chain, by ordinal. */
type Seen = Map<number, number>;

/** Only these many chains, the newest, are followed: those of processes that still run. */
const FOLLOWED = 64;
const MAX_ITEMS = 500;
const PATIENCE_MS = 25_000;
/** Other processes on the same database tell nobody here. */
const LOOK_EVERY_MS = 1_000;
const MAX_WAITING = 50;

/** Follows the audit as it grows, in the order of each chain. */
export class AuditTail {
  readonly #db: Kysely<Schema>;
  readonly #audit: Audit;
  #waiting = 0;

  constructor(db: Kysely<Schema>, audit: Audit) {
    this.#db = db;
    this.#audit = audit;
  }

  /**
   * Events after `after`, waiting up to 25 seconds for the first; without `after`, only where the end is now.
   * @throws Refusal `unavailable` when too many wait already, `invalid` for a place that is none
   */
  async wait(filter: AuditFilter, after: string | undefined, left: AbortSignal): Promise<TailPage> {
    if (after === undefined) return { items: [], next: written(await this.#ends()) };
    if (this.#waiting >= MAX_WAITING) {
      throw new Refusal('unavailable', `watch: ${MAX_WAITING} others watch already; try again later`);
    }
    let seen = placeOf(after);
    const deadline = Date.now() + PATIENCE_MS;
    this.#waiting += 1;
    try {
      for (;;) {
        const page = await this.#after(filter, seen);
        seen = page.seen;
        const over = left.aborted || Date.now() >= deadline;
        if (page.items.length > 0 || over) return { items: page.items, next: written(seen) };
        await this.#news(left);
      }
    } finally {
      this.#waiting -= 1;
    }
  }

  async #after(filter: AuditFilter, seen: Seen): Promise<{ items: RecordedEvent[]; seen: Seen }> {
    const newest = Math.max(0, ...seen.keys());
    const items: RecordedEvent[] = [];
    const now: Seen = new Map();
    for (const { id, ordinal, head_seq: end } of await this.#chains()) {
      const from = seen.get(ordinal) ?? (ordinal > newest ? 0 : end);
      now.set(ordinal, from);
      const room = MAX_ITEMS - items.length;
      if (end <= from || room === 0) continue;
      const rows = await matching(
        this.#db
          .selectFrom('audit_events')
          .selectAll()
          .where('chain', '=', id)
          .where('seq', '>', from)
          .where('seq', '<=', end),
        filter,
      )
        .orderBy('seq')
        .limit(room)
        .execute();
      items.push(...rows.map(recordedEvent));
      now.set(ordinal, rows.length === room ? rows.at(-1)!.seq : end);
    }
    items.sort((a, b) => (a.at < b.at ? -1 : a.at > b.at ? 1 : 0));
    return { items, seen: now };
  }

  async #ends(): Promise<Seen> {
    return new Map((await this.#chains()).map(({ ordinal, head_seq }) => [ordinal, head_seq]));
  }

  #chains() {
    return this.#db
      .selectFrom('audit_chains')
      .select(['id', 'ordinal', 'head_seq'])
      .orderBy('ordinal', 'desc')
      .limit(FOLLOWED)
      .execute();
  }

  /** Resolves with the next commit of this process, or when it is time to look at what others wrote. */
  #news(left: AbortSignal): Promise<void> {
    return new Promise((resolve) => {
      const done = () => {
        clearTimeout(timer);
        unlisten();
        left.removeEventListener('abort', done);
        resolve();
      };
      const timer = setTimeout(done, LOOK_EVERY_MS);
      const unlisten = this.#audit.onCommit(done);
      left.addEventListener('abort', done);
    });
  }
}

function written(seen: Seen): string {
  return Buffer.from(JSON.stringify([...seen])).toString('base64url');
}

function placeOf(text: string): Seen {
  try {
    const pairs = JSON.parse(Buffer.from(text, 'base64url').toString()) as unknown[];
    const isPair = (pair: unknown) =>
      Array.isArray(pair) && pair.length === 2 && pair.every((part) => Number.isSafeInteger(part));
    if (pairs.length <= FOLLOWED && pairs.every(isPair)) return new Map(pairs as [number, number][]);
  } catch {
    // Said below.
  }
  throw new Refusal('invalid', 'after: is no place that an earlier answer gave: start without it');
}
