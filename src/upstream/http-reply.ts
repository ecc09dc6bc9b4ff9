import type { Dispatcher } from 'undici';
import { GrowingBuffer } from '../protocol/growing-buffer.ts';
import { type SseEvent, SseParser } from '../protocol/sse.ts';
import {
  connectionFault,
  contentTypeFault,
  protocolFault,
  type ReplyHead,
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

/**
 * Reads one HTTP reply for a sink. It speaks undici's low-level handler interface because parsing all headers into an
 * object and making a stream cost more than everything else here.
 */
export class HttpReply implements Dispatcher.DispatchHandler {
  /** Set once the headers of an event stream are in. */
  stream: SseParser | undefined;

  readonly #sink: ReplySink;
  readonly #options: ReplyOptions;
  #abort: ((error?: Error) => void) | undefined;
  #connected = false;
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

  onConnect(abort: (error?: Error) => void): void {
    this.#connected = true;
    this.#abort = abort;
    if (this.#over) abort();
  }

  onHeaders(status: number, rawHeaders: Buffer[]): boolean {
    if (status < 200 || this.#over) return true;
    const head = readHead(status, rawHeaders);
    this.#head = head;
    const fault = this.#choose(head);
    if (fault) this.#fail(fault);
    return true;
  }

  onData(chunk: Buffer): boolean {
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

  onComplete(): void {
    clearTimeout(this.#lateTimer);
    this.#abort = undefined;
    if (this.#over) return;
    this.#over = true;
    if (this.#mode === 'text') this.#sink.text(this.#text(), this.#head!);
    else if (this.#mode === 'error')
      this.#sink.fault(statusFault(this.#options.server, this.#head!, this.#text()));
    else this.#sink.end();
  }

  onError(error: Error): void {
    clearTimeout(this.#lateTimer);
    if (this.#over) return;
    this.#over = true;
    this.#sink.fault(connectionFault(this.#options.server, error, this.#connected));
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

function readHead(status: number, raw: Buffer[]): ReplyHead {
  const head: ReplyHead = {
    status,
    contentType: '',
    contentLength: undefined,
    contentEncoding: undefined,
    sessionId: undefined,
    challenge: undefined,
    location: undefined,
  };
  for (let at = 0; at + 1 < raw.length; at += 2) {
    const name = raw[at]!;
    // The length tells most uninteresting headers apart without decoding their names.
    switch (name.length) {
      case 8:
      case 12:
      case 14:
      case 16:
        readHeader(head, name.toString('latin1').toLowerCase(), raw[at + 1]!);
    }
  }
  return head;
}

function readHeader(head: ReplyHead, name: string, value: Buffer): void {
  switch (name) {
    case 'content-type':
      head.contentType = mediaType(value.toString('latin1'));
      break;
    case 'content-length':
      head.contentLength = Number(value.toString('latin1'));
      break;
    case 'content-encoding':
      head.contentEncoding = value.toString('latin1').trim().toLowerCase();
      break;
    case 'mcp-session-id':
      head.sessionId = value.toString('latin1');
      break;
    case 'www-authenticate':
      head.challenge =
        head.challenge === undefined
          ? value.toString('latin1')
          : `${head.challenge}, ${value.toString('latin1')}`;
      break;
    case 'location':
      head.location = value.toString('latin1');
  }
}

function mediaType(value: string): string {
  if (value === 'application/json' || value === 'text/event-stream') return value;
  const semicolon = value.indexOf(';');
  return (semicolon === -1 ? value : value.slice(0, semicolon)).trim().toLowerCase();
}
