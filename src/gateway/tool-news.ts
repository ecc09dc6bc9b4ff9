import type { ToolSightings } from '../audit/sightings.ts';
import { messageOf } from '../base/errors.ts';
import type { Logger } from '../base/logger.ts';
import { definitionFingerprint } from '../pins/definition.ts';
import { findingsIn, kindsOf, newRoom } from '../pins/suspicious-text.ts';
import type { JsonObject } from '../protocol/jsonrpc.ts';
import { canonicalName } from '../protocol/names.ts';
import type { Upstreams } from '../upstream/upstreams.ts';

/** A server that changes its list over and over is looked at this rarely. */
const SETTLE_MS = 1_000;

/** Has the audit told of tools that appear, change or disappear, once a list has settled. */
export class ToolNews implements AsyncDisposable {
  readonly #sightings: ToolSightings;
  readonly #upstreams: Upstreams;
  readonly #logger: Logger;
  readonly #waiting = new Map<string, NodeJS.Timeout>();
  readonly #noting = new Set<Promise<void>>();

  constructor(sightings: ToolSightings, upstreams: Upstreams, logger: Logger) {
    this.#sightings = sightings;
    this.#upstreams = upstreams;
    this.#logger = logger;
  }

  /** The catalogue of a server is another one. */
  changed(server: string): void {
    if (this.#waiting.has(server)) return;
    const timer = setTimeout(() => {
      this.#waiting.delete(server);
      const noting = this.#note(server).finally(() => this.#noting.delete(noting));
      this.#noting.add(noting);
    }, SETTLE_MS);
    this.#waiting.set(server, timer.unref());
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const timer of this.#waiting.values()) clearTimeout(timer);
    this.#waiting.clear();
    await Promise.all(this.#noting);
  }

  async #note(name: string): Promise<void> {
    const listings = this.#upstreams.get(name)?.listings() ?? [];
    // No list is no news: a server that is down has lost nothing.
    if (listings.length === 0) return;
    const definitions = new Map<string, JsonObject>();
    for (const { tools } of listings) {
      for (const tool of tools) {
        if (!definitions.has(tool.name)) definitions.set(tool.name, tool.definition);
      }
    }
    const seen = new Map([...definitions].map(([tool, one]) => [tool, definitionFingerprint(one)]));
    const room = newRoom();
    try {
      await this.#sightings.note(name, seen, (tool) => ({
        canonical: canonicalName(name, tool),
        flags: kindsOf(findingsIn(definitions.get(tool), room)),
      }));
    } catch (error) {
      this.#logger.warn({ server: name, error: messageOf(error) }, 'news of tools could not be recorded');
    }
  }
}
