import { messageOf } from '../../base/errors.ts';
import type { Logger } from '../../base/logger.ts';
import type { Watcher, WatchLease } from '../../upstream/watch.ts';
import type { Tickets } from './tickets.ts';

/** What another process on the same database did to a ticket is told within this time. */
const LOOK_EVERY_MS = 2_000;
const MAX_WATCHED = 10_000;
/** Ids of one statement. */
const LOOKED_AT_ONCE = 500;

/** `sees`: whether the watcher may still see the ticket. */
type Watch = { id: string; uri: string; watcher: Watcher; sees(): Promise<boolean> };

/** Tells whoever watches a ticket that it has changed, whichever process changed it. */
export class TicketWatches {
  readonly #tickets: Tickets;
  readonly #logger: Logger;
  readonly #watches = new Set<Watch>();
  /** The version of each watched ticket that was told of last. */
  readonly #told = new Map<string, number>();
  readonly #timer: NodeJS.Timeout;
  readonly #unlisten: () => void;
  #looking: Promise<void> | undefined;
  #again = false;

  constructor(tickets: Tickets, logger: Logger) {
    this.#tickets = tickets;
    this.#logger = logger;
    this.#unlisten = tickets.onChange(() => this.#look());
    this.#timer = setInterval(() => this.#look(), LOOK_EVERY_MS).unref();
  }

  /** Undefined: as many are watched as may be. */
  watch(watch: Watch): WatchLease | undefined {
    if (this.#watches.size >= MAX_WATCHED) return undefined;
    return { active: this.#begin(watch), release: () => this.#end(watch) };
  }

  async close(): Promise<void> {
    clearInterval(this.#timer);
    this.#unlisten();
    this.#watches.clear();
    await this.#looking;
  }

  async #begin(watch: Watch): Promise<boolean> {
    try {
      if (!(await watch.sees())) return false;
      const version = (await this.#tickets.versions([watch.id])).get(watch.id) ?? 0;
      if (!this.#told.has(watch.id)) this.#told.set(watch.id, version);
      this.#watches.add(watch);
      return true;
    } catch {
      // The database is away: that is the same as not being able to tell.
      return false;
    }
  }

  #end(watch: Watch): void {
    this.#watches.delete(watch);
    if (![...this.#watches].some(({ id }) => id === watch.id)) this.#told.delete(watch.id);
  }

  /** One look at a time; a change that comes meanwhile makes another one. */
  #look(): void {
    this.#again = this.#looking !== undefined;
    if (this.#again || this.#watches.size === 0) return;
    this.#looking = this.#compare()
      .catch((error) => this.#logger.warn({ error: messageOf(error) }, 'watched tickets could not be read'))
      .finally(() => {
        this.#looking = undefined;
        if (this.#again) this.#look();
      });
  }

  async #compare(): Promise<void> {
    const ids = [...this.#told.keys()];
    for (let at = 0; at < ids.length; at += LOOKED_AT_ONCE) {
      const versions = await this.#tickets.versions(ids.slice(at, at + LOOKED_AT_ONCE));
      for (const [id, version] of versions) {
        if (!this.#told.has(id) || this.#told.get(id) === version) continue;
        this.#told.set(id, version);
        for (const watch of this.#watches) if (watch.id === id) await tell(watch);
      }
    }
  }
}

async function tell({ watcher, uri, sees }: Watch): Promise<void> {
  if (await sees()) watcher.updated({ uri });
  else watcher.lost();
}
