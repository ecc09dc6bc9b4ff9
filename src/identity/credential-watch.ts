import { messageOf } from '../base/errors.ts';
import type { Logger } from '../base/logger.ts';

const LOOK_EVERY_MS = 2_000;
const IDS_PER_QUERY = 500;

/**
 * Looks after the credentials that something lives on (a stream, a session): whatever ended one, its expiry or another
 * process on the same database included, is noticed within two seconds.
 */
export class CredentialWatch {
  readonly #livingOf: (ids: readonly string[]) => Promise<ReadonlySet<string>>;
  readonly #logger: Logger;
  readonly #onEnded: (id: string) => void;
  readonly #holders = new Map<string, number>();
  #timer: NodeJS.Timeout | undefined;
  #looking: Promise<void> | undefined;

  /** @param livingOf those of a few hundred ids that are still valid */
  constructor(
    livingOf: (ids: readonly string[]) => Promise<ReadonlySet<string>>,
    logger: Logger,
    onEnded: (id: string) => void,
  ) {
    this.#livingOf = livingOf;
    this.#logger = logger;
    this.#onEnded = onEnded;
  }

  /** @returns call it once when that which lives on the credential is gone */
  hold(id: string): () => void {
    this.#holders.set(id, (this.#holders.get(id) ?? 0) + 1);
    this.#timer ??= setInterval(() => void this.look(), LOOK_EVERY_MS).unref();
    let held = true;
    return () => {
      if (!held) return;
      held = false;
      const rest = (this.#holders.get(id) ?? 0) - 1;
      if (rest > 0) this.#holders.set(id, rest);
      else this.#holders.delete(id);
      if (this.#holders.size === 0) this.#stop();
    };
  }

  /** One look at all that are held. Never rejects; while the database is away nothing ends. */
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
        const living = await this.#livingOf(asked);
        for (const id of asked) if (!living.has(id)) this.#onEnded(id);
      }
    } catch (error) {
      this.#logger.warn(
        { error: messageOf(error) },
        'credentials in use could not be compared with the database',
      );
    }
  }
}
