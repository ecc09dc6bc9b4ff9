import { messageOf } from '../base/errors.ts';
import type { Logger } from '../base/logger.ts';
import type { Store } from '../store/database.ts';

const WRITE_EVERY_MS = 30_000;
const MAX_WAITING = 10_000;

/** When each token was last used, written in batches: a call never waits for it, a crash loses half a minute. */
export class LastUsed {
  readonly #store: Store;
  readonly #logger: Logger;
  readonly #timer: NodeJS.Timeout;
  #waiting = new Map<string, number>();
  #writing: Promise<void> | undefined;

  constructor(store: Store, logger: Logger) {
    this.#store = store;
    this.#logger = logger;
    this.#timer = setInterval(() => void this.flush(), WRITE_EVERY_MS);
    this.#timer.unref();
  }

  note(tokenId: string, now: number): void {
    if (this.#waiting.size < MAX_WAITING || this.#waiting.has(tokenId)) this.#waiting.set(tokenId, now);
  }

  /** A use that is not in the database yet; 0 when there is none. */
  waiting(tokenId: string): number {
    return this.#waiting.get(tokenId) ?? 0;
  }

  /** Never rejects: uses that cannot be written now are written with the next batch. */
  flush(): Promise<void> {
    this.#writing ??= this.#write().finally(() => {
      this.#writing = undefined;
    });
    return this.#writing;
  }

  async close(): Promise<void> {
    clearInterval(this.#timer);
    await this.#writing;
    await this.flush();
  }

  async #write(): Promise<void> {
    const batch = [...this.#waiting];
    if (batch.length === 0) return;
    try {
      await this.#store.db.transaction().execute(async (transaction) => {
        for (const [id, usedAt] of batch) {
          await transaction
            .updateTable('mcp_tokens')
            .set({ last_used_at: usedAt })
            .where('id', '=', id)
            .where((where) =>
              where.or([where('last_used_at', 'is', null), where('last_used_at', '<', usedAt)]),
            )
            .execute();
        }
      });
    } catch (error) {
      this.#logger.warn({ error: messageOf(error) }, 'the last use of tokens could not be written yet');
      return;
    }
    for (const [id, usedAt] of batch) {
      if (this.#waiting.get(id) === usedAt) this.#waiting.delete(id);
    }
  }
}
