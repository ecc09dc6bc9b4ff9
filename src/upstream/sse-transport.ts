import type { OriginLease } from '../net/server-client.ts';
import { parseMessage } from '../protocol/answer-text.ts';
import type { JsonRpcMessage, JsonRpcRequest, JsonRpcResponse, RequestId } from '../protocol/jsonrpc.ts';
import type { Written } from '../protocol/model.ts';
import type { SseEvent } from '../protocol/sse.ts';
import { busyFault, protocolFault, sessionLostFault, tooLargeFault } from './http-faults.ts';
import { HttpReply, type ReplySink } from './http-reply.ts';
import { addressOf, type HttpTargetAddress, type HttpTransportOptions } from './http-target.ts';
import {
  type Answer,
  type Exchange,
  type ExchangeOptions,
  type Transport,
  type TransportEvents,
  UpstreamFault,
} from './transport.ts';

const DEFAULT_EVENT_BYTES = 16 * 1024 * 1024;
const ACKNOWLEDGEMENT_BYTES = 4 * 1024;
const SEND_TIMEOUT_MS = 30_000;

type Pending = { resolve(answer: Answer): void; reject(fault: UpstreamFault): void; maxBytes: number };

/**
 * The transport of 2024-11-05: one event stream whose first event names the address to POST to, and on which every
 * answer comes. Opening → open → closed; the stream's end closes it, for a new stream is a new session.
 */
export class SseTransport implements Transport, ReplySink {
  readonly kind = 'sse';
  readonly #server: string;
  readonly #address: HttpTargetAddress;
  readonly #lease: OriginLease;
  readonly #events: TransportEvents;
  readonly #stream: HttpReply;
  readonly #pending = new Map<RequestId, Pending>();
  readonly #posts = new Set<(fault: UpstreamFault) => void>();
  readonly #opening = Promise.withResolvers<void>();
  #endpoint: string | undefined;
  #started = false;
  #closed: UpstreamFault | undefined;

  constructor(options: HttpTransportOptions, events: TransportEvents) {
    this.#server = options.serverName;
    this.#address = addressOf(options);
    this.#lease = options.client.lease(this.#address.origin);
    this.#events = events;
    this.#stream = new HttpReply(
      { server: this.#server, expects: 'stream', maxBytes: DEFAULT_EVENT_BYTES },
      this,
    );
    this.#opening.promise.catch(() => {});
  }

  async open(timeoutMs: number): Promise<void> {
    if (!this.#started) {
      this.#started = true;
      const headers = [
        'accept',
        'text/event-stream',
        'accept-encoding',
        'identity',
        ...this.#address.headers,
        ...this.#address.proof,
      ];
      if (!this.#closed) {
        const request = { path: this.#address.path, method: 'GET', headers } as const;
        if (!this.#lease.stream(request, this.#stream)) this.#shut(busyFault(this.#server));
      }
    }
    const what = `server "${this.#server}" did not name its endpoint in time`;
    const timer = setTimeout(() => this.#shut(new UpstreamFault('timeout', what, { sent: true })), timeoutMs);
    try {
      await this.#opening.promise;
    } finally {
      clearTimeout(timer);
    }
  }

  exchange(request: JsonRpcRequest, options: ExchangeOptions): Exchange {
    const { promise, resolve, reject } = Promise.withResolvers<Answer>();
    const { id } = request;
    const pending = { resolve, reject, maxBytes: options.maxBytes };
    const settle = (fault: UpstreamFault) => {
      if (this.#pending.get(id) !== pending) return;
      this.#pending.delete(id);
      reject(fault);
    };
    this.#pending.set(id, pending);
    const abortPost = this.#post(request, options.headers, () => {}, settle);
    const abandon = (fault: UpstreamFault) => {
      settle(fault);
      abortPost();
    };
    return { answer: promise, abandon };
  }

  async send(message: JsonRpcMessage, options?: { headers?: Record<string, string> }): Promise<void> {
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    const abort = this.#post(message, options?.headers, resolve, reject);
    const late = new UpstreamFault('timeout', `server "${this.#server}" did not take a message in time`, {
      sent: true,
    });
    const timer = setTimeout(() => {
      reject(late);
      abort();
    }, SEND_TIMEOUT_MS).unref();
    try {
      await promise;
    } finally {
      clearTimeout(timer);
    }
  }

  async close(): Promise<void> {
    this.#shut(new UpstreamFault('unreachable', `the connection to server "${this.#server}" was closed`));
    await this.#lease.release();
  }

  diagnostics(): { pid?: number; stderr?: string[] } {
    return {};
  }

  opened(): void {}

  event(event: SseEvent): void {
    if (event.event === 'endpoint') this.#named(event.data);
    if (event.event !== 'message') return;
    const parsed = parseMessage(event.data);
    if (parsed?.kind === 'response') this.#answered(parsed.message, event.data, parsed.written);
    else if (parsed) this.#events.onMessage(parsed.message);
  }

  #answered(message: JsonRpcResponse, text: string, written: Written | undefined): void {
    const pending = this.#pending.get(message.id as RequestId);
    if (!pending) return;
    this.#pending.delete(message.id as RequestId);
    if (Buffer.byteLength(text) <= pending.maxBytes) pending.resolve({ message, written });
    else pending.reject(tooLargeFault(this.#server, pending.maxBytes));
  }

  end(): void {
    this.#shut(
      new UpstreamFault('unreachable', `server "${this.#server}" ended its event stream`, { sent: true }),
    );
  }

  fault(fault: UpstreamFault): void {
    this.#shut(fault);
  }

  text(): void {
    throw new TypeError('a stream has no text');
  }

  /** The endpoint must be on the stream's own origin: our headers, a credential among them, go there. */
  #named(data: string): void {
    if (this.#endpoint !== undefined) return;
    const url = URL.parse(data, this.#address.url.href);
    if (!url || url.origin !== this.#address.origin) {
      this.#shut(protocolFault(this.#server, 'named an endpoint on another origin, which is not used'));
      return;
    }
    this.#endpoint = url.pathname + url.search;
    this.#opening.resolve();
  }

  /** Returns what frees the POST's socket. */
  #post(
    message: JsonRpcMessage,
    extra: Record<string, string> | undefined,
    done: () => void,
    failed: (fault: UpstreamFault) => void,
  ): () => void {
    if (this.#closed || this.#endpoint === undefined) {
      failed(
        this.#closed ?? new UpstreamFault('unreachable', `server "${this.#server}" is not connected yet`),
      );
      return () => {};
    }
    const forget = () => this.#posts.delete(failed);
    const reply = new HttpReply(
      { server: this.#server, expects: 'acknowledgement', maxBytes: ACKNOWLEDGEMENT_BYTES },
      {
        opened: () => {},
        event: () => {},
        text: () => {},
        end: () => {
          forget();
          done();
        },
        fault: (fault) => {
          forget();
          failed(fault.status === 404 ? sessionLostFault(this.#server, 404) : fault);
        },
      },
    );
    const headers = [
      'content-type',
      'application/json',
      'accept-encoding',
      'identity',
      ...this.#address.headers,
      ...this.#address.proof,
    ];
    for (const name in extra) headers.push(name, extra[name]!);
    const body = JSON.stringify(message);
    this.#posts.add(failed);
    const request = { path: this.#endpoint, method: 'POST', headers, body } as const;
    if (!this.#lease.call(request, reply)) reply.refuse(busyFault(this.#server));
    return () => {
      forget();
      reply.abort();
    };
  }

  #shut(fault: UpstreamFault): void {
    if (this.#closed) return;
    this.#closed = fault;
    this.#stream.abort();
    this.#opening.reject(fault);
    for (const failed of this.#posts) failed(fault);
    this.#posts.clear();
    for (const pending of this.#pending.values()) pending.reject(fault);
    this.#pending.clear();
    this.#events.onClosed(fault);
  }
}
