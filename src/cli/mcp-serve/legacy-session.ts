import { setTimeout as delay } from 'node:timers/promises';
import {
  isObject,
  type JsonObject,
  type JsonRpcMessage,
  type JsonRpcRequest,
} from '../../protocol/jsonrpc.ts';
import { LIST_NOTICES } from '../../protocol/list-notices.ts';
import { eventsOf, startOfStream } from '../endpoint/event-stream.ts';
import { type Answer, type Asked, ask, MAX_ANSWER_BYTES } from './exchange.ts';
import { LinkFault, type ServerLink } from './server-link.ts';

const JSON_TYPE = { 'content-type': 'application/json' };
const QUIET = { opened: () => {}, heard: () => {} };
const MAX_SUBSCRIPTIONS = 1_000;
const MAX_PAUSE_MS = 10_000;
const END_MS = 1_500;

/**
 * The session of a client that begins with `initialize`. Towards the server it is a session over HTTP, with its id in
 * a header and a standing stream for what the server says by itself; the client on stdio knows of neither. A session
 * that the server has ended is begun anew with the same introduction, since the client could not.
 * none -> opening (initialize) -> open -> renewing -> open; ended by `end`.
 */
export class LegacySession {
  readonly #link: ServerLink;
  readonly #path: string;
  readonly #write: (text: string) => void | Promise<void>;
  readonly #over = new AbortController();
  #opening: Promise<void> | undefined;
  #renewing: Promise<void> | undefined;
  #id: string | undefined;
  #revision = '';
  #capabilities: JsonObject = {};
  #introduction: JsonObject | undefined;
  /** What the client asked for that a new session does not know. */
  #logLevel: JsonObject | undefined;
  readonly #subscriptions = new Set<string>();
  #standing: AbortController | undefined;

  /** @param write gives the client a message */
  constructor(link: ServerLink, path: string, write: (text: string) => void | Promise<void>) {
    this.#link = link;
    this.#path = path;
    this.#write = write;
  }

  async ask(message: JsonRpcRequest, asked: Omit<Asked, 'headers'>): Promise<Answer> {
    if (message.method === 'initialize') return this.#initialize(message, asked);
    await this.#opening;
    const used = this.#id;
    const answer = await this.#once(asked);
    const wanted = answer.status === 404 && used !== undefined;
    if (wanted) await this.#renew(used);
    const last = wanted ? await this.#once(asked) : answer;
    if ('result' in last.message) this.#remember(message);
    return last;
  }

  /** A notification, or the answer to something that the server asked. */
  async tell(message: JsonRpcMessage, line: string): Promise<void> {
    await this.#opening;
    if (this.#id === undefined) return;
    await this.#post(line);
    if ('method' in message && message.method === 'notifications/initialized' && !this.#standing)
      void this.#listen();
  }

  /** Ends it at the server too. Never rejects. */
  async end(): Promise<void> {
    this.#over.abort();
    await this.#leave();
  }

  async #leave(): Promise<void> {
    this.#standing?.abort();
    this.#standing = undefined;
    if (this.#id === undefined) return;
    const sent = { method: 'DELETE', headers: this.#headers(), patient: false } as const;
    const answer = this.#link.send(this.#path, { ...sent, signal: AbortSignal.timeout(END_MS) });
    // A session that cannot be ended expires.
    await answer.then((response) => response.body?.cancel()).catch(() => undefined);
  }

  async #initialize(message: JsonRpcRequest, asked: Omit<Asked, 'headers'>): Promise<Answer> {
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#opening = promise;
    try {
      const answer = await ask(this.#link, this.#path, { ...asked, headers: accepting('json') });
      if ('result' in answer.message) {
        await this.#leave();
        this.#introduction = message.params;
        this.#enter(answer, answer.message.result);
      }
      return answer;
    } finally {
      resolve();
    }
  }

  #enter({ headers }: Answer, result: JsonObject): void {
    this.#id = headers.get('mcp-session-id') ?? undefined;
    this.#revision = String(result.protocolVersion);
    this.#capabilities = isObject(result.capabilities) ? result.capabilities : {};
  }

  /** As a stream from the start: then it has been taken up, can be cancelled, and survives a lost connection. */
  #once(asked: Omit<Asked, 'headers'>): Promise<Answer> {
    const headers = this.#headers();
    return ask(this.#link, this.#path, {
      ...asked,
      headers: { ...headers, ...accepting('stream') },
      resume: headers,
    });
  }

  #headers(): Record<string, string> {
    if (this.#id === undefined) return {};
    return { 'mcp-session-id': this.#id, 'mcp-protocol-version': this.#revision };
  }

  async #post(line: string): Promise<void> {
    const headers = { ...JSON_TYPE, ...accepting('json'), ...this.#headers() };
    const { signal } = this.#over;
    const response = await this.#link.send(this.#path, { method: 'POST', headers, body: line, signal });
    await response.body?.cancel();
  }

  #remember({ method, params }: JsonRpcRequest): void {
    const uri = String(params?.uri);
    if (method === 'logging/setLevel') this.#logLevel = params;
    else if (method === 'resources/unsubscribe') this.#subscriptions.delete(uri);
    else if (method === 'resources/subscribe' && this.#subscriptions.size < MAX_SUBSCRIPTIONS)
      this.#subscriptions.add(uri);
  }

  /** Begins the session anew, once for all who find it over. */
  async #renew(over: string | undefined): Promise<void> {
    if (this.#id !== over) return;
    this.#renewing ??= this.#beginAnew().finally(() => {
      this.#renewing = undefined;
    });
    await this.#renewing;
  }

  async #beginAnew(): Promise<void> {
    const answer = await this.#own('initialize', this.#introduction ?? {}, accepting('json'));
    if ('error' in answer.message)
      throw new LinkFault(`the session is over, and no other begins: ${answer.message.error.message}`, false);
    this.#enter(answer, answer.message.result);
    await this.#post(JSON.stringify({ jsonrpc: '2.0', method: 'notifications/initialized' }));
    if (this.#logLevel) await this.#own('logging/setLevel', this.#logLevel, this.#headers());
    for (const uri of this.#subscriptions) await this.#own('resources/subscribe', { uri }, this.#headers());
    if (this.#standing) {
      this.#standing.abort();
      void this.#listen();
    }
    for (const [kind, method] of Object.entries(LIST_NOTICES)) {
      const capability = this.#capabilities[kind.replace('ListChanged', '')];
      if (isObject(capability) && capability.listChanged === true)
        await this.#write(JSON.stringify({ jsonrpc: '2.0', method }));
    }
  }

  /** A request of the bridge itself. */
  #own(method: string, params: JsonObject, headers: Record<string, string>): Promise<Answer> {
    const request: JsonRpcRequest = { jsonrpc: '2.0', id: 'castellan-renewal', method, params };
    const { signal } = this.#over;
    const asked = { ...QUIET, line: JSON.stringify(request), id: request.id, signal };
    return ask(this.#link, this.#path, { ...asked, headers: { ...accepting('json'), ...headers } });
  }

  /** Keeps the standing stream open, and goes on after the last event that came. */
  async #listen(): Promise<void> {
    const stop = new AbortController();
    this.#standing = stop;
    const position = startOfStream();
    let failures = 0;
    while (!stop.signal.aborted) {
      const resume = position.lastEventId && { 'last-event-id': position.lastEventId };
      const headers = { ...this.#headers(), accept: 'text/event-stream', ...resume };
      const used = this.#id;
      try {
        const response = await this.#link.send(this.#path, { method: 'GET', headers, signal: stop.signal });
        if (response.ok) {
          failures = 0;
          for await (const { data } of eventsOf(response, position, MAX_ANSWER_BYTES))
            await this.#write(data);
        } else {
          failures += 1;
          await response.body?.cancel();
          // Asking again would be no use, and is how somebody guesses.
          if ([401, 403, 405].includes(response.status)) return;
          if (response.status === 404) return void (await this.#renew(used));
          // What came after that event is not known there any more.
          if (response.status === 400) position.lastEventId = '';
        }
      } catch {
        failures += 1;
      }
      const pause = Math.min(position.retryMs * 2 ** Math.max(failures - 1, 0), MAX_PAUSE_MS);
      await delay(pause, undefined, { signal: stop.signal }).catch(() => undefined);
    }
  }
}

/** Which form is named first is the one that is wished for. */
function accepting(first: 'json' | 'stream'): Record<string, string> {
  const [json, stream] = ['application/json', 'text/event-stream'];
  return { accept: first === 'json' ? `${json}, ${stream}` : `${stream}, ${json}` };
}
