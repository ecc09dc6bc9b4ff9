import { Buffer } from 'node:buffer';

const FIRST_CAPACITY = 4 * 1024;
const KEPT_CAPACITY = 64 * 1024;

/**
 * Bytes collected from many chunks, copied once each. Keeping the chunks themselves would let a peer that sends single
 * bytes cost a hundred times what it sends. The owner bounds `length`.
 */
export class GrowingBuffer {
  length = 0;
  #bytes: Buffer = Buffer.alloc(0);

  append(chunk: Buffer, start = 0, end = chunk.length): void {
    const needed = this.length + end - start;
    if (needed > this.#bytes.length) {
      const grown = Buffer.allocUnsafe(Math.max(FIRST_CAPACITY, needed, this.#bytes.length * 2));
      this.#bytes.copy(grown, 0, 0, this.length);
      this.#bytes = grown;
    }
    chunk.copy(this.#bytes, this.length, start, end);
    this.length = needed;
  }

  /** The collected bytes, valid until the next append or clear. */
  view(): Buffer {
    return this.#bytes.subarray(0, this.length);
  }

  clear(): void {
    this.length = 0;
    if (this.#bytes.length > KEPT_CAPACITY) this.#bytes = Buffer.alloc(0);
  }
}
