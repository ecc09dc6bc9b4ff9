/** A resource template that can tell whether a URI may be one of its own (RFC 6570, matching side). */
export type UriTemplate = { readonly text: string; matches(uri: string): boolean };

const MAX_LENGTH = 2_048;

/**
 * Literal parts must appear in order; an expression stands for any run of characters, without `/` unless it is a
 * reserved, fragment or path expression. Undefined for a template that is malformed or too long.
 */
export function uriTemplate(text: string): UriTemplate | undefined {
  if (text.length > MAX_LENGTH) return undefined;
  const parts = partsOf(text);
  return parts && { text, matches: (uri) => uri.length <= 4 * MAX_LENGTH && matchesParts(parts, uri) };
}

type Part = { literal: string } | { wildcard: 'segment' | 'any' };

function partsOf(text: string): Part[] | undefined {
  const parts: Part[] = [];
  let at = 0;
  while (at < text.length) {
    const open = text.indexOf('{', at);
    const literal = text.slice(at, open < 0 ? text.length : open);
    if (literal.includes('}')) return undefined;
    if (literal) parts.push({ literal });
    if (open < 0) return parts;
    const close = text.indexOf('}', open);
    const body = text.slice(open + 1, close);
    if (close < 0 || body === '' || body.includes('{')) return undefined;
    const crosses = '+#/?&;'.includes(body[0]!) || body.includes('*') || body.includes(',');
    parts.push({ wildcard: crosses ? 'any' : 'segment' });
    at = close + 1;
  }
  return parts;
}

/** Keeps the set of positions that the parts so far can have reached: linear in parts × text, no backtracking. */
function matchesParts(parts: readonly Part[], uri: string): boolean {
  let reached = new Set<number>([0]);
  for (const part of parts) {
    const next = new Set<number>();
    if ('literal' in part) {
      for (const at of reached) if (uri.startsWith(part.literal, at)) next.add(at + part.literal.length);
    } else {
      const from = Math.min(...reached);
      for (let at = from, open = false; at <= uri.length; at += 1) {
        if (reached.has(at)) open = true;
        if (open) next.add(at);
        if (part.wildcard === 'segment' && uri[at] === '/') open = false;
      }
    }
    if (next.size === 0) return false;
    reached = next;
  }
  return reached.has(uri.length);
}
