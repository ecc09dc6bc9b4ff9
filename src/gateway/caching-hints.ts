import type { JsonObject } from '../protocol/jsonrpc.ts';

/**
 * The caching hints of lists (2026-07-28 server/utilities/caching). Always private: what a surface shows depends on
 * who asks. A list that is the same object and as fresh as before gets the same object again, whose text is kept.
 */
export class CachingHints {
  private readonly last = new WeakMap<JsonObject, JsonObject>();

  on(list: JsonObject, ttlMs: number): JsonObject {
    const known = this.last.get(list);
    if (known?.ttlMs === ttlMs) return known;
    const hinted: JsonObject = { ...list, ttlMs, cacheScope: 'private' };
    this.last.set(list, hinted);
    return hinted;
  }
}
