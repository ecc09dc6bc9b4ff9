import type { ServerResponse } from 'node:http';
import type { ListKind } from '../gateway/list-kinds.ts';
import type { AuthenticatedCaller } from '../identity/caller.ts';
import { isObject, type JsonObject, type RequestId } from '../protocol/jsonrpc.ts';
import { LIST_NOTICES, type ListNotice } from '../protocol/list-notices.ts';
import { Meta } from '../protocol/revisions.ts';
import { startEventStream } from './event-stream-head.ts';
import type { OpenStream, OpenStreams } from './open-streams.ts';
import type { ResumableStream } from './resumable-stream.ts';

const MAX_UNREAD = 256 * 1024;
const MAX_EARLY = 1_000;

const NOTICE_OF = {
  tools: 'toolsListChanged',
  prompts: 'promptsListChanged',
  resources: 'resourcesListChanged',
} as const;

export type NoticeOwner = {
  caller: AuthenticatedCaller;
  principal: string;
  tokenId: string | undefined;
  /** The legacy session, by its handle; `primed`: its revision lets a stream begin with an event without data. */
  session?: string;
  primed?: boolean;
};

/**
 * A stream on which a client hears that lists have changed: the legacy GET stream, or the answer to a modern
 * `subscriptions/listen`, which carries the request's id on every message and ends with a result.
 */
export class NoticeStream implements OpenStream {
  readonly caller: AuthenticatedCaller;
  readonly principal: string;
  readonly tokenId: string | undefined;
  readonly session: string | undefined;
  readonly lasting = true;
  private readonly res: ServerResponse;
  private readonly subscription: RequestId | undefined;
  private readonly wanted: readonly ListNotice[];
  /** What there was to tell before the acknowledgement, each once. */
  private early: Map<string, { method: string; params: JsonObject }> | undefined;
  private readonly primed: boolean;
  private streams: OpenStreams | undefined;
  /** The legacy stream, which a client that lost its connection may come back to. */
  private stream: ResumableStream | undefined;

  constructor(
    res: ServerResponse,
    whose: NoticeOwner,
    wanted: readonly ListNotice[],
    subscription?: RequestId,
  ) {
    this.res = res;
    this.caller = whose.caller;
    this.principal = whose.principal;
    this.tokenId = whose.tokenId;
    this.session = whose.session;
    this.primed = whose.primed ?? false;
    this.wanted = wanted;
    this.subscription = subscription;
    this.early = subscription === undefined ? undefined : new Map();
  }

  /** Opens it; `leave` runs when it is over, whoever ended it. False: this client has too many streams. */
  open(streams: OpenStreams, leave: () => void): boolean {
    if (!streams.add(this)) {
      leave();
      return false;
    }
    this.streams = streams;
    const over = () => {
      streams.delete(this);
      leave();
    };
    if (this.session !== undefined) {
      const owner = { session: this.session, tokenId: this.tokenId };
      this.stream = streams.resumable.open('standing', owner, this.res, this.primed);
      this.stream.count = { add: () => streams.add(this), delete: () => streams.delete(this) };
      this.stream.onLost(over);
    } else {
      this.res.on('close', over);
      startEventStream(this.res);
    }
    if (this.subscription === undefined) this.keepAlive();
    return true;
  }

  /** Calls back when it is over: a legacy stream when its client does not come back to it in time. */
  onOver(listener: () => void): void {
    if (this.stream) this.stream.onLost(listener);
    else this.res.on('close', listener);
  }

  /** The first message on a subscription: what it will tell of. Notices that came before it follow. */
  acknowledge(resources: readonly string[] | undefined, tasks: readonly string[] = []): void {
    const notifications: JsonObject = Object.fromEntries(this.wanted.map((kind) => [kind, true]));
    if (resources && resources.length > 0) notifications.resourceSubscriptions = resources;
    if (tasks.length > 0) notifications.taskIds = tasks;
    this.send({ method: 'notifications/subscriptions/acknowledged', params: { notifications } });
    const { early } = this;
    this.early = undefined;
    for (const notice of early?.values() ?? []) this.send(notice);
  }

  changed(kinds: readonly ListKind[]): void {
    for (const kind of kinds) {
      if (this.wanted.includes(NOTICE_OF[kind])) this.notify(LIST_NOTICES[NOTICE_OF[kind]], {});
    }
  }

  notify(method: string, params: JsonObject): void {
    if (!this.early) this.send({ method, params });
    else if (this.early.size < MAX_EARLY) this.early.set(`${method} ${params.uri}`, { method, params });
  }

  /** Somebody reads it at this moment. */
  get connected(): boolean {
    return this.stream?.connected ?? !this.res.destroyed;
  }

  keepAlive(): void {
    if (this.stream) this.stream.keepAlive();
    else if (!this.res.writableEnded) this.res.write(':\n\n');
  }

  end(): void {
    if (this.subscription !== undefined) {
      const result = { resultType: 'complete', _meta: this.meta() };
      this.write(JSON.stringify({ jsonrpc: '2.0', id: this.subscription, result }));
    }
    if (this.stream) this.streams?.resumable.close(this.stream, 'end');
    else this.res.end();
  }

  private meta(): JsonObject {
    return { [Meta.subscriptionId]: this.subscription };
  }

  private send({ method, params }: { method: string; params: JsonObject }): void {
    const stamped =
      this.subscription === undefined
        ? params
        : { ...params, _meta: { ...(isObject(params._meta) ? params._meta : undefined), ...this.meta() } };
    const message =
      Object.keys(stamped).length > 0
        ? { jsonrpc: '2.0', method, params: stamped }
        : { jsonrpc: '2.0', method };
    this.write(JSON.stringify(message));
  }

  private write(text: string): void {
    if (this.stream) {
      this.stream.send(text);
      return;
    }
    if (this.res.writableEnded || this.res.destroyed) return;
    // Notices can be had again by listing: a client that does not read is let go.
    if (this.res.writableLength > MAX_UNREAD) this.res.destroy();
    else this.res.write(`event: message\ndata: ${text}\n\n`);
  }
}
