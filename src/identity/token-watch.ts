import { messageOf } from '../base/errors.ts';
import type { Logger } from '../base/logger.ts';
import type { Store } from '../store/database.ts';

const LOOK_EVERY_MS = 2_000;
const IDS_PER_QUERY = 500;

/**
 * Looks after the tokens that something lives on (a stream, a session): whatever ended one, its expiry or another
 * process on the same database included, is noticed within two seconds.
 */
export class TokenWatch {
  readonly #store: Store;
  readonly #logger: Logger;
  readonly #now: () => number;
  readonly #onEnded: (tokenId: string) => void;
  readonly #holders = new Map<string, number>();
  #timer: NodeJS.Timeout | undefined;
  #looking: Promise<void> | undefined;

  constructor(store: Store, logger: Logger, now: () => number, onEnded: (tokenId: string) => void) {
    this.#store = store;
    this.#logger = logger;
    this.#now = now;
    this.#onEnded = onEnded;
  }

  /** @returns call it once when that which lives on the token is gone */
  hold(tokenId: string): () => void {
    this.#holders.set(tokenId, (this.#holders.get(tokenId) ?? 0) + 1);
    this.#timer ??= setInterval(() => void this.look(), LOOK_EVERY_MS).unref();
    let held = true;
    return () => {
      if (!held) return;
      held = false;
      const rest = (this.#holders.get(tokenId) ?? 0) - 1;
      if (rest > 0) this.#holders.set(tokenId, rest);
      else this.#holders.delete(tokenId);
      if (this.#holders.size === 0) this.#stop();
    };
  }

  /** One look at all held tokens. Never rejects; while the database is away nothing ends. */
  look(): Promise<void> {
    this.#looking ??= this.#compare().finally(() => {
      this.#looking = undefined;
    });
    return this.#looking;
  }

  async close(): Promise<void> {
    this.#stop();
    await this.#looking;
  }

  #stop(): void {
    clearInterval(this.#timer);
    this.#timer = undefined;
  }

  async #compare(): Promise<void> {
    const ids = [...this.#holders.keys()];
    try {
      for (let start = 0; start < ids.length; start += IDS_PER_QUERY) {
        const asked = ids.slice(start, start + IDS_PER_QUERY);
        const valid = await this.#store.db
          .selectFrom('mcp_tokens')
          .select('id')
          .where('id', 'in', asked)
          .where('revoked_at', 'is', null)
          .where((where) =>
            where.or([where('expires_at', 'is', null), where('expires_at', '>', this.#now())]),
          )
          .execute();
        const living = new Set(valid.map((row) => row.id));
        for (const id of asked) if (!living.has(id)) this.#onEnded(id);
      }
    } catch (error) {
      this.#logger.warn({ error: messageOf(error) }, 'tokens in use could not be compared with the database');
    }
  }
}
