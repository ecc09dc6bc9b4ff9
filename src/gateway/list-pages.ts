/**
 * A merged list in pages. An ordinary one is a single page, whose text is written once for everybody. A longer one is
 * cut, and the cursor to the next page is sealed: for this principal on this surface, for this list, and for what was
 * in it. When that has changed the cursor is refused, for the rest of another list would leave gaps and repeats that
 * nobody sees; the client lists again from the start (2026-07-28 server/utilities/pagination, caching).
 */
import type { Sealer } from '../base/seal.ts';
import { isObject, type JsonObject } from '../protocol/jsonrpc.ts';
import type { ListDigests } from './list-kinds.ts';
import { callerContext, type GatewayRequest } from './scope.ts';
import { itemsOf, LIST_KEYS, type ListName, type View } from './view.ts';

/** `whole`: the page is the whole list, the same object for every caller. */
export type Page = { result: JsonObject; whole: boolean };

export type PageLimits = { items: number; characters: number };

type Cursor = { list: ListName; at: number; digest: string };

const LIMITS: PageLimits = { items: 1_000, characters: 4 * 1024 * 1024 };
const PURPOSE = 'list-cursor';

export class ListPages {
  private readonly sealer: Sealer;
  private readonly digests: ListDigests;
  /** Where the pages of a list begin. */
  private readonly starts = new WeakMap<readonly JsonObject[], readonly number[]>();

  constructor(sealer: Sealer, digests: ListDigests) {
    this.sealer = sealer;
    this.digests = digests;
  }

  /** The page that a request asks for; undefined when its cursor is none of this caller for this list as it is. */
  page(from: GatewayRequest, view: View, list: ListName): Page | undefined {
    const whole = view.lists[list];
    const items = itemsOf(view, list);
    const starts = this.startsOf(items);
    // An empty string is a cursor like any other, and none of ours.
    const cursor = from.request.params.cursor ?? undefined;
    if (cursor === undefined && starts.length === 1) return { result: whole, whole: true };
    const at = cursor === undefined ? 0 : this.open(from, list, items, cursor);
    const page = at === undefined ? -1 : starts.indexOf(at);
    if (page < 0) return undefined;
    const next = starts[page + 1];
    const result: JsonObject = { ...whole, [LIST_KEYS[list]]: items.slice(starts[page], next) };
    if (next !== undefined) result.nextCursor = this.seal(from, list, items, next);
    return { result, whole: false };
  }

  private startsOf(items: readonly JsonObject[]): readonly number[] {
    let starts = this.starts.get(items);
    if (!starts) {
      starts = pageStarts(items, LIMITS);
      this.starts.set(items, starts);
    }
    return starts;
  }

  private seal(from: GatewayRequest, list: ListName, items: readonly JsonObject[], at: number): string {
    const cursor: Cursor = { list, at, digest: this.digests.of(items) };
    return this.sealer.seal(PURPOSE, JSON.stringify(cursor), callerContext(from));
  }

  private open(
    from: GatewayRequest,
    list: ListName,
    items: readonly JsonObject[],
    cursor: unknown,
  ): number | undefined {
    if (typeof cursor !== 'string') return undefined;
    const opened = this.sealer.open(PURPOSE, cursor, callerContext(from));
    const known: unknown = opened.ok ? JSON.parse(opened.value) : undefined;
    if (!isObject(known) || known.list !== list || known.digest !== this.digests.of(items)) return undefined;
    return known.at as number;
  }
}

/** Where pages begin that hold so much at most; an item that is too long for any page has one of its own. */
export function pageStarts(items: readonly JsonObject[], limits: PageLimits): readonly number[] {
  const starts = [0];
  let count = 0;
  let characters = 0;
  for (const [at, item] of items.entries()) {
    const length = JSON.stringify(item).length + 1;
    if (count > 0 && (count >= limits.items || characters + length > limits.characters)) {
      starts.push(at);
      count = 0;
      characters = 0;
    }
    count += 1;
    characters += length;
  }
  return starts;
}
