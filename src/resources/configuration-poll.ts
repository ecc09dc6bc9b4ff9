import { messageOf, Refusal } from '../base/errors.ts';
import type { Logger } from '../base/logger.ts';

const POLL_MS = 2_000;
/** What was taken from somebody acts everywhere within this time: nobody is let in by anything older. */
const MAX_AGE_MS = 5_000;
const PATIENCE_MS = 2_000;

/** Takes over what other processes on the same database change, and knows how old the picture is. */
export class ConfigurationPoll {
  readonly #refresh: () => Promise<void>;
  readonly #logger: Logger;
  readonly #timer: NodeJS.Timeout;
  /** When the last look that succeeded began, monotonic ms. */
  #readAt = performance.now();
  #looking: Promise<void> | undefined;
  #fault: string | undefined;

  constructor(refresh: () => Promise<void>, logger: Logger) {
    this.#refresh = refresh;
    this.#logger = logger;
    this.#timer = setInterval(() => void this.#look(), POLL_MS).unref();
  }

  /** False: ask `current` before anybody is let in. */
  get isCurrent(): boolean {
    return performance.now() - this.#readAt < MAX_AGE_MS;
  }

  /** Looks now if the picture is old. @throws Refusal `unavailable` when it stays so */
  async current(): Promise<void> {
    if (this.isCurrent) return;
    let timer: NodeJS.Timeout | undefined;
    const patience = new Promise<void>((resolve) => {
      timer = setTimeout(resolve, PATIENCE_MS);
    });
    await Promise.race([this.#look(), patience]);
    clearTimeout(timer);
    if (!this.isCurrent)
      throw new Refusal('unavailable', 'changes of the configuration cannot be read from the database');
  }

  close(): void {
    clearInterval(this.#timer);
  }

  #look(): Promise<void> {
    const at = performance.now();
    this.#looking ??= this.#refresh()
      .then(
        () => {
          this.#readAt = at;
          this.#fault = undefined;
        },
        (error) => {
          const fault = messageOf(error);
          if (fault !== this.#fault) this.#logger.warn({ error }, 'configuration changes cannot be read');
          this.#fault = fault;
        },
      )
      .finally(() => {
        this.#looking = undefined;
      });
    return this.#looking;
  }
}
