import type { Buffer } from 'node:buffer';
import { GrowingBuffer } from './growing-buffer.ts';

/** One dispatched event; `event` is `message` unless the stream named another type. */
export type SseEvent = { event: string; data: string };

const LF = 10;
const CR = 13;
const SPACE = 32;
const COLON = 58;
const MAX_RETRY_MS = 24 * 3600 * 1000;

/**
 * Incremental parser of `text/event-stream` (HTML Living Standard, section 9.2.6). Works on bytes, so a character split
 * between chunks needs no care. An event without data (MCP's priming event) is not dispatched but moves `lastEventId`.
 */
export class SseParser {
  /** The id to resume after; empty when the stream gave none. */
  lastEventId = '';
  /** What the stream's last `retry:` asked for, in milliseconds. */
  retryMs: number | undefined;

  readonly #maxEventBytes: number;
  readonly #onEvent: (event: SseEvent) => void;
  readonly #partial = new GrowingBuffer();
  #data: string | undefined;
  #dataBytes = 0;
  #event = '';
  #id: string | undefined;
  #endedByCr = false;
  #firstLine = true;

  constructor(maxEventBytes: number, onEvent: (event: SseEvent) => void) {
    this.#maxEventBytes = maxEventBytes;
    this.#onEvent = onEvent;
  }

  /** False when an event or a line is over the cap: the stream is then of no use any more. */
  push(chunk: Buffer): boolean {
    let start = this.#endedByCr && chunk[0] === LF ? 1 : 0;
    if (chunk.length > 0) this.#endedByCr = false;
    let lf = chunk.indexOf(LF, start);
    let cr = chunk.indexOf(CR, start);
    while (lf !== -1 || cr !== -1) {
      const end = lf === -1 || (cr !== -1 && cr < lf) ? cr : lf;
      if (!this.#takeLine(chunk, start, end)) return false;
      start = end + 1;
      if (end === cr) {
        this.#endedByCr = start === chunk.length;
        if (chunk[start] === LF) start += 1;
      }
      if (lf !== -1 && lf < start) lf = chunk.indexOf(LF, start);
      if (cr !== -1 && cr < start) cr = chunk.indexOf(CR, start);
    }
    if (start < chunk.length) this.#partial.append(chunk, start, chunk.length);
    return this.#dataBytes + this.#partial.length <= this.#maxEventBytes;
  }

  #takeLine(chunk: Buffer, start: number, end: number): boolean {
    if (this.#partial.length === 0) return this.#line(chunk, start, end);
    this.#partial.append(chunk, start, end);
    const whole = this.#partial.view();
    const withinCap = this.#line(whole, 0, whole.length);
    this.#partial.clear();
    return withinCap;
  }

  #line(bytes: Buffer, from: number, end: number): boolean {
    let start = from;
    if (this.#firstLine) {
      this.#firstLine = false;
      if (bytes[start] === 0xef && bytes[start + 1] === 0xbb && bytes[start + 2] === 0xbf) start += 3;
    }
    if (start === end) this.#dispatch();
    else if (isData(bytes, start, end)) return this.#addData(bytes, start, end);
    else if (bytes[start] !== COLON) return this.#field(bytes, start, end);
    return true;
  }

  #addData(bytes: Buffer, start: number, end: number): boolean {
    this.#dataBytes += end - start + 1;
    if (this.#dataBytes > this.#maxEventBytes) return false;
    const value = bytes.toString('utf8', Math.min(end, start + (bytes[start + 5] === SPACE ? 6 : 5)), end);
    this.#data = this.#data === undefined ? value : `${this.#data}\n${value}`;
    return true;
  }

  #field(bytes: Buffer, start: number, end: number): boolean {
    if (end - start > this.#maxEventBytes) return false;
    const line = bytes.toString('utf8', start, end);
    const colon = line.indexOf(':');
    const name = colon === -1 ? line : line.slice(0, colon);
    const value = colon === -1 ? '' : line.slice(colon + (line[colon + 1] === ' ' ? 2 : 1));
    if (name === 'event') this.#event = value;
    else if (name === 'id' && !value.includes('\0')) this.#id = value;
    else if (name === 'retry' && /^\d{1,15}$/.test(value))
      this.retryMs = Math.min(Number(value), MAX_RETRY_MS);
    return true;
  }

  #dispatch(): void {
    const data = this.#data;
    const event = this.#event;
    if (this.#id !== undefined) this.lastEventId = this.#id;
    this.#id = undefined;
    this.#data = undefined;
    this.#dataBytes = 0;
    this.#event = '';
    if (data) this.#onEvent({ event: event || 'message', data });
  }
}

function isData(bytes: Buffer, start: number, end: number): boolean {
  return (
    bytes[start] === 100 &&
    bytes[start + 1] === 97 &&
    bytes[start + 2] === 116 &&
    bytes[start + 3] === 97 &&
    (end === start + 4 || bytes[start + 4] === COLON)
  );
}

/** One event in wire form. `id` and `event` must hold no line break; `data` may. */
export function encodeSseEvent(event: {
  data: string;
  event?: string;
  id?: string;
  retryMs?: number;
}): string {
  let head = '';
  for (const [name, value] of [
    ['event', event.event],
    ['id', event.id],
  ] as const) {
    if (value === undefined) continue;
    if (/[\r\n\0]/.test(value)) throw new TypeError(`an SSE ${name} cannot hold a line break`);
    head += `${name}: ${value}\n`;
  }
  if (event.retryMs !== undefined) head += `retry: ${Math.trunc(event.retryMs)}\n`;
  const data = /[\r\n]/.test(event.data) ? event.data.split(/\r\n|\r|\n/).join('\ndata: ') : event.data;
  return `${head}data: ${data}\n\n`;
}
