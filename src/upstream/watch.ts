/**
 * What one connection is asked to tell of: resources that somebody subscribed to and, on a modern server, its lists.
 *
 * idle      nobody wants anything that needs the server; lists are listened to while a channel happens to be open
 * syncing   one pass brings the server in line with what is wanted; a wish that comes meanwhile makes another one
 * retrying  the last pass failed: the next one starts after a wait, ever longer, unless the channel changes before
 * closed    terminal
 *
 * A legacy server is told of each resource by itself; a modern one gets a new subscription with all of them before the
 * old one is ended. A new channel knows nothing: what was active on the last one is asked for again, and its
 * subscribers are told to read, since nothing says what they missed.
 */
import { isObject, type JsonObject } from '../protocol/jsonrpc.ts';
import type { UpstreamReply } from './calls.ts';
import type { Peer } from './peer.ts';
import type { Subscription } from './subscription.ts';
import { UpstreamFault } from './transport.ts';

export type WatchedConnection = {
  readonly peer: Peer | undefined;
  ready(deadline: number): Promise<Peer>;
  request(call: {
    method: string;
    params: JsonObject;
    deadline: number;
    maxBytes: number;
  }): Promise<UpstreamReply>;
  /** Undefined when there is no channel to a modern server. */
  subscribe(
    notifications: JsonObject,
    onNotice: (method: string, params: JsonObject) => void,
  ): Subscription | undefined;
  /** Keeps the channel open although no call uses it. */
  hold(): () => void;
};

export type WatchOptions = {
  connection: WatchedConnection;
  /** Whether this connection is the one whose lists are shown. */
  lists: boolean;
  onListsChanged(): void;
};

export type Watcher = {
  updated(params: JsonObject): void;
  /** The server is gone for good, or says that it does not tell of this resource. */
  lost(): void;
};

export type WatchLease = {
  /** Whether the server tells of it; false after a few seconds without an answer. Never rejects. */
  readonly active: Promise<boolean>;
  release(): void;
};

const PASS_MS = 20_000;
const ACTIVE_MS = 10_000;
const ANSWER_BYTES = 64 * 1024;
const RETRY_MS = { first: 1_000, most: 60_000 };
/** A subscription that lasted this long was no failure, ms. */
const STEADY_MS = 5_000;
const MAX_WATCHED = 1_000;
export const UPDATED = 'notifications/resources/updated';

type Entry = {
  watchers: Set<Watcher>;
  active: boolean;
  /** It was active before, on this channel or another. */
  seen: boolean;
  waiting: ((active: boolean) => void)[];
};

export class ConnectionWatch {
  private readonly options: WatchOptions;
  private readonly entries = new Map<string, Entry>();
  /** What a legacy server was told. */
  private readonly told = new Set<string>();
  private peer: Peer | undefined;
  private subscription:
    | { live: Subscription; filter: string; honoured: readonly unknown[]; since: number }
    | undefined;
  private release: (() => void) | undefined;
  private syncing = false;
  private wished = false;
  private failures = 0;
  private retry: NodeJS.Timeout | undefined;
  private closed = false;

  constructor(options: WatchOptions) {
    this.options = options;
  }

  get used(): boolean {
    return this.entries.size > 0;
  }

  /** Undefined: this connection watches as much as it may. */
  add(uri: string, watcher: Watcher): WatchLease | undefined {
    const known = this.entries.get(uri);
    const entry: Entry = known ?? {
      watchers: new Set(),
      active: false,
      seen: false,
      waiting: [],
    };
    if (this.closed || (!known && this.entries.size >= MAX_WATCHED)) return undefined;
    this.entries.set(uri, entry);
    entry.watchers.add(watcher);
    this.release ??= this.options.connection.hold();
    const active = entry.active ? Promise.resolve(true) : soon(entry);
    if (!entry.active) this.sync();
    return { active, release: () => this.remove(uri, entry, watcher) };
  }

  /** The connection's state changed: perhaps there is a new channel, or none. */
  channelChanged(): void {
    if (this.options.connection.peer !== this.peer) this.sync();
  }

  /** What a legacy server said unasked may have been missed: whoever listens looks for themselves. */
  reopened(): void {
    if (this.closed) return;
    this.options.onListsChanged();
    for (const [uri, entry] of this.entries) {
      if (entry.active) for (const watcher of [...entry.watchers]) watcher.updated({ uri });
    }
  }

  /** Something that the server said unasked, or on a subscription. */
  notice(method: string, params: JsonObject): void {
    if (method.endsWith('/list_changed')) this.options.onListsChanged();
    if (method !== UPDATED || typeof params.uri !== 'string') return;
    const { _meta: _, ...rest } = params;
    for (const [uri, entry] of this.entries) {
      if (!covers(uri, params.uri)) continue;
      for (const watcher of [...entry.watchers]) watcher.updated(rest);
    }
  }

  close(): void {
    if (this.closed) return;
    this.closed = true;
    clearTimeout(this.retry);
    this.forget();
    const entries = [...this.entries.values()];
    this.entries.clear();
    for (const entry of entries) drop(entry);
    this.letGo();
  }

  private remove(uri: string, entry: Entry, watcher: Watcher): void {
    entry.watchers.delete(watcher);
    if (entry.watchers.size > 0 || this.entries.get(uri) !== entry) return;
    this.entries.delete(uri);
    settle(entry, false);
    this.sync();
  }

  private sync(): void {
    this.wished = true;
    if (this.syncing || this.closed) return;
    this.syncing = true;
    clearTimeout(this.retry);
    void this.passes();
  }

  private async passes(): Promise<void> {
    while (this.wished && !this.closed) {
      this.wished = false;
      try {
        await this.pass();
        if (!this.subscription) this.failures = 0;
      } catch {
        // The fault is the connection's, which keeps it for status.
        if (!this.used) this.letGo();
        this.retryLater();
      }
    }
    this.syncing = false;
  }

  private retryLater(): void {
    if (this.closed || (!this.used && !this.options.connection.peer)) return;
    clearTimeout(this.retry);
    const wait = Math.min(RETRY_MS.most, RETRY_MS.first * 2 ** Math.min(10, this.failures));
    this.failures += 1;
    this.retry = setTimeout(() => this.sync(), wait * (0.75 + Math.random() / 2)).unref();
  }

  private async pass(): Promise<void> {
    const { connection } = this.options;
    if (this.used) await connection.ready(Date.now() + PASS_MS);
    const { peer } = connection;
    if (peer !== this.peer) {
      this.forget();
      this.peer = peer;
    }
    if (peer?.era === 'legacy') await this.tell();
    else if (peer) await this.subscribe(peer);
    if (!this.used) this.letGo();
  }

  /** Tells a legacy server one by one. */
  private async tell(): Promise<void> {
    for (const uri of [...this.told]) {
      if (this.entries.has(uri)) continue;
      this.told.delete(uri);
      await this.ask('resources/unsubscribe', uri);
    }
    for (const [uri, entry] of [...this.entries]) {
      const known = this.told.has(uri);
      if (!known && (await this.ask('resources/subscribe', uri)).ok !== true) {
        this.refuse(uri, entry);
        continue;
      }
      this.told.add(uri);
      // Another may have come in its place while the server was asked.
      const current = this.entries.get(uri);
      if (current) activate(uri, current);
    }
  }

  private ask(method: string, uri: string): Promise<UpstreamReply> {
    const deadline = Date.now() + PASS_MS;
    return this.options.connection.request({ method, params: { uri }, deadline, maxBytes: ANSWER_BYTES });
  }

  /** Has a modern server tell of everything on one subscription. */
  private async subscribe(peer: Peer): Promise<void> {
    const notifications = this.wantedOf(peer);
    const filter = JSON.stringify(notifications);
    if (this.subscription?.filter === filter) {
      this.honour(this.subscription.honoured, notifications);
      return;
    }
    const old = this.subscription;
    if (filter === '{}') {
      this.subscription = undefined;
      old?.live.stop();
      return;
    }
    const live = this.options.connection.subscribe(notifications, (method, params) =>
      this.notice(method, params),
    );
    if (!live) return;
    const { resourceSubscriptions } = await acknowledgement(live);
    if (this.closed || this.peer !== this.options.connection.peer) {
      live.stop();
      throw new UpstreamFault('unreachable', 'the channel changed meanwhile');
    }
    const honoured = Array.isArray(resourceSubscriptions) ? resourceSubscriptions : [];
    this.subscription = { live, filter, honoured, since: Date.now() };
    old?.live.stop();
    void live.ended.then(() => this.broken(live));
    this.honour(honoured, notifications);
  }

  /** Settles what was asked for on a modern server by what it has agreed to. */
  private honour(uris: readonly unknown[], notifications: JsonObject): void {
    for (const uri of (notifications.resourceSubscriptions as string[] | undefined) ?? []) {
      const entry = this.entries.get(uri);
      if (!entry) continue;
      if (uris.includes(uri)) activate(uri, entry);
      else this.refuse(uri, entry);
    }
  }

  private wantedOf(peer: Peer): JsonObject {
    const wanted: JsonObject = {};
    if (this.options.lists) {
      for (const kind of ['tools', 'prompts', 'resources'] as const) {
        const offered = peer.capabilities[kind];
        if (isObject(offered) && offered.listChanged === true) wanted[`${kind}ListChanged`] = true;
      }
    }
    if (this.entries.size > 0) wanted.resourceSubscriptions = [...this.entries.keys()].sort();
    return wanted;
  }

  /** The subscription ended by itself: what changed since then is not known. */
  private broken(live: Subscription): void {
    if (this.closed || this.subscription?.live !== live) return;
    if (Date.now() - this.subscription.since > STEADY_MS) this.failures = 0;
    this.subscription = undefined;
    for (const entry of this.entries.values()) entry.active = false;
    this.options.onListsChanged();
    this.retryLater();
  }

  private refuse(uri: string, entry: Entry): void {
    if (this.entries.get(uri) === entry) this.entries.delete(uri);
    drop(entry);
  }

  /** The last channel is gone with all that was asked for on it. */
  private forget(): void {
    this.peer = undefined;
    this.told.clear();
    for (const entry of this.entries.values()) entry.active = false;
    const { subscription } = this;
    this.subscription = undefined;
    subscription?.live.stop();
  }

  private letGo(): void {
    this.release?.();
    this.release = undefined;
  }
}

async function acknowledgement(live: Subscription): Promise<JsonObject> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(
      () => reject(new UpstreamFault('timeout', 'no acknowledgement in time', { sent: true })),
      PASS_MS,
    );
  });
  try {
    return await Promise.race([live.acknowledged, late]);
  } catch (error) {
    live.stop();
    throw error;
  } finally {
    clearTimeout(timer);
  }
}

/** Resolves when the entry is settled, or as false when that takes too long for whoever waits. */
function soon(entry: Entry): Promise<boolean> {
  return new Promise((resolve) => {
    const timer = setTimeout(() => resolve(false), ACTIVE_MS);
    entry.waiting.push((active) => {
      clearTimeout(timer);
      resolve(active);
    });
  });
}

function activate(uri: string, entry: Entry): void {
  if (entry.active) return;
  entry.active = true;
  // Not the first time: the resource may have changed while nobody listened.
  if (entry.seen) for (const watcher of [...entry.watchers]) watcher.updated({ uri });
  entry.seen = true;
  settle(entry, true);
}

function settle(entry: Entry, active: boolean): void {
  const { waiting } = entry;
  entry.waiting = [];
  for (const resolve of waiting) resolve(active);
}

function drop(entry: Entry): void {
  settle(entry, false);
  const watchers = [...entry.watchers];
  entry.watchers.clear();
  for (const watcher of watchers) watcher.lost();
}

/** An update may name a part of what was subscribed to (specification server/resources#subscriptions). */
function covers(subscribed: string, updated: string): boolean {
  if (subscribed === updated) return true;
  return updated.startsWith(subscribed.endsWith('/') ? subscribed : `${subscribed}/`);
}
