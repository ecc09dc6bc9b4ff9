import { setTimeout as sleep } from 'node:timers/promises';
import type { AuditPage } from '../../audit/query.ts';
import type { RecordedEvent } from '../../audit/row.ts';
import type { TailPage } from '../../audit/tail.ts';
import { messageOf } from '../../base/errors.ts';
import { isObject } from '../../protocol/jsonrpc.ts';
import { CommandFailure, Exit } from '../exit.ts';
import { type ServerClient, ServerRefusal } from '../server-client.ts';
import { FILTERS, type Filter } from './filters.ts';
import { type Arrival, MAX_ENTRIES } from './model.ts';

/** Longer than the server lets anybody wait for news: without an answer by then, it is gone. */
export const ANSWER_WITHIN_MS = 40_000;

const PAGE = 500;
const SESSION_EVENTS = 1_000;
/** News come together at most this often, however busy the server is. */
const LOOK_EVERY_MS = 200;
const FIRST_WAIT_MS = 500;
const LONGEST_WAIT_MS = 30_000;
const FULL_PAGES_BEHIND = MAX_ENTRIES / PAGE;

type Query = Readonly<Record<string, string | boolean | undefined>>;
/** A connection that was lost: since when (ISO 8601), why, and how often it was tried again. */
type Loss = { since: string; reason: string; tries: number };

/**
 * Carries the audit of one server to the console: pages of the past when they are asked for, and news as they come.
 *
 * following → (no answer) → lost → (wait 0.5 s, doubled up to 30 s) → probe → following where it left off, with the gap
 * told. The place in the audit outlives the connection, so nothing is missed; it is given up, and that is told too, when
 * the server knows it no more or 5,000 events lie between. Being refused ends it.
 */
export class AuditFeed {
  readonly #connect: () => Promise<ServerClient>;
  readonly #project: string | undefined;
  readonly #arrive: (arrival: Arrival) => void;
  #client: ServerClient;
  #place: string | undefined;
  /** The filter whose page was asked for last, and whether the server was away then. */
  #wanted: Filter | undefined;
  #unanswered = false;

  private constructor(deps: FeedDeps, client: ServerClient) {
    this.#connect = deps.connect;
    this.#project = deps.project;
    this.#arrive = deps.arrive;
    this.#client = client;
  }

  /** @throws CommandFailure when the server is away or does not let the caller see its audit */
  static async open(deps: FeedDeps): Promise<AuditFeed> {
    const feed = new AuditFeed(deps, await deps.connect());
    // The end is taken before the past is read, so that nothing falls between.
    feed.#place = (await feed.#watch(undefined)).next;
    return feed;
  }

  /** What is watched. */
  get server(): string {
    const { origin } = this.#client;
    return this.#project === undefined ? origin : `${origin} ${this.#project}`;
  }

  /** What there was before: who had a session, and the first page. */
  async begin(filter: Filter): Promise<void> {
    const [sessions, newest] = await Promise.all([
      this.#query({ event: 'session.*', limit: String(SESSION_EVENTS) }),
      this.#query({ limit: String(PAGE) }),
    ]);
    const events = new Map([...sessions.items, ...newest.items].map((event) => [event.id, event]));
    const inTime = [...events.values()].sort((a, b) => (a.at < b.at ? -1 : a.at > b.at ? 1 : 0));
    this.#arrive({ type: 'seed', events: inTime });
    const isAll = Object.keys(filter).length === 0;
    const page = isAll ? newest : await this.#query({ ...filter, limit: String(PAGE) });
    this.#arrive({ type: 'page', filter, events: page.items, next: page.next });
  }

  /** The newest events that match; asked again by itself when the server was away. */
  async load(filter: Filter): Promise<void> {
    this.#wanted = filter;
    this.#unanswered = false;
    try {
      const { items, next } = await this.#query({ ...filter, limit: String(PAGE) });
      this.#arrive({ type: 'page', filter, events: items, next });
    } catch (error) {
      if (filter === this.#wanted) this.#unanswered = !(error instanceof ServerRefusal);
      this.#arrive({ type: 'failed', filter, reason: messageOf(error) });
    }
  }

  async loadOlder(filter: Filter, cursor: string): Promise<void> {
    try {
      const { items, next } = await this.#query({ ...filter, limit: String(PAGE), cursor });
      this.#arrive({ type: 'older', filter, events: items, next });
    } catch (error) {
      this.#arrive({ type: 'failed', filter, reason: messageOf(error) });
    }
  }

  /** Follows the audit until `over`. @throws CommandFailure when it may no longer be seen */
  async follow(over: AbortSignal): Promise<void> {
    let loss: Loss | undefined;
    let fullPages = 0;
    while (!over.aborted) {
      try {
        if (loss) {
          await this.#reconnect(loss);
          loss = undefined;
        }
        const { items, next } = await this.#watch(this.#place);
        this.#place = next;
        if (items.length > 0) this.#arrive({ type: 'news', events: items });
        fullPages = items.length < PAGE ? 0 : fullPages + 1;
        if (fullPages >= FULL_PAGES_BEHIND) {
          await this.#skip(items.at(-1)?.at, `more than ${MAX_ENTRIES} events came at once`);
          fullPages = 0;
        }
        await sleep(LOOK_EVERY_MS, undefined, { signal: over });
      } catch (error) {
        if (over.aborted) return;
        if (isFinal(error)) throw error;
        const reason = messageOf(error);
        if (isAboutPlace(error)) await this.#skip(undefined, reason).catch(() => undefined);
        loss = { since: loss?.since ?? now(), reason, tries: (loss?.tries ?? 0) + 1 };
        await this.#waitAfter(loss, over);
      }
    }
  }

  async #waitAfter({ since, reason, tries }: Loss, over: AbortSignal): Promise<void> {
    const most = Math.min(LONGEST_WAIT_MS, FIRST_WAIT_MS * 2 ** (tries - 1));
    // Many consoles that lost the same server do not come back together.
    const wait = Math.round(most * (0.75 + Math.random() / 4));
    const nextTry = new Date(Date.now() + wait).toISOString();
    this.#arrive({ type: 'link', link: { state: 'lost', since, nextTry, reason } });
    await sleep(wait, undefined, { signal: over }).catch(() => undefined);
  }

  /** Finds the server anew, because it may have another port and credential now. */
  async #reconnect({ since, reason }: Loss): Promise<void> {
    this.#client = await this.#connect();
    await this.#query({ limit: '1' });
    this.#arrive({ type: 'gap', gap: { from: since, to: now(), reason, skipped: false } });
    this.#arrive({ type: 'link', link: { state: 'live', server: this.server } });
    if (this.#unanswered && this.#wanted) void this.load(this.#wanted);
  }

  async #skip(from: string | undefined, reason: string): Promise<void> {
    const to = now();
    this.#place = (await this.#watch(undefined)).next;
    this.#arrive({ type: 'gap', gap: { from: from ?? to, to, reason, skipped: true } });
  }

  async #query(query: Query): Promise<AuditPage> {
    const answer = await this.#client.get('audit', { project: this.#project, ...query });
    const { next } = answer;
    return { items: eventsOf(answer.items), ...(typeof next === 'string' ? { next } : {}) };
  }

  async #watch(after: string | undefined): Promise<TailPage> {
    const { items, next } = await this.#client.get('audit', { project: this.#project, watch: true, after });
    if (typeof next === 'string') return { items: eventsOf(items), next };
    throw new CommandFailure(
      Exit.failed,
      `${this.server} gives no place in its audit; is it older than this?`,
    );
  }
}

type FeedDeps = {
  connect: () => Promise<ServerClient>;
  /** Only events of this project, whatever is filtered. */
  project: string | undefined;
  arrive: (arrival: Arrival) => void;
};

const now = () => new Date().toISOString();

/** What has no id, time, event or outcome is no event, nor is one whose names are no texts. */
function eventsOf(items: unknown): RecordedEvent[] {
  if (!Array.isArray(items)) return [];
  return items.filter(
    (item) =>
      isObject(item) &&
      [item.id, item.at, item.event, item.outcome].every((value) => typeof value === 'string') &&
      FILTERS.every(({ field }) => item[field] === undefined || typeof item[field] === 'string'),
  );
}

const isFinal = (error: unknown) => error instanceof CommandFailure && error.exitCode === Exit.notPermitted;
const isAboutPlace = (error: unknown) => error instanceof ServerRefusal && error.status === 400;
