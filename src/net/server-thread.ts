/**
 * A thread that sends requests to servers and reads their replies: sockets and HTTP take longer than all that is decided
 * about a call. It knows no more than the addresses and bytes it is given. What it says of one turn of its event loop
 * travels in few messages.
 */
import { parentPort } from 'node:worker_threads';
import type Pool from 'undici/lib/dispatcher/pool.js';
import { openPool } from './pool.ts';
import { PooledReply, type ReplyHead, type ReplyReader } from './reply.ts';

export type ToThread =
  /** Headers that many requests have in common get a number. */
  | [kind: 'headers', set: number, headers: string[]]
  /** All numbers of headers are free again. */
  | [kind: 'forget']
  | [kind: 'call', id: number, set: number, call: ThreadCall]
  | [kind: 'abort', id: number]
  /** So many bytes of a reply were read. */
  | [kind: 'read', id: number, bytes: number]
  /** Nobody needs the sockets to an origin any more. */
  | [kind: 'close', origin: string];
export type ThreadCall = [
  origin: string,
  method: 'GET' | 'POST' | 'DELETE',
  path: string,
  more: string[] | undefined,
  body: string | undefined,
];

/** Exactly one of `whole`, `end` and `failed` is the last about an id. */
export type FromThread =
  /** A reply that came in one piece. Fewer names travel than with a head. */
  | [kind: 'whole', id: number, body: string, bytes: number, head: WholeHead]
  | [kind: 'head', id: number, head: ReplyHead]
  | [kind: 'data', id: number, chunk: Uint8Array]
  | [kind: 'end', id: number]
  | [kind: 'failed', id: number, sent: boolean, error: { name: string; message: string; code?: unknown }];
export type WholeHead = [
  status: number,
  contentType: string,
  contentLength: number | undefined,
  contentEncoding?: string,
  sessionId?: string,
  challenge?: string,
  location?: string,
];

/** So many travel in one message at the most, so that both sides work at the same time. */
export const TOGETHER = 4;
/** Of one reply that wait to be read. */
const UNREAD_BYTES = 256 * 1024;

const pools = new Map<string, Pool>();
const headerSets = new Map<number, string[]>();
const replies: (ThreadReply | undefined)[] = [];
let outgoing: FromThread[] = [];
let unfinished: ThreadReply[] = [];

parentPort?.on('message', (batch: ToThread[]) => {
  for (const order of batch) obey(order);
});
// It is there.
parentPort?.postMessage([]);

function obey(order: ToThread): void {
  switch (order[0]) {
    case 'headers':
      headerSets.set(order[1], order[2]);
      return;
    case 'forget':
      headerSets.clear();
      return;
    case 'call':
      send(order[1], headerSets.get(order[2])!, order[3]);
      return;
    case 'abort':
      replies[order[1]]?.abort();
      return;
    case 'read':
      replies[order[1]]?.read(order[2]);
      return;
    case 'close':
      void pools.get(order[1])?.destroy();
      pools.delete(order[1]);
  }
}

function send(id: number, headers: string[], [origin, method, path, more, body]: ThreadCall): void {
  let pool = pools.get(origin);
  if (!pool) {
    pool = openPool(origin);
    pools.set(origin, pool);
  }
  const reply = new ThreadReply(id);
  replies[id] = reply;
  pool.dispatch(
    { method, path, headers: more ? [...headers, ...more] : headers, body },
    new PooledReply(reply),
  );
}

function tell(news: FromThread): void {
  atEndOfTurn();
  outgoing.push(news);
  if (outgoing.length === TOGETHER) post();
}

function atEndOfTurn(): void {
  if (outgoing.length === 0 && unfinished.length === 0) setImmediate(flush);
}

function flush(): void {
  for (const reply of unfinished) reply.pass();
  unfinished = [];
  if (outgoing.length > 0) post();
}

function post(): void {
  const batch = outgoing;
  outgoing = [];
  parentPort?.postMessage(batch);
}

/** Gathers what comes in one turn: most replies are whole by its end. */
class ThreadReply implements ReplyReader {
  readonly #id: number;
  #abort: (() => void) | undefined;
  #aborted = false;
  #resume: (() => void) | undefined;
  /** Until it is told. */
  #head: ReplyHead | undefined;
  #pieces: Buffer[] = [];
  #listed = false;
  #unread = 0;

  constructor(id: number) {
    this.#id = id;
  }

  abort(): void {
    this.#aborted = true;
    this.#abort?.();
  }

  read(bytes: number): void {
    const paused = this.#unread > UNREAD_BYTES;
    this.#unread -= bytes;
    if (paused && this.#unread <= UNREAD_BYTES) this.#resume?.();
  }

  begun(abort: () => void): void {
    this.#abort = abort;
    if (this.#aborted) abort();
  }

  head(head: ReplyHead, resume: () => void): void {
    this.#head = head;
    this.#resume = resume;
    this.#list();
  }

  data(chunk: Buffer): boolean {
    this.#pieces.push(chunk);
    this.#unread += chunk.length;
    this.#list();
    return this.#unread <= UNREAD_BYTES;
  }

  end(): void {
    replies[this.#id] = undefined;
    if (this.#head) {
      const body = joined(this.#pieces);
      tell(['whole', this.#id, body.toString('utf8'), body.length, packed(this.#head)]);
      this.#head = undefined;
      this.#pieces = [];
    } else {
      this.pass();
      tell(['end', this.#id]);
    }
  }

  whole(): never {
    throw new TypeError('a pool gives a reply in pieces');
  }

  failed(error: Error, sent: boolean): void {
    replies[this.#id] = undefined;
    this.pass();
    const { name, message } = error;
    const code = 'code' in error ? error.code : undefined;
    tell(['failed', this.#id, sent, { name, message, code }]);
  }

  /** Tells what is here of a reply that is not whole. */
  pass(): void {
    this.#listed = false;
    if (this.#head) tell(['head', this.#id, this.#head]);
    this.#head = undefined;
    if (this.#pieces.length === 0) return;
    // A copy: a piece is a window on a much larger buffer, which would travel whole.
    tell(['data', this.#id, Uint8Array.prototype.slice.call(joined(this.#pieces))]);
    this.#pieces = [];
  }

  #list(): void {
    if (this.#listed) return;
    this.#listed = true;
    atEndOfTurn();
    unfinished.push(this);
  }
}

function joined(pieces: Buffer[]): Buffer {
  return pieces.length === 1 ? pieces[0]! : Buffer.concat(pieces);
}

function packed(head: ReplyHead): WholeHead {
  const { status, contentType, contentLength, contentEncoding, sessionId, challenge, location } = head;
  const rare = contentEncoding ?? sessionId ?? challenge ?? location;
  return rare === undefined
    ? [status, contentType, contentLength]
    : [status, contentType, contentLength, contentEncoding, sessionId, challenge, location];
}
