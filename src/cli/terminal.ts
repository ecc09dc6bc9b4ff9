import { styleText } from 'node:util';

type Style = Parameters<typeof styleText>[0];
type OutStream = NodeJS.WriteStream;

/** Escape sequences (CSI, OSC, DCS and the like, two-character ones) with all they carry, up to their terminator. */
const SEQUENCES =
  /(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]?|(?:\x1b[\]PX^_]|[\x90\x98\x9d-\x9f])[^\x07\x1b\x9c]{0,4096}(?:\x07|\x1b\\|\x9c)?|\x1b[ -/]*[0-~]?/g;
/** Other controls but tab and newline, and the marks that reorder text on the screen. */
const CONTROLS = /[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]/g;

/** Text that cannot move the cursor, retitle the window or lie about its order. Keeps newlines and tabs. */
export function cleanForTerminal(text: string): string {
  return text.replaceAll('\r\n', '\n').replace(SEQUENCES, '').replace(CONTROLS, '');
}

/** The same on one line: for a table's cell or a message that quotes a stranger. */
export function cleanLine(text: string, maxLength = 500): string {
  const line = cleanForTerminal(text).replace(/\s+/g, ' ').trim();
  return line.length > maxLength ? `${line.slice(0, maxLength - 1)}…` : line;
}

/** Data goes to stdout, everything said about it to stderr. */
export class Terminal {
  readonly #out: OutStream;
  readonly #err: OutStream;

  constructor(out: OutStream = process.stdout, err: OutStream = process.stderr) {
    this.#out = out;
    this.#err = err;
  }

  /** Prints data: untouched into a pipe or a file, cleaned on a terminal. Adds the final newline if it is missing. */
  data(text: string): void {
    const shown = this.#out.isTTY ? cleanForTerminal(text) : text;
    this.#out.write(shown.endsWith('\n') ? shown : `${shown}\n`);
  }

  /** Prints a line of our own that may quote strangers: cleaned wherever it goes. */
  line(text: string): void {
    this.#out.write(`${cleanForTerminal(text)}\n`);
  }

  /** Says something on stderr. */
  note(text: string): void {
    this.#err.write(`${cleanForTerminal(text)}\n`);
  }

  /** Says something that only a person who sits there wants to know. */
  hint(text: string): void {
    if (this.#err.isTTY) this.note(text);
  }

  warn(text: string): void {
    this.#err.write(`${this.styledError('yellow', 'warning:')} ${cleanForTerminal(text)}\n`);
  }

  /** Styles text for stdout; plain under NO_COLOR and into a pipe. Clean the text first. */
  styled(style: Style, text: string): string {
    return styleText(style, text, { stream: this.#out });
  }

  error(text: string): void {
    this.#err.write(`${this.styledError('red', 'error:')} ${cleanForTerminal(text)}\n`);
  }

  styledError(style: Style, text: string): string {
    return styleText(style, text, { stream: this.#err });
  }

  /** Prints lines that are styled already; whoever styles them cleaned what they quote. */
  styledLine(text: string): void {
    this.#out.write(`${text}\n`);
  }

  get width(): number | undefined {
    return this.#out.isTTY ? this.#out.columns : undefined;
  }
}
