import { type AuthenticatedCaller, callerKey } from '../../identity/caller.ts';
import type { ObjectChange, ObjectFeed } from '../../resources/object-feed.ts';
import type { ResourceObject } from '../../resources/objects.ts';
import type { OpenStream, OpenStreams } from '../open-streams.ts';

/** A reader that lets this much pile up is cut off, bytes; it lists anew and watches from there. */
const MAX_UNREAD = 4 * 1024 * 1024;
const SILENCE_MS = 15_000;

export type WatchDeps = {
  feed: ObjectFeed;
  streams: OpenStreams;
  caller: AuthenticatedCaller;
  /** The object as this caller may see it, if it is one of those that are watched; undefined otherwise. */
  visible(object: ResourceObject | undefined): ResourceObject | undefined;
  /** Whether the caller may still ask for this at all. */
  isAdmitted(): boolean;
};

type WatchEvent =
  | { type: 'ADDED' | 'MODIFIED' | 'DELETED'; resourceVersion: string; object: ResourceObject }
  /** Nothing happened until here. */
  | { type: 'BOOKMARK'; resourceVersion: string };

/**
 * Changes of objects as JSON lines, until the reader leaves, its credential ends, or it loses the right to look. A
 * silent stretch has a BOOKMARK every 15 seconds.
 */
export class ObjectWatch implements OpenStream {
  readonly caller: AuthenticatedCaller;
  readonly principal: string;
  readonly tokenId: string | undefined;
  readonly lasting = true;
  readonly body: ReadableStream<Uint8Array>;
  readonly #deps: WatchDeps;
  readonly #encoder = new TextEncoder();
  #controller: ReadableStreamDefaultController<Uint8Array> | undefined;
  #stop: () => void = () => {};
  #wroteAt = 0;

  /** @param first what is told at once: what there is, or what happened since the place that the reader named */
  constructor(deps: WatchDeps, first: readonly ObjectChange[]) {
    this.#deps = deps;
    this.caller = deps.caller;
    this.principal = callerKey(deps.caller);
    this.tokenId = deps.caller.credentialId;
    this.body = new ReadableStream(
      {
        start: (controller) => {
          this.#controller = controller;
          for (const change of first) this.#tell(change);
          this.#write({ type: 'BOOKMARK', resourceVersion: deps.feed.version });
        },
        cancel: () => this.#close(),
      },
      { highWaterMark: MAX_UNREAD, size: (chunk) => chunk?.byteLength ?? 0 },
    );
    this.#stop = deps.feed.onChanges((changes) => this.#onChanges(changes));
  }

  keepAlive(now: number): void {
    if (!this.#deps.isAdmitted()) this.end();
    else if (now - this.#wroteAt >= SILENCE_MS)
      this.#write({ type: 'BOOKMARK', resourceVersion: this.#deps.feed.version });
  }

  end(): void {
    const controller = this.#controller;
    this.#close();
    controller?.close();
  }

  #onChanges(changes: readonly ObjectChange[]): void {
    const isAdmitted = this.#deps.isAdmitted();
    if (isAdmitted) for (const change of changes) this.#tell(change);
    if (!isAdmitted || (this.#controller?.desiredSize ?? 1) <= 0) this.end();
  }

  #tell({ before, now, version }: ObjectChange): void {
    const [old, fresh] = [this.#deps.visible(before), this.#deps.visible(now)];
    if (fresh) this.#write({ type: old ? 'MODIFIED' : 'ADDED', resourceVersion: version, object: fresh });
    else if (old) this.#write({ type: 'DELETED', resourceVersion: version, object: old });
  }

  #write(event: WatchEvent): void {
    this.#wroteAt = Date.now();
    this.#controller?.enqueue(this.#encoder.encode(`${JSON.stringify(event)}\n`));
  }

  #close(): void {
    this.#controller = undefined;
    this.#stop();
    this.#deps.streams.delete(this);
  }
}
