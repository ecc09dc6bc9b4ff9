/**
 * What one server offers to one circle of callers, kept and refreshed.
 *
 * empty     nothing known: a reader starts the load and waits for it, to its own deadline
 * fresh     served as it is
 * stale     served as it is while one refresh runs behind it
 * overdue   a load takes longer than a reader wanted to wait: until one succeeds nobody waits, readers only start them
 * failed    no list and a recent failure: readers get the failure at once until `retryAt`, then one of them loads
 *
 * After a failure a load is tried again by itself, ever more rarely, for as long as somebody asked not long ago: clients
 * list once and then wait to be told of changes. A changed-notification makes a list stale at once; refreshes start at most once a second, however many arrive.
 */
import { messageOf } from '../base/errors.ts';
import { isObject } from '../protocol/jsonrpc.ts';
import type { Listing } from './listing.ts';
import { isAboutAccess, UpstreamFault } from './transport.ts';

export type CatalogueOptions = {
  load(deadline: number): Promise<Listing>;
  /** The offer differs from the one before. */
  onChange(): void;
};

const FRESH_MS = 60_000;
const FRESH_WITH_NOTICE_MS = 600_000;
const MIN_TTL_MS = 5_000;
const MAX_TTL_MS = 3_600_000;
const RETRY_MS = 5_000;
const MAX_RETRY_MS = 60_000;
/** Interest in a list that cannot be had is taken for lost after this long. */
const WANTED_MS = 600_000;
const MIN_REFRESH_GAP_MS = 1_000;
const LOAD_TIMEOUT_MS = 60_000;

export class Catalogue {
  private readonly options: CatalogueOptions;
  private listing: Listing | undefined;
  private staleAt = 0;
  /** Until when a reader may take the list for what the server offers; the next load may come earlier or later. */
  private freshUntil = 0;
  private retryAt = 0;
  private failure: UpstreamFault | undefined;
  private loading: Promise<void> | undefined;
  private lastStart = 0;
  private refreshTimer: NodeJS.Timeout | undefined;
  private closed = false;
  private overdue = false;
  private failures = 0;
  private lastWanted = 0;
  private retryTimer: NodeJS.Timeout | undefined;

  constructor(options: CatalogueOptions) {
    this.options = options;
  }

  /** The last good list, whatever its age. Starts a load when it is stale, or when none ever came in time. */
  peek(): Listing | undefined {
    this.lastWanted = Date.now();
    const due = this.listing ? this.staleAt : this.overdue ? this.retryAt : Number.POSITIVE_INFINITY;
    if (Date.now() >= due && !this.loading) this.refreshSoon();
    return this.listing;
  }

  /** The same without starting anything: for status, which must not wake a server up. */
  peekQuietly(): Listing | undefined {
    return this.listing;
  }

  get fault(): UpstreamFault | undefined {
    return this.failure;
  }

  /** How long, ms, there will be nothing newer to learn: as long as the server said, or until a failed load is tried again. */
  freshFor(now: number): number {
    return Math.max(0, (this.listing ? this.freshUntil : this.retryAt) - now);
  }

  /** True when nothing is known yet and waiting for it may help. */
  get worthWaiting(): boolean {
    if (this.listing || this.closed || this.overdue) return false;
    return this.loading !== undefined || Date.now() >= this.retryAt;
  }

  /**
   * Waits, at most to the deadline, until there is a list or a failure. A patient reader (who wants this server and
   * no other) also waits for a load that has kept others waiting too long.
   */
  async settled(deadline: number, patient = false): Promise<Listing | undefined> {
    if (this.listing) return this.peek();
    this.lastWanted = Date.now();
    const hopeful = patient && !this.closed && (this.loading !== undefined || Date.now() >= this.retryAt);
    if (!this.worthWaiting && !hopeful) return undefined;
    const inTime = await within(this.start(), deadline);
    if (!inTime && !patient) this.overdue = true;
    return this.listing;
  }

  /** Reads the lists anew, whatever their age; undefined where that failed, or took longer than to the deadline. */
  async renewed(deadline: number): Promise<Listing | undefined> {
    if (this.closed) return undefined;
    this.lastWanted = Date.now();
    const inTime = await within(this.start(), deadline);
    return inTime && !this.failure ? this.listing : undefined;
  }

  /** The server says that its offer changed. */
  invalidate(): void {
    this.staleAt = 0;
    this.freshUntil = 0;
    if (this.listing) this.refreshSoon();
    else this.retryAt = 0;
  }

  /** Forgets a failure, so that the next reader tries again (the server was reached in some other way). */
  retryNow(): void {
    this.retryAt = 0;
  }

  close(): void {
    this.closed = true;
    clearTimeout(this.refreshTimer);
    clearTimeout(this.retryTimer);
  }

  private refreshSoon(): void {
    if (this.refreshTimer || this.closed) return;
    const wait = Math.max(0, this.lastStart + MIN_REFRESH_GAP_MS - Date.now(), this.retryAt - Date.now());
    this.refreshTimer = setTimeout(() => {
      this.refreshTimer = undefined;
      void this.start();
    }, wait);
    this.refreshTimer.unref();
  }

  private retryLater(error: unknown): void {
    this.failures += 1;
    // A server that wants a login has one after somebody acted, and not after some time.
    const hopeless = error instanceof UpstreamFault && isAboutAccess(error);
    if (hopeless || this.closed || Date.now() - this.lastWanted > WANTED_MS) return;
    const wait = Math.min(MAX_RETRY_MS, RETRY_MS * 2 ** Math.min(8, this.failures - 1));
    this.retryTimer = setTimeout(() => void this.start(), wait).unref();
  }

  private start(): Promise<void> {
    this.loading ??= this.load().finally(() => {
      this.loading = undefined;
    });
    return this.loading;
  }

  /** The server's word counts from when it was asked, and stays its word where it is asked again less often. */
  private keepFor(lifetimeMs: number, ttlMs = lifetimeMs): void {
    this.staleAt = Date.now() + lifetimeMs;
    this.freshUntil = this.lastStart + Math.min(lifetimeMs, ttlMs);
  }

  private async load(): Promise<void> {
    this.lastStart = Date.now();
    clearTimeout(this.retryTimer);
    // A notice that arrives while the lists are read makes the result stale again.
    this.staleAt = Number.POSITIVE_INFINITY;
    try {
      const listing = await this.options.load(this.lastStart + LOAD_TIMEOUT_MS);
      if (this.closed) return;
      const changed = this.failure !== undefined || this.listing?.signature !== listing.signature;
      this.listing = listing;
      this.overdue = false;
      this.failure = undefined;
      this.retryAt = 0;
      this.failures = 0;
      if (this.staleAt !== 0) this.keepFor(lifetimeOf(listing), listing.ttlMs);
      else this.refreshSoon();
      if (changed) this.options.onChange();
    } catch (error) {
      const before = this.failure?.message;
      this.failure =
        error instanceof UpstreamFault
          ? error
          : new UpstreamFault('protocol', messageOf(error), { sent: true });
      this.retryAt = Date.now() + RETRY_MS;
      this.staleAt = this.retryAt;
      this.retryLater(error);
      // The reason is shown, and another one may have another remedy.
      if (this.failure.message !== before && !this.closed) this.options.onChange();
    }
  }
}

/** How long a list is kept: what the server says, within bounds that spare it questions and us old news. */
function lifetimeOf({ ttlMs, peer }: Listing): number {
  if (ttlMs !== undefined) return Math.min(MAX_TTL_MS, Math.max(MIN_TTL_MS, ttlMs));
  const { tools, prompts, resources } = peer.capabilities;
  const announced = [tools, prompts, resources].every((one) => !isObject(one) || one.listChanged === true);
  return announced && peer.era === 'legacy' ? FRESH_WITH_NOTICE_MS : FRESH_MS;
}

/** Whether the work ended before the deadline. */
function within(work: Promise<void>, deadline: number): Promise<boolean> {
  return new Promise((resolve) => {
    const timer = setTimeout(() => resolve(false), Math.max(0, deadline - Date.now()));
    void work.then(() => {
      clearTimeout(timer);
      resolve(true);
    });
  });
}
