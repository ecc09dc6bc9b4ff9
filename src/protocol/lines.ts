import type { Buffer } from 'node:buffer';
import { GrowingBuffer } from './growing-buffer.ts';

const NEWLINE = 0x0a;
const CARRIAGE_RETURN = 0x0d;

export type LineEvents = {
  /** One line without its end; `bytes` is its length on the wire. Blank lines are not reported. */
  onLine(line: string, bytes: number): void;
  /** A line passed the limit. Called once; whatever comes later is ignored. */
  onOverflow(): void;
};

/** Splits UTF-8 bytes at newlines (the stdio framing of MCP). Holds one unfinished line, never more than `maxBytes`. */
export class LineSplitter {
  readonly #maxBytes: number;
  readonly #events: LineEvents;
  readonly #partial = new GrowingBuffer();
  #overflowed = false;

  constructor(maxBytes: number, events: LineEvents) {
    this.#maxBytes = maxBytes;
    this.#events = events;
  }

  push(chunk: Buffer): void {
    let start = 0;
    while (!this.#overflowed) {
      const end = chunk.indexOf(NEWLINE, start);
      const stop = end < 0 ? chunk.length : end;
      if (this.#partial.length + stop - start > this.#maxBytes) {
        this.#overflow();
        return;
      }
      if (end < 0) {
        if (start < stop) this.#partial.append(chunk, start, stop);
        return;
      }
      if (this.#partial.length === 0) {
        this.#emit(chunk, start, stop);
      } else {
        this.#partial.append(chunk, start, stop);
        const line = this.#partial.view();
        this.#partial.clear();
        this.#emit(line, 0, line.length);
      }
      start = end + 1;
    }
  }

  #emit(bytes: Buffer, start: number, end: number): void {
    const stop = end > start && bytes[end - 1] === CARRIAGE_RETURN ? end - 1 : end;
    if (stop > start) this.#events.onLine(bytes.toString('utf8', start, stop), stop - start);
  }

  #overflow(): void {
    this.#overflowed = true;
    this.#partial.clear();
    this.#events.onOverflow();
  }
}
