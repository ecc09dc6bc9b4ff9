import type { ReplyHead } from '../net/reply.ts';
import { parseMessage } from '../protocol/answer-text.ts';
import type { JsonRpcNotification, JsonRpcRequest, RequestId } from '../protocol/jsonrpc.ts';
import type { SseEvent } from '../protocol/sse.ts';
import { type Asked, answer, judgeBody } from './http-answer.ts';
import { protocolFault, sessionLostFault } from './http-faults.ts';
import { HttpReply, type ReplySink } from './http-reply.ts';
import { type Answer, type Exchange, type ExchangeOptions, UpstreamFault } from './transport.ts';

/** What an exchange needs of the transport it runs on. */
export type ExchangeHost = {
  readonly server: string;
  readonly session: Asked['session'];
  onStray(message: JsonRpcRequest | JsonRpcNotification): void;
  settled(exchange: HttpExchange): void;
  /** Opens the event stream again after this event, for `reply` to read. */
  resume(lastEventId: string, reply: HttpReply): void;
};

const RESUME_ATTEMPTS = 5;
const RESUME_DELAY_MS = { default: 1_000, least: 20, most: 60_000 };

/**
 * One POST and its answer. A legacy server may close the answer's stream before the answer (SEP-1699); when the stream
 * carried an event id, the exchange goes on with GETs after `retry:`, in vain at most five times in a row.
 */
export class HttpExchange implements Exchange, ReplySink {
  readonly answer: Promise<Answer>;
  reply: HttpReply;

  readonly #host: ExchangeHost;
  readonly #asked: Asked;
  readonly #options: ExchangeOptions;
  #resolve!: (answer: Answer) => void;
  #reject!: (fault: UpstreamFault) => void;
  #settled = false;
  #streamHead: ReplyHead | undefined;
  #strays = 0;
  #resumeAfter = '';
  #retryMs: number | undefined;
  #attempts = 0;
  #timer: NodeJS.Timeout | undefined;

  constructor(host: ExchangeHost, id: RequestId, options: ExchangeOptions) {
    this.#host = host;
    this.#asked = { server: host.server, id, session: host.session };
    this.#options = options;
    this.answer = new Promise((resolve, reject) => {
      this.#resolve = resolve;
      this.#reject = reject;
    });
    this.reply = new HttpReply({ server: host.server, expects: 'answer', maxBytes: options.maxBytes }, this);
  }

  abandon(fault: UpstreamFault): void {
    if (this.#settled) return;
    this.reply.abort();
    this.#settle(fault);
  }

  opened(head: ReplyHead): void {
    this.#streamHead ??= head;
  }

  text(text: string, head: ReplyHead): void {
    this.#settle(judgeBody(this.#asked, text, head));
  }

  event(event: SseEvent): void {
    if (event.event !== 'message') return;
    const parsed = parseMessage(event.data);
    if (parsed && parsed.kind !== 'response') {
      (this.#options.onMessage ?? this.#host.onStray)(parsed.message);
    } else if (parsed?.message.id === this.#asked.id) {
      this.reply.drain();
      this.#settle(answer({ message: parsed.message, written: parsed.written }, this.#streamHead!));
    } else this.#strays += 1;
  }

  end(): void {
    this.#streamEnded(undefined);
  }

  fault(fault: UpstreamFault): void {
    const { kind, status } = fault;
    const resuming = this.#resumeAfter !== '';
    if (status === 404 && this.#asked.session?.id !== undefined) {
      this.#settle(sessionLostFault(this.#host.server, 404));
    } else if (resuming && kind === 'http' && status! < 500 && status !== 429) {
      const what = `ended its event stream before the answer and does not resume it (HTTP ${status})`;
      this.#settle(protocolFault(this.#host.server, what));
    } else if ((resuming || this.reply.stream) && (kind === 'unreachable' || kind === 'http')) {
      this.#streamEnded(fault);
    } else this.#settle(fault);
  }

  #streamEnded(fault: UpstreamFault | undefined): void {
    const stream = this.reply.stream;
    this.#retryMs = stream?.retryMs ?? this.#retryMs;
    if (stream?.lastEventId && stream.lastEventId !== this.#resumeAfter) {
      this.#resumeAfter = stream.lastEventId;
      this.#attempts = 0;
    }
    if (this.#asked.session === undefined || !this.#resumeAfter || this.#attempts === RESUME_ATTEMPTS) {
      const strays =
        this.#strays > 0 ? `; ${this.#strays} of its events answered nothing that was asked` : '';
      const what = `ended its event stream before the answer${strays}`;
      this.#settle(fault ?? protocolFault(this.#host.server, what));
      return;
    }
    this.#attempts += 1;
    const { default: byDefault, least, most } = RESUME_DELAY_MS;
    const delay = Math.min(most, Math.max(least, this.#retryMs ?? byDefault));
    this.#timer = setTimeout(() => this.#resume(), delay);
  }

  #resume(): void {
    const options = {
      server: this.#host.server,
      expects: 'stream',
      maxBytes: this.#options.maxBytes,
    } as const;
    this.reply = new HttpReply(options, this);
    this.#host.resume(this.#resumeAfter, this.reply);
  }

  #settle(outcome: Answer | UpstreamFault): void {
    if (this.#settled) return;
    this.#settled = true;
    if (this.#timer) clearTimeout(this.#timer);
    this.#host.settled(this);
    if (outcome instanceof UpstreamFault) this.#reject(outcome);
    else this.#resolve(outcome);
  }
}
