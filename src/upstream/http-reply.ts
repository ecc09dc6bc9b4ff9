import type { ReplyHead, ReplyReader } from '../net/reply.ts';
import { GrowingBuffer } from '../protocol/growing-buffer.ts';
import { type SseEvent, SseParser } from '../protocol/sse.ts';
import {
  connectionFault,
  contentTypeFault,
  protocolFault,
  statusFault,
  tooLargeFault,
} from './http-faults.ts';
import type { UpstreamFault } from './transport.ts';

/** What a reply turns out to be. Exactly one of `text`, `end` and `fault` is called last. */
export interface ReplySink {
  /** The headers of an event stream. */
  opened(head: ReplyHead): void;
  /** A whole JSON body, of any status that is not a fault by itself. */
  text(text: string, head: ReplyHead): void;
  event(event: SseEvent): void;
  /** An event stream ended in order, or an acknowledgement came. */
  end(): void;
  fault(fault: UpstreamFault): void;
}

export type ReplyOptions = {
  server: string;
  /** `answer`: JSON or an event stream · `stream`: only the latter · `acknowledgement`: any 2xx, body dropped */
  expects: 'answer' | 'stream' | 'acknowledgement';
  /** Cap on a JSON body and on one event, in bytes. */
  maxBytes: number;
};

const ERROR_BODY_BYTES = 4 * 1024;
const DRAIN_BYTES = 64 * 1024;
/** How long the rest of a reply is waited for when the reply is clear without it. */
const LATE_MS = 1_000;

/** Reads one HTTP reply for a sink. */
export class HttpReply implements ReplyReader {
  /** Set once the headers of an event stream are in. */
  stream: SseParser | undefined;

  readonly #sink: ReplySink;
  readonly #options: ReplyOptions;
  #abort: (() => void) | undefined;
  #over = false;
  #head: ReplyHead | undefined;
  /** `text`: a JSON body · `error`: a short excerpt, then a status fault · `drain`: nobody wants the rest */
  #mode: 'text' | 'error' | 'stream' | 'drain' = 'drain';
  #limit = DRAIN_BYTES;
  #received = 0;
  #first: Buffer | undefined;
  #rest: GrowingBuffer | undefined;
  #lateTimer: NodeJS.Timeout | undefined;

  constructor(options: ReplyOptions, sink: ReplySink) {
    this.#options = options;
    this.#sink = sink;
  }

  /** The request could not be sent. */
  refuse(fault: UpstreamFault): void {
    this.#fail(fault);
  }

  /** Frees the socket, whatever the phase. The sink hears nothing any more. */
  abort(): void {
    this.#over = true;
    this.#abort?.();
  }

  /** The sink has what it needs: the rest is read for a moment so that the connection can be used again. */
  drain(): void {
    this.#over = true;
    this.#mode = 'drain';
    this.#limit = this.#received + DRAIN_BYTES;
    this.#lateTimer = setTimeout(() => this.#abort?.(), LATE_MS).unref();
  }

  begun(abort: () => void): void {
    this.#abort = abort;
    if (this.#over) abort();
  }

  head(head: ReplyHead): void {
    if (this.#over) return;
    this.#head = head;
    const fault = this.#choose(head);
    if (fault) this.#fail(fault);
  }

  data(chunk: Buffer): boolean {
    this.#received += chunk.length;
    if (this.#mode === 'stream') {
      if (!this.stream!.push(chunk)) this.#fail(tooLargeFault(this.#options.server, this.#options.maxBytes));
    } else if (this.#received > this.#limit) this.#overLimit();
    else if (this.#mode === 'drain') return true;
    else if (!this.#first) this.#first = chunk;
    else {
      if (!this.#rest) {
        this.#rest = new GrowingBuffer();
        this.#rest.append(this.#first);
      }
      this.#rest.append(chunk);
    }
    return true;
  }

  end(): void {
    clearTimeout(this.#lateTimer);
    this.#abort = undefined;
    if (this.#over) return;
    this.#over = true;
    if (this.#mode === 'text') this.#sink.text(this.#text(), this.#head!);
    else if (this.#mode === 'error')
      this.#sink.fault(statusFault(this.#options.server, this.#head!, this.#text()));
    else this.#sink.end();
  }

  whole(head: ReplyHead, body: string, bytes: number): void {
    // There is no socket to free.
    this.#abort = undefined;
    this.head(head);
    if (!this.#over && this.#mode === 'text' && bytes <= this.#limit) {
      this.#over = true;
      this.#sink.text(body, head);
      return;
    }
    if (!this.#over && body !== '') this.data(Buffer.from(body));
    this.end();
  }

  failed(error: Error, sent: boolean): void {
    clearTimeout(this.#lateTimer);
    if (this.#over) return;
    this.#over = true;
    this.#sink.fault(connectionFault(this.#options.server, error, sent));
  }

  /** Sorts a reply by its headers; a fault ends it unread. */
  #choose(head: ReplyHead): UpstreamFault | undefined {
    const { server, expects, maxBytes } = this.#options;
    const good = head.status < 300;
    if (good && expects === 'acknowledgement') {
      this.drain();
      this.#sink.end();
      return undefined;
    }
    if (head.contentEncoding !== undefined && head.contentEncoding !== 'identity') {
      const what = 'compressed its answer though it was asked not to';
      return good ? protocolFault(server, what, head.status) : statusFault(server, head, '');
    }
    if (good && head.contentType === 'text/event-stream') {
      this.#mode = 'stream';
      this.stream = new SseParser(maxBytes, (event) => {
        if (!this.#over) this.#sink.event(event);
      });
      this.#sink.opened(head);
    } else if (head.contentType === 'application/json' && expects === 'answer' && isReadable(head.status)) {
      if ((head.contentLength ?? 0) > maxBytes) return tooLargeFault(server, maxBytes);
      this.#mode = 'text';
      this.#limit = maxBytes;
    } else if (good) {
      return head.contentType === '' && (head.contentLength === 0 || head.status !== 200)
        ? protocolFault(server, `gave a request no answer (HTTP ${head.status})`, head.status)
        : contentTypeFault(server, head);
    } else if (head.status < 400 || head.status === 401 || head.status === 403) {
      this.drain();
      this.#sink.fault(statusFault(server, head, ''));
    } else {
      this.#mode = 'error';
      this.#limit = ERROR_BODY_BYTES;
      this.#lateTimer = setTimeout(
        () => this.#fail(statusFault(server, head, this.#text())),
        LATE_MS,
      ).unref();
    }
    return undefined;
  }

  #overLimit(): void {
    const { server, maxBytes } = this.#options;
    if (this.#over) this.#abort?.();
    else if (this.#mode === 'text') this.#fail(tooLargeFault(server, maxBytes));
    else this.#fail(statusFault(server, this.#head!, this.#text()));
  }

  #fail(fault: UpstreamFault): void {
    if (this.#over) return;
    this.abort();
    this.#sink.fault(fault);
  }

  #text(): string {
    return (this.#rest?.view() ?? this.#first)?.toString('utf8') ?? '';
  }
}

/** Statuses whose JSON body may be a JSON-RPC answer. */
function isReadable(status: number): boolean {
  return status < 300 || (status >= 400 && status !== 401 && status !== 403);
}
