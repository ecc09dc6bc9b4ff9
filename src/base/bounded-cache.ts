import { LRUCache } from 'lru-cache';

/**
 * Keeps what was used last, at most `max` of it. Counted as sizes, because a cache that is told `max` takes the room
 * for all of them at once: 1 MB for 50,000 that may never come.
 */
export function boundedCache<Key extends object | string, Value extends {}>(
  max: number,
): LRUCache<Key, Value> {
  return new LRUCache<Key, Value>({ maxSize: max, sizeCalculation: one });
}

const one = (): number => 1;
