import type { ReplyHead } from '../net/reply.ts';
import type { SseEvent } from '../protocol/sse.ts';
import { HttpReply, type ReplySink } from './http-reply.ts';
import type { UpstreamFault } from './transport.ts';

const MAX_EVENT_BYTES = 4 * 1024 * 1024;
const MAX_FAILURES = 6;
const DELAY_MS = { least: 100, first: 1_000, most: 30_000 };

export type ListenerOptions = {
  server: string;
  /** Sends the GET that `reply` reads; `lastEventId` is empty at first. */
  open(lastEventId: string, reply: HttpReply): void;
  onEvent(event: SseEvent): void;
  /** It will not listen any more: undefined when the server offers no such stream. Not called after `stop`. */
  onEnd(fault: UpstreamFault | undefined): void;
  /** The first try is over: the stream is open, or it is not. May be called again. */
  onTried(): void;
  /** It is open again, and the server was not told where to go on. */
  onReopened(): void;
  /** Whether this refusal says that what the stream belonged to is gone, so that no other try can help. */
  isFinal(fault: UpstreamFault): boolean;
};

/**
 * Keeps a legacy server's standalone stream open. Opening → open (headers came) → waiting (it ended or broke) → opening …
 * A wait is the stream's `retry:`, else one second, doubled at each failure in a row. A refusal before it was ever open
 * says that there is no such stream, whatever its status: many servers answer 404 or a page instead of 405; so do more
 * than six failures in a row. Once it was open it is tried again for as long as the session lasts.
 */
export class EventListener implements ReplySink {
  readonly #options: ListenerOptions;
  #reply: HttpReply | undefined;
  #timer: NodeJS.Timeout | undefined;
  #lastEventId = '';
  #retryMs: number | undefined;
  #failures = 0;
  #everOpen = false;
  #stopped = false;

  constructor(options: ListenerOptions) {
    this.#options = options;
    this.#open();
  }

  stop(): void {
    this.#stopped = true;
    clearTimeout(this.#timer);
    this.#reply?.abort();
  }

  opened(_head: ReplyHead): void {
    const missed = this.#everOpen && !this.#lastEventId;
    this.#failures = 0;
    this.#everOpen = true;
    this.#options.onTried();
    if (missed) this.#options.onReopened();
  }

  event(event: SseEvent): void {
    this.#options.onEvent(event);
  }

  end(): void {
    this.#wait(undefined);
  }

  fault(fault: UpstreamFault): void {
    const { status } = fault;
    const passing =
      status === undefined ? fault.kind === 'unreachable' : status >= 500 || status === 429 || status === 409;
    if (passing || (this.#everOpen && !this.#options.isFinal(fault))) this.#wait(fault);
    else this.#finish(this.#everOpen || fault.kind === 'needs_auth' ? fault : undefined);
  }

  text(): void {
    throw new TypeError('a stream has no text');
  }

  #open(): void {
    const options = { server: this.#options.server, expects: 'stream', maxBytes: MAX_EVENT_BYTES } as const;
    this.#reply = new HttpReply(options, this);
    this.#options.open(this.#lastEventId, this.#reply);
  }

  #wait(fault: UpstreamFault | undefined): void {
    this.#options.onTried();
    const stream = this.#reply?.stream;
    if (stream?.lastEventId) this.#lastEventId = stream.lastEventId;
    this.#retryMs = stream?.retryMs ?? this.#retryMs;
    if (fault) this.#failures += 1;
    // An id that the server no longer takes may be what it refuses.
    if (fault && this.#failures > 1) this.#lastEventId = '';
    if (this.#failures > MAX_FAILURES && !this.#everOpen) {
      this.#finish(fault);
      return;
    }
    const base = (this.#retryMs ?? DELAY_MS.first) * 2 ** Math.min(10, this.#failures);
    const jitter = 0.75 + Math.random() / 2;
    const delay = this.#failures > 0 ? base * jitter : base;
    this.#timer = setTimeout(
      () => this.#open(),
      Math.min(DELAY_MS.most, Math.max(DELAY_MS.least, delay)),
    ).unref();
  }

  #finish(fault: UpstreamFault | undefined): void {
    if (this.#stopped) return;
    this.#stopped = true;
    this.#options.onTried();
    this.#options.onEnd(fault);
  }
}
