import { inRanges, PatternError, type PatternNode, parsePattern } from './pattern-syntax.ts';

/** What one decision may still spend, in steps of some ten nanoseconds. */
export type Meter = { left: number };

/** Well below a tenth of a second. */
export const DECISION_STEPS = 2_000_000;

/** A decision would take too long; it counts as one that failed. */
export class OverBudget extends Error {}

type Instruction =
  | Extract<PatternNode, { type: 'chars' | 'assert' }>
  | { type: 'split'; to: number; other: number }
  | { type: 'match' };

const MAX_INSTRUCTIONS = 2_000;
const ASCII = 128;
const CHARS = 0;
const SPLIT = 1;
const ASSERT = 2;
const MATCH = 3;

/**
 * A regular expression as CEL's `matches` wants it: searched for anywhere in the text, and it only says whether it is
 * there. All alternatives advance side by side, one character at a time, so that the work is at most the length of the
 * text times that of the pattern, and no text makes it slow.
 */
export class Pattern {
  readonly #program: readonly Instruction[];
  /** The program once more, in arrays that are quick to read. */
  readonly #ops: Uint8Array;
  readonly #to: Uint16Array;
  readonly #other: Uint16Array;
  /** For each place that reads: which of the first 128 characters it takes. */
  readonly #ascii: readonly (Uint8Array | undefined)[];
  readonly #stack: Uint16Array;
  #current: Places;
  #next: Places;

  /** @throws PatternError saying what is not understood */
  constructor(source: string) {
    const program = compile(parsePattern(source));
    this.#program = program;
    this.#ops = Uint8Array.from(program, opOf);
    this.#to = Uint16Array.from(program, (one) => (one.type === 'split' ? one.to : 0));
    this.#other = Uint16Array.from(program, (one) => (one.type === 'split' ? one.other : 0));
    this.#ascii = program.map((one) => (one.type === 'chars' ? asciiOf(one) : undefined));
    // Every place is added once and pushes two at most.
    this.#stack = new Uint16Array(2 * program.length + 2);
    this.#current = new Places(program.length);
    this.#next = new Places(program.length);
  }

  /** @throws OverBudget */
  matches(text: string, meter: Meter): boolean {
    this.#current.clear();
    let before = -1;
    let at = 0;
    let char = charAt(text, at);
    for (;;) {
      // A match may begin here as well as anywhere before.
      if (this.#reach(this.#current, 0, before, char, meter)) return true;
      if (char < 0) return false;
      if (meter.left < 0) throw new OverBudget('the text is too long for its pattern');
      at += char > 0xffff ? 2 : 1;
      const coming = charAt(text, at);
      if (this.#advance(char, coming, meter)) return true;
      const swapped = this.#current;
      this.#current = this.#next;
      this.#next = swapped;
      before = char;
      char = coming;
    }
  }

  /** From all current places over `char` to the next ones. */
  #advance(char: number, coming: number, meter: Meter): boolean {
    const current = this.#current;
    const next = this.#next;
    const ascii = this.#ascii;
    next.size = 0;
    for (let index = 0; index < current.size; index += 1) {
      const place = current.dense[index]!;
      const table = ascii[place];
      if (table === undefined) continue;
      const taken = char < ASCII ? table[char] === 1 : accepts(this.#program[place]!, char);
      if (taken && this.#reach(next, place + 1, char, coming, meter)) return true;
    }
    meter.left -= current.size;
    return false;
  }

  /** Adds every place that is reached from `start` without reading; true when one of them is the end. */
  #reach(places: Places, start: number, before: number, after: number, meter: Meter): boolean {
    const stack = this.#stack;
    const ops = this.#ops;
    let depth = 1;
    let steps = 0;
    stack[0] = start;
    while (depth > 0) {
      depth -= 1;
      const place = stack[depth]!;
      steps += 1;
      if (!places.add(place)) continue;
      const op = ops[place];
      if (op === CHARS) continue;
      if (op === MATCH) return true;
      if (op === SPLIT) {
        stack[depth] = this.#other[place]!;
        stack[depth + 1] = this.#to[place]!;
        depth += 2;
      } else if (holds(this.#program[place]!, before, after)) {
        stack[depth] = place + 1;
        depth += 1;
      }
    }
    meter.left -= steps;
    return false;
  }
}

export { PatternError };

/** A set of places in the program, in the order of adding; cleared at once. */
class Places {
  readonly dense: Uint16Array;
  readonly sparse: Uint16Array;
  size = 0;

  constructor(capacity: number) {
    this.dense = new Uint16Array(capacity);
    this.sparse = new Uint16Array(capacity);
  }

  clear(): void {
    this.size = 0;
  }

  /** False when it is in there already. */
  add(place: number): boolean {
    const index = this.sparse[place]!;
    if (index < this.size && this.dense[index] === place) return false;
    this.dense[this.size] = place;
    this.sparse[place] = this.size;
    this.size += 1;
    return true;
  }
}

function compile(root: PatternNode): Instruction[] {
  const program: Instruction[] = [];
  const emit = (instruction: Instruction): number => {
    if (program.length >= MAX_INSTRUCTIONS) throw new PatternError('it repeats too much');
    return program.push(instruction) - 1;
  };
  /** A fork whose ends are set when they are known. */
  const fork = (): { to: number; other: number } => {
    const split = { type: 'split' as const, to: 0, other: 0 };
    emit(split);
    return split;
  };
  const place = (node: PatternNode): void => {
    switch (node.type) {
      case 'sequence':
        node.parts.forEach(place);
        break;
      case 'either':
        placeEither(node.parts);
        break;
      case 'repeat':
        placeRepeat(node.part, node.min, node.max);
        break;
      default:
        emit(node);
    }
  };
  const placeEither = (parts: readonly PatternNode[]): void => {
    const ends: { to: number; other: number }[] = [];
    for (const [index, part] of parts.entries()) {
      const split = index < parts.length - 1 ? fork() : undefined;
      if (split) split.to = program.length;
      place(part);
      if (!split) break;
      ends.push(fork());
      split.other = program.length;
    }
    for (const end of ends) end.to = end.other = program.length;
  };
  const placeRepeat = (part: PatternNode, min: number, max: number): void => {
    for (let count = 0; count < min; count += 1) place(part);
    const optional: { to: number; other: number }[] = [];
    const bounded = max !== Number.POSITIVE_INFINITY;
    for (let count = min; count < (bounded ? max : min + 1); count += 1) {
      const start = program.length;
      const split = fork();
      split.to = program.length;
      place(part);
      if (!bounded) {
        const back = fork();
        back.to = back.other = start;
      }
      optional.push(split);
    }
    for (const split of optional) split.other = program.length;
  };
  place(root);
  program.push({ type: 'match' });
  return program;
}

function opOf({ type }: Instruction): number {
  if (type === 'chars') return CHARS;
  if (type === 'split') return SPLIT;
  return type === 'assert' ? ASSERT : MATCH;
}

function asciiOf(instruction: Instruction): Uint8Array {
  return Uint8Array.from({ length: ASCII }, (_, char) => Number(accepts(instruction, char)));
}

function accepts(instruction: Instruction, char: number): boolean {
  if (instruction.type !== 'chars') return false;
  const { ranges, negated, ignoreCase } = instruction;
  const found =
    inRanges(ranges, char) || (ignoreCase && otherCases(char).some((one) => inRanges(ranges, one)));
  return found !== negated;
}

function holds(instruction: Instruction, before: number, after: number): boolean {
  return instruction.type === 'assert' && instruction.holds(before, after);
}

function otherCases(char: number): number[] {
  const text = String.fromCodePoint(char);
  return [text.toLowerCase(), text.toUpperCase()].map((one) => one.codePointAt(0)!);
}

function charAt(text: string, at: number): number {
  const unit = text.charCodeAt(at);
  if (unit < 0xd800 || unit > 0xdfff) return unit;
  return text.codePointAt(at) ?? -1;
}
