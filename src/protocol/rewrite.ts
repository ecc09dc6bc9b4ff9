import { COMMA, endOfString, endOfValue, QUOTE, SPACE } from './body-scan.ts';
import type { JsonObject } from './jsonrpc.ts';
import type { Written } from './model.ts';

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

/** Index of the first character from `at` on that is no white space. */
function afterSpace(text: string, at: number): number {
  let next = at;
  while (text.charCodeAt(next) <= SPACE) next += 1;
  return next;
}
