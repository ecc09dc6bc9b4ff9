/** Cuts a byte stream into lines; splits on the byte, so a character cut between two chunks stays whole. */
export class LineSplitter {
  #rest: Buffer[] = [];

  /** The complete lines that end in this chunk, without their newline. */
  push(chunk: Buffer): string[] {
    const lines: string[] = [];
    let start = 0;
    for (;;) {
      const end = chunk.indexOf(10, start);
      if (end === -1) break;
      const piece = chunk.subarray(start, end);
      lines.push(
        this.#rest.length === 0 ? piece.toString() : Buffer.concat([...this.#rest, piece]).toString(),
      );
      this.#rest = [];
      start = end + 1;
    }
    if (start < chunk.length) this.#rest.push(chunk.subarray(start));
    return lines;
  }
}
