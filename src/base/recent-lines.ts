const NEWLINE = 0x0a;
const LINE_BYTES = 4096;

/** Escape sequences first, so that their visible remains go too; then every control and direction-changing character. */
const UNPRINTABLE =
  /\x1b\[[0-9;:?<=>]*[ -/]*[@-~]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)?|[\x00-\x08\x0a-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]/g;

/** Keeps the last lines of a byte stream, each cut at 4 KiB; memory is bounded whatever arrives. */
export class RecentLines {
  readonly #capacity: number;
  /** Raw bytes of the kept lines: a string cut out of a chunk would keep the whole chunk alive. */
  #lines: Buffer[] = [];
  #partial: Buffer = Buffer.alloc(0);

  constructor(capacity = 200) {
    this.#capacity = capacity;
  }

  push(chunk: Buffer): void {
    let end = chunk.indexOf(NEWLINE);
    if (end < 0) {
      this.#partial = this.#extended(chunk);
      return;
    }
    this.#keep(this.#extended(chunk.subarray(0, end)));
    const tail = chunk.lastIndexOf(NEWLINE);
    this.#partial = Buffer.from(chunk.subarray(tail + 1, tail + 1 + LINE_BYTES));
    // A flood costs one search per kept line, however many lines a chunk holds.
    const starts: number[] = [];
    for (let at = tail; at > end && starts.length < this.#capacity; at = starts.at(-1)! - 1) {
      starts.push(chunk.lastIndexOf(NEWLINE, at - 1) + 1);
      if (starts.at(-1) === 0) break;
    }
    for (const start of starts.reverse()) {
      end = chunk.indexOf(NEWLINE, start);
      this.#keep(Buffer.from(chunk.subarray(start, Math.min(end, start + LINE_BYTES))));
    }
  }

  /** Adds one line of our own beside the stream's. */
  note(line: string): void {
    this.#keep(Buffer.from(line.slice(0, LINE_BYTES)));
  }

  /** Oldest first, without control characters; blank lines are left out. An unfinished last line counts. */
  lines(): string[] {
    const all = [...this.#lines, this.#partial].map(printable).filter((line) => line !== '');
    return all.slice(-this.#capacity);
  }

  #extended(piece: Buffer): Buffer {
    return Buffer.concat([this.#partial, piece.subarray(0, LINE_BYTES - this.#partial.length)]);
  }

  #keep(line: Buffer): void {
    this.#lines.push(line);
    if (this.#lines.length >= 2 * this.#capacity) this.#lines = this.#lines.slice(-this.#capacity);
  }
}

/** One line as text that is safe to show on a terminal or in a log. */
export function printable(line: Buffer | string): string {
  return line.toString('utf8').replace(UNPRINTABLE, '').trimEnd();
}
