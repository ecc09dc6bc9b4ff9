import { Bag } from '../base/bag.ts';
import type { OriginLease } from '../net/server-client.ts';
import { parseMessage } from '../protocol/answer-text.ts';
import type { JsonRpcMessage, JsonRpcRequest } from '../protocol/jsonrpc.ts';
import { EventListener } from './event-listener.ts';
import { type ExchangeHost, HttpExchange } from './http-exchange.ts';
import { busyFault, sessionLostFault } from './http-faults.ts';
import { HttpReply } from './http-reply.ts';
import { addressOf, type HttpTargetAddress, type HttpTransportOptions } from './http-target.ts';
import {
  type Exchange,
  type ExchangeOptions,
  type Transport,
  type TransportEvents,
  UpstreamFault,
} from './transport.ts';

const POST_HEADERS = [
  'content-type',
  'application/json',
  'accept',
  'application/json, text/event-stream',
  'accept-encoding',
  'identity',
];
const GET_HEADERS = ['accept', 'text/event-stream', 'accept-encoding', 'identity'];
const SEND_TIMEOUT_MS = 30_000;
const END_SESSION_MS = 2_000;
const ACKNOWLEDGEMENT_BYTES = 4 * 1024;

/**
 * Streamable HTTP, both eras (2025-11-25 and 2026-07-28 basic/transports). It knows no era: a legacy session is what
 * `setSession` gave it, a modern request brings its headers along. Waits for nothing by itself: callers abandon.
 */
export class HttpTransport implements Transport {
  readonly kind = 'http';
  readonly #server: string;
  readonly #address: HttpTargetAddress;
  readonly #lease: OriginLease;
  readonly #events: TransportEvents;
  readonly #inFlight = new Bag<{ abandon(fault: UpstreamFault): void }>();
  readonly #host: ExchangeHost & { session: { id: string | undefined } | undefined };
  #postHeaders: string[];
  #getHeaders: string[];
  #sessionHeaders: string[] = [];
  #listener: EventListener | undefined;
  #closed: UpstreamFault | undefined;
  /** The server no longer knows the session. */
  #forgotten = false;
  #closing: Promise<void> | undefined;

  constructor(options: HttpTransportOptions, events: TransportEvents) {
    this.#server = options.serverName;
    this.#address = addressOf(options);
    this.#lease = options.client.lease(this.#address.origin);
    this.#events = events;
    this.#postHeaders = [...POST_HEADERS, ...this.#address.headers];
    this.#getHeaders = [...GET_HEADERS, ...this.#address.headers];
    this.#host = {
      server: this.#server,
      session: undefined,
      onStray: (message) => events.onMessage(message),
      settled: (exchange) => {
        this.#inFlight.delete(exchange);
        // Not before a call that found out by itself could begin anew.
        if (this.#forgotten) setImmediate(() => this.#closeForgotten());
      },
      resume: (lastEventId, reply) => this.#get(lastEventId, reply),
    };
  }

  async open(): Promise<void> {
    if (this.#closed) throw this.#closed;
  }

  exchange(request: JsonRpcRequest, options: ExchangeOptions): Exchange {
    const exchange = new HttpExchange(this.#host, request.id, options);
    if (this.#closed) exchange.abandon(this.#closed);
    else {
      this.#inFlight.add(exchange);
      this.#post(request, options.headers, exchange.reply, options.lasting);
    }
    return exchange;
  }

  send(message: JsonRpcMessage, options?: { headers?: Record<string, string> }): Promise<void> {
    if (this.#closed) return Promise.reject(this.#closed);
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    const reply = this.#acknowledged(SEND_TIMEOUT_MS, resolve, reject);
    this.#post(message, options?.headers, reply);
    return promise;
  }

  /**
   * The legacy session that follows the handshake: `id` from the answer to `initialize` (some servers have none),
   * `revision` as negotiated. Both undefined: no session.
   */
  setSession(id: string | undefined, revision: string | undefined): void {
    this.#sessionHeaders = [];
    if (id !== undefined) this.#sessionHeaders.push('mcp-session-id', id);
    if (revision !== undefined) this.#sessionHeaders.push('mcp-protocol-version', revision);
    this.#host.session = revision === undefined ? undefined : { id };
    this.#postHeaders = [...POST_HEADERS, ...this.#address.headers, ...this.#sessionHeaders];
    this.#getHeaders = [...GET_HEADERS, ...this.#address.headers, ...this.#sessionHeaders];
  }

  /**
   * Opens the standalone stream of a legacy session and keeps it open; what arrives goes to `events.onMessage`.
   * `onEnd` is called when there will be no stream any more: without a fault if the server offers none. Resolves, and
   * never rejects, when the stream is open or the first try for it has failed.
   */
  listen(onEnd?: (fault: UpstreamFault | undefined) => void): Promise<void> {
    if (this.#closed || this.#listener) return Promise.resolve();
    const tried = Promise.withResolvers<void>();
    this.#listener = new EventListener({
      server: this.#server,
      open: (lastEventId, reply) => this.#get(lastEventId, reply),
      onEvent: (event) => {
        const parsed = event.event === 'message' ? parseMessage(event.data) : undefined;
        if (parsed && parsed.kind !== 'response') this.#events.onMessage(parsed.message);
      },
      onEnd: (fault) => {
        this.#listener = undefined;
        const ended = fault && this.#inSession(fault);
        onEnd?.(ended);
        // Whoever waits for news on it would wait for ever. A call under way finds out by itself and goes on.
        this.#forgotten = ended?.kind === 'session_lost';
        this.#closeForgotten();
      },
      onTried: tried.resolve,
      onReopened: () => this.#events.onReopened?.(),
      isFinal: (fault) => this.#inSession(fault).kind === 'session_lost',
    });
    return tried.promise;
  }

  close(): Promise<void> {
    this.#closing ??= this.#shut();
    return this.#closing;
  }

  diagnostics(): { pid?: number; stderr?: string[] } {
    return {};
  }

  #closeForgotten(): void {
    if (this.#forgotten && this.#inFlight.size === 0) void this.close();
  }

  async #shut(): Promise<void> {
    const fault = new UpstreamFault('unreachable', `the connection to server "${this.#server}" was closed`);
    this.#closed = fault;
    this.#listener?.stop();
    for (const one of this.#inFlight) one.abandon(fault);
    this.#events.onClosed(fault);
    await this.#endSession();
    await this.#lease.release();
  }

  /** Tells a legacy server that its session is over, so that it need not wait for it. Best effort. */
  async #endSession(): Promise<void> {
    if (this.#host.session?.id === undefined) return;
    const { promise, resolve } = Promise.withResolvers<void>();
    const reply = this.#acknowledged(END_SESSION_MS, resolve, () => resolve());
    const { path, proof } = this.#address;
    const more = [...this.#sessionHeaders, ...proof];
    const request = { path, method: 'DELETE', headers: this.#address.headers, more } as const;
    if (!this.#lease.call(request, reply)) resolve();
    await promise;
  }

  #post(
    message: JsonRpcMessage,
    extra: Record<string, string> | undefined,
    reply: HttpReply,
    lasting = false,
  ): void {
    const { path, proof } = this.#address;
    const more = [...proof];
    for (const name in extra) more.push(name, extra[name]!);
    const body = JSON.stringify(message);
    const request = { path, method: 'POST', headers: this.#postHeaders, more, body } as const;
    const sent = lasting ? this.#lease.stream(request, reply) : this.#lease.call(request, reply);
    if (!sent) reply.refuse(busyFault(this.#server));
  }

  #get(lastEventId: string, reply: HttpReply): void {
    const { path, proof } = this.#address;
    const more = lastEventId ? [...proof, 'last-event-id', lastEventId] : proof;
    const request = { path, method: 'GET', headers: this.#getHeaders, more } as const;
    if (!this.#lease.stream(request, reply)) reply.refuse(busyFault(this.#server));
  }

  #inSession(fault: UpstreamFault): UpstreamFault {
    const lost = fault.status === 404 && this.#host.session?.id !== undefined;
    return lost ? sessionLostFault(this.#server, 404) : fault;
  }

  /** A reply of which only the status matters, given up after `timeoutMs` or when the transport closes. */
  #acknowledged(timeoutMs: number, resolve: () => void, reject: (fault: UpstreamFault) => void): HttpReply {
    const finish = (fault?: UpstreamFault) => {
      clearTimeout(timer);
      this.#inFlight.delete(pending);
      if (fault) reject(this.#inSession(fault));
      else resolve();
    };
    const reply = new HttpReply(
      { server: this.#server, expects: 'acknowledgement', maxBytes: ACKNOWLEDGEMENT_BYTES },
      { opened: () => {}, text: () => finish(), event: () => {}, end: () => finish(), fault: finish },
    );
    const pending = {
      abandon: (fault: UpstreamFault) => {
        reply.abort();
        finish(fault);
      },
    };
    const late = new UpstreamFault('timeout', `server "${this.#server}" did not take a message in time`, {
      sent: true,
    });
    const timer = setTimeout(() => pending.abandon(late), timeoutMs).unref();
    this.#inFlight.add(pending);
    return reply;
  }
}
