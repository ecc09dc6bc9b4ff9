import type { JsonObject } from '../protocol/jsonrpc.ts';

export type WatchResource = (
  uri: string,
  updated: (params: JsonObject) => void,
) => Promise<(() => void) | undefined>;

/** How many resources one stream or session may subscribe to, and how long their URIs may be. */
export const MAX_SUBSCRIPTIONS = 100;
export const MAX_URI = 2_048;

/** The resources that one open stream tells of. */
export class ResourceFeed {
  private readonly watch: WatchResource;
  private readonly updated: (params: JsonObject) => void;
  private readonly watched = new Map<string, Promise<(() => void) | undefined>>();
  private ended = false;

  constructor(watch: WatchResource, updated: (params: JsonObject) => void) {
    this.watch = watch;
    this.updated = updated;
  }

  /** From now on these and no others. Resolves with those that some server tells of. */
  async set(uris: readonly string[]): Promise<string[]> {
    const wanted = new Set(this.ended ? [] : uris);
    for (const uri of [...this.watched.keys()]) if (!wanted.has(uri)) this.drop(uri);
    const all = [...wanted].map(async (uri) => ((await this.one(uri)) ? [uri] : []));
    return (await Promise.all(all)).flat();
  }

  end(): void {
    this.ended = true;
    for (const uri of [...this.watched.keys()]) this.drop(uri);
  }

  private one(uri: string): Promise<(() => void) | undefined> {
    const known = this.watched.get(uri);
    if (known) return known;
    const watching = this.watch(uri, this.updated);
    this.watched.set(uri, watching);
    // What nobody tells of is asked for anew when it is wanted again.
    void watching.then((end) => {
      if (!end && this.watched.get(uri) === watching) this.watched.delete(uri);
    });
    return watching;
  }

  private drop(uri: string): void {
    const watching = this.watched.get(uri);
    this.watched.delete(uri);
    void watching?.then((end) => end?.());
  }
}

/** The URIs of a subscription request that are URIs at all, each once and not too many. */
export function subscribable(uris: unknown): string[] {
  if (!Array.isArray(uris)) return [];
  const valid = uris.filter((uri) => typeof uri === 'string' && uri !== '' && uri.length <= MAX_URI);
  return [...new Set<string>(valid)].slice(0, MAX_SUBSCRIPTIONS);
}
