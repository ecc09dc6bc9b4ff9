import { setTimeout as delay } from 'node:timers/promises';
import { messageOf } from '../../base/errors.ts';
import {
  asMessage,
  ErrorCode,
  isObject,
  isRequestId,
  type JsonRpcRequest,
  type RequestId,
} from '../../protocol/jsonrpc.ts';
import { ApprovalMethods } from './approval-methods.ts';
import { type Asked, failure } from './exchange.ts';
import { LegacySession } from './legacy-session.ts';
import { isModern, ModernRequests } from './modern-requests.ts';
import { LinkFault, type ServerLink } from './server-link.ts';
import { subscribed } from './subscription.ts';

const MAX_RUNNING = 500;
/** Characters of all that is under way. */
const MAX_WAITING = 64 * 1024 * 1024;
/** What only reads may be asked again when a connection breaks. */
const READS =
  /^(initialize|ping|server\/discover|completion\/complete|logging\/setLevel|resources\/(un)?subscribe|[a-z]+\/(list|get|read)|resources\/templates\/list)$/;
const METHOD = /^[\x21-\x7e]{1,256}$/;

export type BridgeDeps = {
  link: ServerLink;
  /** Path of the MCP endpoint, and the project it belongs to. */
  endpoint: string;
  project: string;
  /** Gives the client one line, without its end; resolves when it may have another one. */
  write(line: string): void | Promise<void>;
  note(text: string): void;
};

type Running = {
  message: JsonRpcRequest;
  stop: AbortController;
  /** The server has taken it up. */
  opened: PromiseWithResolvers<void>;
  cancelled: boolean;
  done: Promise<void>;
};

/**
 * A client on stdio on one side, an MCP endpoint over HTTP on the other, in both eras. Messages pass as they are
 * written; only what one transport says elsewhere than the other is said anew.
 */
export class Bridge {
  readonly #deps: BridgeDeps;
  readonly #approvals: ApprovalMethods;
  readonly #modern: ModernRequests;
  readonly #session: LegacySession;
  /** By the JSON of their ids: 1 and "1" are two. */
  readonly #running = new Map<string, Running>();
  readonly #telling = new Set<Promise<void>>();
  #waiting = 0;
  #ended = false;

  constructor(deps: BridgeDeps) {
    const { link, endpoint, project } = deps;
    this.#deps = deps;
    this.#approvals = new ApprovalMethods(link, project);
    this.#modern = new ModernRequests(link, endpoint);
    this.#session = new LegacySession(link, endpoint, (text) => this.#write(text));
  }

  /** Takes one line of the client. Never throws. */
  take(line: string): void {
    let value: unknown;
    try {
      value = JSON.parse(line);
    } catch {
      this.refuse(null, ErrorCode.parse, 'This line is no JSON: write one message a line');
      return;
    }
    const sorted = asMessage(value);
    if (!sorted) {
      const batch = Array.isArray(value) && 'Batches are not part of MCP: write one message a line';
      const id = isObject(value) && isRequestId(value.id) ? value.id : null;
      this.refuse(id, ErrorCode.invalidRequest, batch || 'Not a JSON-RPC 2.0 message');
    } else if (sorted.kind === 'request') this.#begin(sorted.message, line);
    else if (sorted.kind === 'notification' && sorted.message.method === 'notifications/cancelled')
      this.#cancel(sorted.message.params?.requestId, line);
    else if (sorted.kind === 'notification' && isModern(sorted.message)) return;
    else if (this.#isFull(line))
      this.#deps.note('a message of the client was dropped: too much is under way');
    else this.#track(line, () => this.#session.tell(sorted.message, line));
  }

  refuse(id: RequestId | null, code: number, message: string): void {
    void this.#write(failure(id, { code, message }));
  }

  /** Waits for what is under way, but for what lasts until somebody ends it. */
  async drain(timeoutMs: number): Promise<void> {
    const passing = [...this.#running.values()].filter(({ message }) => !isSubscription(message));
    const all = Promise.all([...passing.map(({ done }) => done), ...this.#telling]);
    await Promise.race([all, delay(timeoutMs, undefined, { ref: false })]);
  }

  /** Writes nothing any more, and ends what is open at the server. Never rejects. */
  async end(): Promise<void> {
    this.#ended = true;
    for (const { stop } of this.#running.values()) stop.abort();
    await this.#session.end();
  }

  #begin(message: JsonRpcRequest, line: string): void {
    const { id, method } = message;
    const key = JSON.stringify(id);
    if (this.#running.has(key)) {
      this.refuse(id, ErrorCode.invalidRequest, 'A request with this id is under way');
      return;
    }
    if (!METHOD.test(method)) {
      this.refuse(id, ErrorCode.methodNotFound, 'Method not found');
      return;
    }
    if (this.#isFull(line)) {
      this.refuse(id, ErrorCode.internal, 'Too much is under way');
      return;
    }
    const running: Running = {
      message,
      stop: new AbortController(),
      opened: Promise.withResolvers(),
      cancelled: false,
      done: Promise.resolve(),
    };
    this.#running.set(key, running);
    this.#waiting += line.length;
    running.done = this.#answer(running, line).finally(() => {
      running.opened.resolve();
      this.#running.delete(key);
      this.#waiting -= line.length;
    });
  }

  async #answer(running: Running, line: string): Promise<void> {
    const { message, stop } = running;
    const { signal } = stop;
    const attempt = () => this.#ask(running, line);
    try {
      const answer = await attempt().catch((error: unknown) => {
        const broken = error instanceof LinkFault && error.sent && !signal.aborted;
        if (!broken || !READS.test(message.method)) throw error;
        return attempt();
      });
      if (answer !== undefined && !running.cancelled) await this.#write(answer);
    } catch (error) {
      if (running.cancelled || signal.aborted) return;
      this.#deps.note(`${message.method}: ${messageOf(error)}`);
      const unsure = message.method === 'tools/call' && error instanceof LinkFault && error.sent;
      const fix = unsure ? '. The call may have been made: look before you repeat it' : '';
      this.refuse(message.id, ErrorCode.internal, `${messageOf(error)}${fix}`);
    }
  }

  async #ask(running: Running, line: string): Promise<string | undefined> {
    const { message, stop, opened } = running;
    const { link, endpoint } = this.#deps;
    const asked: Omit<Asked, 'headers'> = {
      line,
      id: message.id,
      signal: stop.signal,
      opened: () => opened.resolve(),
      heard: (text) => (running.cancelled ? undefined : this.#write(text)),
    };
    if (this.#approvals.has(message.method)) return this.#approvals.answer(message, stop.signal);
    if (isSubscription(message)) return subscribed(link, endpoint, message, asked);
    const era = isModern(message) ? this.#modern : this.#session;
    return (await era.ask(message, asked)).text;
  }

  /** Over HTTP a modern request is cancelled by closing its stream, a legacy one by a notification of its own. */
  #cancel(id: unknown, line: string): void {
    const running = this.#running.get(JSON.stringify(id));
    if (!running || running.cancelled) return;
    running.cancelled = true;
    if (isModern(running.message) || this.#approvals.has(running.message.method)) {
      running.stop.abort();
      return;
    }
    const { promise } = running.opened;
    const told = { jsonrpc: '2.0', method: 'notifications/cancelled' } as const;
    this.#track(line, () => promise.then(() => this.#session.tell(told, line)));
  }

  #track(line: string, tell: () => Promise<void>): void {
    this.#waiting += line.length;
    const settled = tell()
      .catch((error: unknown) => {
        if (!this.#ended) this.#deps.note(messageOf(error));
      })
      .finally(() => {
        this.#telling.delete(settled);
        this.#waiting -= line.length;
      });
    this.#telling.add(settled);
  }

  #isFull(line: string): boolean {
    const count = this.#running.size + this.#telling.size;
    return count >= MAX_RUNNING || this.#waiting + line.length > MAX_WAITING;
  }

  /** A line break between tokens is JSON, and would end the line. */
  #write(text: string): void | Promise<void> {
    if (this.#ended) return;
    return this.#deps.write(/[\r\n]/.test(text) ? text.replaceAll(/[\r\n]+/g, ' ') : text);
  }
}

function isSubscription(message: JsonRpcRequest): boolean {
  return message.method === 'subscriptions/listen' && isModern(message);
}
