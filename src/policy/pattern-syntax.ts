/** Sorted or not, (low, high, low, high, …), both ends included. */
export type Ranges = readonly number[];

export type PatternNode =
  | { type: 'chars'; ranges: Ranges; negated: boolean; ignoreCase: boolean }
  /** Holds between two characters, -1 beyond either end of the text. */
  | { type: 'assert'; holds: (before: number, after: number) => boolean }
  | { type: 'sequence'; parts: readonly PatternNode[] }
  | { type: 'either'; parts: readonly PatternNode[] }
  | { type: 'repeat'; part: PatternNode; min: number; max: number };

/** What is wrong with a pattern, as the end of a sentence. */
export class PatternError extends Error {}

type Flags = { ignoreCase: boolean; dotAll: boolean; multiline: boolean };

const MAX_DEPTH = 50;
const MAX_REPEAT = 1_000;
const NEWLINE = 10;
const LAST = 0x10ffff;
const WORD: Ranges = [48, 57, 65, 90, 95, 95, 97, 122];

const CLASSES: Readonly<Record<string, Ranges>> = {
  d: [48, 57],
  D: [0, 47, 58, LAST],
  w: WORD,
  W: [0, 47, 58, 64, 91, 94, 96, 96, 123, LAST],
  s: [9, 10, 12, 13, 32, 32],
  S: [0, 8, 11, 11, 14, 31, 33, LAST],
};
const CONTROLS: Readonly<Record<string, number>> = { n: 10, t: 9, r: 13, f: 12, v: 11, a: 7 };

const isWord = (char: number) => char >= 0 && inRanges(WORD, char);
const textStart = (before: number) => before < 0;
const textEnd = (_: number, after: number) => after < 0;
const lineStart = (before: number) => before < 0 || before === NEWLINE;
const lineEnd = (_: number, after: number) => after < 0 || after === NEWLINE;
const boundary = (before: number, after: number) => isWord(before) !== isWord(after);
const noBoundary = (before: number, after: number) => isWord(before) === isWord(after);

const ASSERTIONS: Readonly<Record<string, (before: number, after: number) => boolean>> = {
  A: textStart,
  z: textEnd,
  b: boundary,
  B: noBoundary,
};

export function inRanges(ranges: Ranges, char: number): boolean {
  for (let index = 0; index < ranges.length; index += 2) {
    if (char >= ranges[index]! && char <= ranges[index + 1]!) return true;
  }
  return false;
}

/** Reads a pattern in the syntax of RE2, without Unicode and POSIX classes. @throws PatternError */
export function parsePattern(source: string): PatternNode {
  const reader = new PatternReader(source);
  return reader.whole();
}

class PatternReader {
  readonly #source: string;
  #at = 0;
  #depth = 0;

  constructor(source: string) {
    this.#source = source;
  }

  whole(): PatternNode {
    const node = this.#either({ ignoreCase: false, dotAll: false, multiline: false });
    if (this.#at < this.#source.length) throw new PatternError('a ")" closes nothing');
    return node;
  }

  #either(flags: Flags): PatternNode {
    this.#depth += 1;
    if (this.#depth > MAX_DEPTH) throw new PatternError(`groups are nested more than ${MAX_DEPTH} deep`);
    const parts = [this.#sequence(flags)];
    while (this.#take('|')) parts.push(this.#sequence(flags));
    this.#depth -= 1;
    return parts.length === 1 ? parts[0]! : { type: 'either', parts };
  }

  #sequence(given: Flags): PatternNode {
    let flags = given;
    const parts: PatternNode[] = [];
    while (this.#at < this.#source.length && !'|)'.includes(this.#source[this.#at]!)) {
      // `(?i)` holds from here to the end of the group.
      const set = this.#eat(/\(\?(?!\))([ims]*)(?:-([ims]+))?\)/y);
      if (set) flags = withFlags(flags, set[1], set[2]);
      else parts.push(this.#repeated(flags));
    }
    return { type: 'sequence', parts };
  }

  #repeated(flags: Flags): PatternNode {
    const part = this.#atom(flags);
    const times = this.#quantifier();
    if (!times) return part;
    // Lazy or greedy: whether there is a match is the same.
    this.#take('?');
    if (this.#quantifier()) throw new PatternError('one repetition follows another');
    return { type: 'repeat', part, ...times };
  }

  #quantifier(): { min: number; max: number } | undefined {
    const max = Number.POSITIVE_INFINITY;
    if (this.#take('*')) return { min: 0, max };
    if (this.#take('+')) return { min: 1, max };
    if (this.#take('?')) return { min: 0, max: 1 };
    // A brace that counts nothing stands for itself.
    const counted = this.#eat(/\{(\d{1,5})(,?)(\d{0,5})\}/y);
    if (!counted) return undefined;
    const [text, least, comma, most] = counted;
    const fewest = Number(least);
    const limit = comma === '' ? fewest : most === '' ? max : Number(most);
    const tooLarge = fewest > MAX_REPEAT || (limit > MAX_REPEAT && limit !== max);
    if (tooLarge || limit < fewest) throw new PatternError(`${text} is no repetition up to ${MAX_REPEAT}`);
    return { min: fewest, max: limit };
  }

  #atom(flags: Flags): PatternNode {
    const { ignoreCase } = flags;
    const char = this.#next();
    switch (char) {
      case '(':
        return this.#group(flags);
      case '[':
        return this.#set(ignoreCase);
      case '.':
        return {
          type: 'chars',
          ranges: flags.dotAll ? [] : [NEWLINE, NEWLINE],
          negated: true,
          ignoreCase: false,
        };
      case '^':
        return { type: 'assert', holds: flags.multiline ? lineStart : textStart };
      case '$':
        return { type: 'assert', holds: flags.multiline ? lineEnd : textEnd };
      case '\\':
        return this.#escaped(ignoreCase);
      case '*':
      case '+':
      case '?':
        throw new PatternError(`"${char}" repeats nothing`);
      default:
        return oneChar(char.codePointAt(0)!, ignoreCase);
    }
  }

  #group(flags: Flags): PatternNode {
    let inner = flags;
    if (this.#take('?')) {
      const kind = this.#eat(/(?:([ims]*)(?:-([ims]+))?:|P?<[A-Za-z_]\w{0,60}>)/y);
      if (!kind)
        throw new PatternError('look-around, back-references and other uses of "(?" are not available');
      inner = withFlags(flags, kind[1], kind[2]);
    }
    const node = this.#either(inner);
    if (!this.#take(')')) throw new PatternError('a "(" is not closed');
    return node;
  }

  #escaped(ignoreCase: boolean): PatternNode {
    const char = this.#next();
    const holds = ASSERTIONS[char];
    if (holds) return { type: 'assert', holds };
    const ranges = CLASSES[char];
    if (ranges) return { type: 'chars', ranges, negated: false, ignoreCase: false };
    return oneChar(this.#escapedChar(char), ignoreCase);
  }

  #escapedChar(char: string): number {
    const control = CONTROLS[char];
    if (control !== undefined) return control;
    if (char === 'x') {
      const digits = this.#eat(/(?:([0-9a-fA-F]{2})|\{([0-9a-fA-F]{1,6})\})/y);
      const code = Number.parseInt(digits?.[1] ?? digits?.[2] ?? '', 16);
      if (!(code <= LAST)) throw new PatternError('"\\x" has no hexadecimal code after it');
      return code;
    }
    if (/^[A-Za-z0-9]$/.test(char)) throw new PatternError(`"\\${char}" is not available`);
    return char.codePointAt(0)!;
  }

  /** The rest of `[…]`. */
  #set(ignoreCase: boolean): PatternNode {
    const negated = this.#take('^');
    const ranges: number[] = [];
    for (let first = true; first || this.#source[this.#at] !== ']'; first = false) {
      const low = this.#setItem();
      if (typeof low !== 'number') {
        ranges.push(...low);
        continue;
      }
      const isRange = this.#source[this.#at] === '-' && this.#source[this.#at + 1] !== ']' && this.#take('-');
      const high = isRange ? this.#setItem() : low;
      if (typeof high !== 'number' || high < low)
        throw new PatternError('a range in "[…]" ends before it begins');
      ranges.push(low, high);
    }
    this.#at += 1;
    return { type: 'chars', ranges, negated, ignoreCase };
  }

  #setItem(): number | Ranges {
    const char = this.#next();
    if (char === '[' && this.#source[this.#at] === ':') throw new PatternError('"[:…:]" is not available');
    if (char !== '\\') return char.codePointAt(0)!;
    const escaped = this.#next();
    return CLASSES[escaped] ?? this.#escapedChar(escaped);
  }

  #next(): string {
    const code = this.#source.codePointAt(this.#at);
    if (code === undefined) throw new PatternError('it ends too early');
    const char = String.fromCodePoint(code);
    this.#at += char.length;
    return char;
  }

  #take(char: string): boolean {
    if (this.#source[this.#at] !== char) return false;
    this.#at += 1;
    return true;
  }

  #eat(sticky: RegExp): RegExpExecArray | undefined {
    sticky.lastIndex = this.#at;
    const found = sticky.exec(this.#source) ?? undefined;
    if (found) this.#at += found[0].length;
    return found;
  }
}

function withFlags(flags: Flags, on = '', off = ''): Flags {
  const set = (letter: string, now: boolean) => (now || on.includes(letter)) && !off.includes(letter);
  return {
    ignoreCase: set('i', flags.ignoreCase),
    dotAll: set('s', flags.dotAll),
    multiline: set('m', flags.multiline),
  };
}

function oneChar(char: number, ignoreCase: boolean): PatternNode {
  return { type: 'chars', ranges: [char, char], negated: false, ignoreCase };
}
