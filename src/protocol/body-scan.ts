/** Limits on a JSON text that JSON.parse itself does not have. */
export type ScanFault = 'too_deep' | 'duplicate_key';

const QUOTE = 34;
const BACKSLASH = 92;
const OPEN_BRACE = 123;
const CLOSE_BRACE = 125;
const OPEN_BRACKET = 91;
const CLOSE_BRACKET = 93;
const COMMA = 44;
const COLON = 58;

/**
 * Finds nesting deeper than `maxDepth` and objects that name a key twice: two parsers may read such a text
 * differently, so nobody can say what was asked. Linear in the text; judges only texts that JSON.parse accepts.
 */
export function scanJson(text: string, maxDepth: number): ScanFault | undefined {
  // One entry per open bracket: the keys seen so far for an object, undefined for an array.
  const open: (KeySet | undefined)[] = [];
  let keys: KeySet | undefined;
  let expectKey = false;
  for (let at = 0; at < text.length; at += 1) {
    const code = text.charCodeAt(at);
    if (code === QUOTE) {
      const end = endOfString(text, at);
      if (expectKey && keys && !keys.add(keyAt(text, at, end))) return 'duplicate_key';
      expectKey = false;
      at = end;
    } else if (code === OPEN_BRACE || code === OPEN_BRACKET) {
      if (open.length >= maxDepth) return 'too_deep';
      expectKey = code === OPEN_BRACE;
      keys = expectKey ? new KeySet() : undefined;
      open.push(keys);
    } else if (code === CLOSE_BRACE || code === CLOSE_BRACKET) {
      open.pop();
      keys = open[open.length - 1];
      expectKey = false;
    } else if (code === COMMA) {
      expectKey = keys !== undefined;
    } else if (code === COLON) {
      expectKey = false;
    }
  }
  return undefined;
}

/** Index of the closing quote; jumps from quote to quote, so long strings cost a native search. */
function endOfString(text: string, start: number): number {
  let end = start;
  for (;;) {
    end = text.indexOf('"', end + 1);
    if (end < 0) return text.length;
    let slashes = 0;
    while (text.charCodeAt(end - 1 - slashes) === BACKSLASH) slashes += 1;
    if (slashes % 2 === 0) return end;
  }
}

function keyAt(text: string, start: number, end: number): string {
  const raw = text.slice(start + 1, end);
  // An escaped spelling of a key is the same key.
  return raw.includes('\\') ? (JSON.parse(`"${raw}"`) as string) : raw;
}

/** Most objects have a handful of keys, where a scan of an array beats hashing. */
class KeySet {
  private few: string[] | undefined = [];
  private many: Set<string> | undefined;

  add(key: string): boolean {
    if (this.many) {
      if (this.many.has(key)) return false;
      this.many.add(key);
      return true;
    }
    const few = this.few!;
    if (few.includes(key)) return false;
    few.push(key);
    if (few.length > 12) {
      this.many = new Set(few);
      this.few = undefined;
    }
    return true;
  }
}
