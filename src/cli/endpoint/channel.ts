import type {
  JsonRpcMessage,
  JsonRpcNotification,
  JsonRpcRequest,
  JsonRpcResponse,
} from '../../protocol/jsonrpc.ts';
import { asMessage, isRequestId } from '../../protocol/jsonrpc.ts';
import { EndpointFault, transportFault } from './endpoint-fault.ts';
import { readEvents } from './event-stream.ts';
import {
  answerTo,
  authorization,
  contentType,
  type HttpTarget,
  parseJson,
  post,
  type Reply,
} from './http-exchange.ts';

/** Carries messages to an endpoint under test. */
export interface Channel {
  request(message: JsonRpcRequest, headers: Record<string, string>): Promise<Reply>;
  notify(message: JsonRpcNotification | JsonRpcResponse, headers: Record<string, string>): Promise<void>;
  /** Ends what the channel holds open, a legacy session included. Never rejects. */
  close(): Promise<void>;
}

/** Streamable HTTP of both eras: one POST a message. */
export class HttpChannel implements Channel {
  readonly #target: HttpTarget;
  #session: string | undefined;
  #sessionHeaders: Record<string, string> = {};

  constructor(target: HttpTarget) {
    this.#target = target;
  }

  async request(message: JsonRpcRequest, headers: Record<string, string>): Promise<Reply> {
    const all = { ...this.#sessionHeaders, ...headers };
    return post(this.#target, message, all, (incoming) => this.#answer(incoming, all));
  }

  async notify(message: JsonRpcMessage, headers: Record<string, string>): Promise<void> {
    const reply = await post(this.#target, message, { ...this.#sessionHeaders, ...headers }, () => undefined);
    if (reply.status < 200 || reply.status > 299) {
      const what = 'method' in message ? message.method : 'a response';
      throw new EndpointFault(
        'contract',
        `HTTP ${reply.status} to ${what}${reply.text && `: ${reply.text}`}`,
        reply.status,
      );
    }
  }

  /** From the handshake on, every message names the session and the revision. */
  openSession(session: string | undefined, revision: string): void {
    this.#session = session;
    this.#sessionHeaders = {
      'mcp-protocol-version': revision,
      ...(session === undefined ? {} : { 'mcp-session-id': session }),
    };
  }

  async close(): Promise<void> {
    if (this.#session === undefined) return;
    const { url, token, deadline } = this.#target;
    const headers = { ...this.#sessionHeaders, ...authorization(token) };
    try {
      const signal = AbortSignal.any([deadline.signal, AbortSignal.timeout(2_000)]);
      const response = await fetch(url, { method: 'DELETE', redirect: 'manual', headers, signal });
      await response.body?.cancel();
    } catch {
      // The endpoint's own expiry ends a session that it does not let us end.
    }
  }

  #answer(incoming: JsonRpcMessage, headers: Record<string, string>): void {
    if (!('method' in incoming) || !('id' in incoming)) return;
    this.notify(answerTo(incoming), headers).catch(() => undefined);
  }
}

/** The HTTP+SSE transport of 2024-11-05: answers come on one GET stream, which also names the URL to post to. */
export class SseChannel implements Channel {
  readonly #target: HttpTarget;
  readonly #postTarget: HttpTarget;
  readonly #stop: AbortController;
  readonly #waiting = new Map<string | number, PromiseWithResolvers<JsonRpcResponse>>();

  private constructor(target: HttpTarget, endpoint: URL, stop: AbortController) {
    this.#target = target;
    this.#postTarget = { ...target, url: endpoint };
    this.#stop = stop;
  }

  /** Undefined when `target` is no such endpoint. */
  static async open(target: HttpTarget): Promise<SseChannel | undefined> {
    const stop = new AbortController();
    const signal = AbortSignal.any([stop.signal, target.deadline.signal]);
    const headers = { accept: 'text/event-stream', ...authorization(target.token) };
    let response: Response;
    try {
      response = await fetch(target.url, { headers, redirect: 'manual', signal });
    } catch (error) {
      throw transportFault(target.url, error, target.deadline.timeoutMs);
    }
    if (!response.ok || contentType(response.headers) !== 'text/event-stream') {
      await response.body?.cancel();
      return undefined;
    }
    const events = readEvents(response);
    const first = await events.next().catch((error) => {
      throw transportFault(target.url, error, target.deadline.timeoutMs);
    });
    if (first.done || first.value.event !== 'endpoint') {
      stop.abort();
      return undefined;
    }
    const endpoint = URL.parse(first.value.data, target.url.href);
    if (endpoint?.origin !== target.url.origin) {
      stop.abort();
      throw new EndpointFault(
        'transport',
        'its HTTP+SSE stream names an endpoint on another origin; a token is not sent there',
      );
    }
    const channel = new SseChannel(target, endpoint, stop);
    void channel.#read(events);
    return channel;
  }

  async request(message: JsonRpcRequest, headers: Record<string, string>): Promise<Reply> {
    const waiting = Promise.withResolvers<JsonRpcResponse>();
    // Whoever awaits it sees the fault; a post that fails first must not leave it unhandled.
    waiting.promise.catch(() => undefined);
    this.#waiting.set(message.id, waiting);
    try {
      const posted = await post(this.#postTarget, message, headers, () => undefined);
      if (posted.answer || posted.status > 299) return posted;
      return { ...posted, answer: await waiting.promise };
    } finally {
      this.#waiting.delete(message.id);
    }
  }

  async notify(message: JsonRpcMessage, headers: Record<string, string>): Promise<void> {
    await post(this.#postTarget, message, headers, () => undefined);
  }

  async close(): Promise<void> {
    this.#stop.abort();
  }

  async #read(events: AsyncIterable<{ data: string }>): Promise<void> {
    let fault = new EndpointFault('transport', 'its event stream ended before the answer came');
    try {
      for await (const { data } of events) this.#take(data);
    } catch (error) {
      fault = transportFault(this.#target.url, error, this.#target.deadline.timeoutMs);
    }
    for (const waiting of this.#waiting.values()) waiting.reject(fault);
  }

  #take(data: string): void {
    const message = asMessage(parseJson(data));
    if (message?.kind === 'request') this.notify(answerTo(message.message), {}).catch(() => undefined);
    if (message?.kind !== 'response' || !isRequestId(message.message.id)) return;
    this.#waiting.get(message.message.id)?.resolve(message.message);
  }
}
