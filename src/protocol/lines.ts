const NEWLINE = 0x0a;
const CARRIAGE_RETURN = 0x0d;
const KEPT_CAPACITY = 64 * 1024;

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
  #partial: Buffer = Buffer.alloc(0);
  #length = 0;
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
      if (this.#length + stop - start > this.#maxBytes) {
        this.#overflow();
        return;
      }
      if (end < 0) {
        if (start < stop) this.#append(chunk, start, stop);
        return;
      }
      if (this.#length === 0) {
        this.#emit(chunk, start, stop);
      } else {
        this.#append(chunk, start, stop);
        this.#emitPartial();
      }
      start = end + 1;
    }
  }

  #emitPartial(): void {
    const line = this.#partial;
    const length = this.#length;
    this.#length = 0;
    if (line.length > KEPT_CAPACITY) this.#partial = Buffer.alloc(0);
    this.#emit(line, 0, length);
  }

  #emit(bytes: Buffer, start: number, end: number): void {
    const stop = end > start && bytes[end - 1] === CARRIAGE_RETURN ? end - 1 : end;
    if (stop > start) this.#events.onLine(bytes.toString('utf8', start, stop), stop - start);
  }

  /** Doubles its room, so that a line that comes byte by byte costs linear time and no object per piece. */
  #append(chunk: Buffer, start: number, end: number): void {
    const needed = this.#length + end - start;
    if (needed > this.#partial.length) {
      const grown = Buffer.allocUnsafe(
        Math.min(Math.max(needed * 2, 4096), Math.max(this.#maxBytes, needed)),
      );
      this.#partial.copy(grown, 0, 0, this.#length);
      this.#partial = grown;
    }
    chunk.copy(this.#partial, this.#length, start, end);
    this.#length = needed;
  }

  #overflow(): void {
    this.#overflowed = true;
    this.#partial = Buffer.alloc(0);
    this.#length = 0;
    this.#events.onOverflow();
  }
}
