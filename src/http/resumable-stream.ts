import { randomBytes } from 'node:crypto';
import type { ServerResponse } from 'node:http';
import { startEventStream } from './event-stream-head.ts';

/** `call`: the answer to one POST. `standing`: the stream of a GET, which no answer ends. */
export type StreamKind = 'call' | 'standing';

export type StreamOwner = { session: string; tokenId: string | undefined };

/** Keeps account of the connections of a stream. */
export type ConnectionCount = {
  /** A connection is about to carry it again. False: there may be no more. */
  add(): boolean;
  delete(): void;
};

type Sent = { seq: number; text: string };

/** A client that reads slower than its stream grows is cut off here, bytes; it may resume. */
const MAX_UNREAD = 4 * 1024 * 1024;
/** What one stream keeps to be sent again: so many events, so many characters. */
const MAX_EVENTS = 1_024;
const MAX_KEPT = 4 * 1024 * 1024;
/** A client that lost its connection waits this long before it asks again, ms. */
const RETRY_MS = 1_000;
/** First letter of a stream's id, so that what kind it was is known when the stream no longer is. */
const LETTER = { call: 'c', standing: 's' } as const;

/**
 * An event stream of a legacy session that outlives its connections (2025-11-25 basic/transports#resumability-and-
 * redelivery). It keeps its last events; their ids are its own random id and a running number.
 */
export class ResumableStream {
  readonly id: string;
  readonly kind: StreamKind;
  readonly session: string;
  readonly tokenId: string | undefined;
  /** When its last event was sent, ms since the epoch. */
  endedAt: number | undefined;
  /** When it lost its connection; undefined while it has one. */
  lostAt: number | undefined;
  /** Whether its last connection took all that was written to it. */
  delivered = false;
  /** Told when a connection is lost and when another takes its place. */
  count: ConnectionCount | undefined;
  private res: ServerResponse | undefined;
  private sent: Sent[] = [];
  private seq = 0;
  private size = 0;
  private forgotten = false;
  private givenUp = false;
  private lost: (() => void)[] = [];
  private readonly grew: (stream: ResumableStream, by: number) => void;

  constructor(
    kind: StreamKind,
    owner: StreamOwner,
    grew: (stream: ResumableStream, by: number) => void = () => {},
  ) {
    this.kind = kind;
    this.id = LETTER[kind] + randomBytes(16).toString('base64url');
    this.session = owner.session;
    this.tokenId = owner.tokenId;
    this.grew = grew;
  }

  /** Characters that it keeps. */
  get kept(): number {
    return this.size;
  }

  get connected(): boolean {
    return this.res !== undefined;
  }

  /** Whether somebody is there, or may still come back, to answer a question. */
  get reachable(): boolean {
    return !this.over && !this.givenUp;
  }

  /** Nothing more comes on it. */
  get over(): boolean {
    return this.endedAt !== undefined || (this.forgotten && !this.res);
  }

  /** Puts it on its first connection. `primed`: with an event that only tells the id to resume from. */
  start(res: ServerResponse, primed: boolean): void {
    startEventStream(res);
    this.attach(res);
    if (primed) res.write(`id: ${this.nextId()}\nretry: ${RETRY_MS}\ndata: \n\n`);
  }

  /** Sends what came after event `seen` and goes on from there. False when that is not known any more. */
  resume(res: ServerResponse, seen: number): boolean {
    const first = this.sent[0]?.seq ?? this.seq + 1;
    if (seen < first - 1 || seen > this.seq) return false;
    const before = this.res;
    if (!before && this.count?.add() === false) return false;
    this.attach(res);
    before?.destroy();
    startEventStream(res);
    res.write(':\n\n');
    for (const event of this.sent) if (event.seq > seen) this.writeOut(event);
    if (this.endedAt !== undefined) res.end();
    return true;
  }

  /** Sends one JSON-RPC message; without a connection it is kept. */
  send(text: string): void {
    if (this.over) return;
    this.seq += 1;
    const event = { seq: this.seq, text };
    // Whoever reads too slowly loses the connection and nothing else.
    if (this.res && this.res.writableLength > MAX_UNREAD) this.res.destroy();
    else this.writeOut(event);
    if (!this.forgotten) this.keep(event);
  }

  /** Sends the last message. */
  finish(text: string): void {
    if (this.over) return;
    this.send(text);
    this.endedAt = Date.now();
    this.res?.end();
  }

  keepAlive(): void {
    if (this.res && !this.res.destroyed && !this.res.writableEnded) this.res.write(':\n\n');
  }

  /** Calls back when nobody is there any more, and nobody came back in the time there is for that. */
  onLost(listener: () => void): void {
    if (this.reachable) this.lost.push(listener);
    else listener();
  }

  /** Tells those who wait on the client that it stays away. */
  giveUp(): void {
    this.givenUp = true;
    const listeners = this.lost;
    this.lost = [];
    for (const listener of listeners) listener();
  }

  /** Keeps nothing any more. A connection that it has still carries it to its end. */
  forget(): void {
    this.forgotten = true;
    this.sent = [];
    this.size = 0;
    if (!this.res) this.giveUp();
  }

  /** Ends it at once, in good order (`end`) or not. */
  close(how: 'end' | 'destroy'): void {
    const { res } = this;
    this.res = undefined;
    this.forget();
    res?.[how]();
  }

  private attach(res: ServerResponse): void {
    this.res = res;
    this.lostAt = undefined;
    this.givenUp = false;
    this.delivered = false;
    res.on('close', () => {
      if (this.res !== res) return;
      this.res = undefined;
      this.lostAt = Date.now();
      this.delivered = res.writableFinished;
      this.count?.delete();
      if (this.forgotten) this.giveUp();
    });
  }

  private keep(event: Sent): void {
    this.sent.push(event);
    let by = event.text.length;
    let drop = 0;
    while (this.sent.length - drop > MAX_EVENTS || (drop < this.sent.length && this.size + by > MAX_KEPT)) {
      by -= this.sent[drop]!.text.length;
      drop += 1;
    }
    if (drop > 0) this.sent.splice(0, drop);
    this.size += by;
    this.grew(this, by);
  }

  private writeOut({ seq, text }: Sent): void {
    const { res } = this;
    if (!res || res.destroyed || res.writableEnded) return;
    res.write(`id: ${this.id}-${seq}\nevent: message\ndata: ${text}\n\n`);
  }

  private nextId(): string {
    this.seq += 1;
    return `${this.id}-${this.seq}`;
  }
}

/** Takes an event id apart; undefined for what never was one of ours. */
export function parseEventId(text: string): { stream: string; kind: StreamKind; seq: number } | undefined {
  const parts = /^(([cs])[\w-]{22})-(\d{1,9})$/.exec(text);
  if (!parts) return undefined;
  return { stream: parts[1]!, kind: parts[2] === 's' ? 'standing' : 'call', seq: Number(parts[3]) };
}
