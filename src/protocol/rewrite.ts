import { endOfString } from './body-scan.ts';
import type { JsonObject } from './jsonrpc.ts';
import type { Written } from './model.ts';

const QUOTE = 34;
const COMMA = 44;
const OPEN_BRACE = 123;
const CLOSE_BRACE = 125;
const OPEN_BRACKET = 91;
const CLOSE_BRACKET = 93;
const SPACE = 32;

/**
 * The text of `wanted`, an object that was made from the one in `written`: members that are the same value in both are
 * copied as they were written, numbers that JavaScript cannot hold included; only the others are serialised.
 */
export function rewrite({ text, result }: Written, wanted: JsonObject): string {
  let out = '';
  let known = 0;
  let at = afterSpace(text, 1);
  while (text.charCodeAt(at) === QUOTE) {
    const endOfName = endOfString(text, at) + 1;
    const name = nameIn(text.slice(at + 1, endOfName - 1));
    const start = afterSpace(text, afterSpace(text, endOfName) + 1);
    const end = endOfValue(text, start);
    known += 1;
    // Read otherwise than alone: what stands under it is not what was judged.
    if (!Object.hasOwn(result, name)) return JSON.stringify(wanted);
    if (Object.hasOwn(wanted, name)) {
      const value = wanted[name];
      if (value === result[name]) out += `,${text.slice(at, endOfName)}:${text.slice(start, end)}`;
      else out += member(name, value);
    }
    at = afterSpace(text, end);
    if (text.charCodeAt(at) === COMMA) at = afterSpace(text, at + 1);
  }
  // A name came twice: which of the two is copied could be another than the one that was read.
  if (known !== Object.keys(result).length) return JSON.stringify(wanted);
  for (const name of Object.keys(wanted)) if (!Object.hasOwn(result, name)) out += member(name, wanted[name]);
  return `{${out.slice(1)}}`;
}

function nameIn(written: string): string {
  return written.includes('\\') ? (JSON.parse(`"${written}"`) as string) : written;
}

function member(name: string, value: unknown): string {
  return value === undefined ? '' : `,${JSON.stringify(name)}:${JSON.stringify(value)}`;
}

/** Index after the value that begins at `start`, in a text that is JSON. */
function endOfValue(text: string, start: number): number {
  let depth = 0;
  for (let at = start; at < text.length; at += 1) {
    const code = text.charCodeAt(at);
    if (code === QUOTE) at = endOfString(text, at);
    else if (code === OPEN_BRACE || code === OPEN_BRACKET) {
      depth += 1;
      continue;
    } else if (code === CLOSE_BRACE || code === CLOSE_BRACKET) {
      if (depth === 0) return at;
      depth -= 1;
    } else if (depth > 0 || (code !== COMMA && code > SPACE)) continue;
    else return at;
    if (depth === 0) return at + 1;
  }
  return text.length;
}

/** Index of the first character from `at` on that is no white space. */
function afterSpace(text: string, at: number): number {
  let next = at;
  while (text.charCodeAt(next) <= SPACE) next += 1;
  return next;
}
