/**
 * JSON with comments and trailing commas, as editors write it, made plain JSON of the same length: what JSON does not
 * know becomes blanks, so every offset and line stays true.
 */
export function blankComments(text: string): string {
  const out: string[] = [];
  let comma = -1;
  let at = 0;
  while (at < text.length) {
    const end = tokenEnd(text, at);
    const token = text.slice(at, end);
    const isBlank = /^\s/.test(token) || token.startsWith('//') || token.startsWith('/*');
    if (isBlank) {
      out.push(token.replace(/[^\n\r]/g, ' '));
    } else {
      if (comma >= 0 && (token === '}' || token === ']')) out[comma] = ' ';
      comma = token === ',' ? out.length : -1;
      out.push(token);
    }
    at = end;
  }
  return out.join('');
}

/** Where the comment, text, run of blanks or single character that starts at `at` ends. */
function tokenEnd(text: string, at: number): number {
  const start = text[at];
  if (start === '"') return textEnd(text, at);
  if (text.startsWith('//', at)) return lineEnd(text, at);
  if (text.startsWith('/*', at)) {
    const close = text.indexOf('*/', at + 2);
    return close < 0 ? text.length : close + 2;
  }
  let end = at + 1;
  if (/\s/.test(start!)) while (end < text.length && /\s/.test(text[end]!)) end++;
  return end;
}

function textEnd(text: string, at: number): number {
  let end = at + 1;
  while (end < text.length && text[end] !== '"' && text[end] !== '\n') end += text[end] === '\\' ? 2 : 1;
  return Math.min(end + 1, text.length);
}

function lineEnd(text: string, at: number): number {
  const newline = text.indexOf('\n', at);
  return newline < 0 ? text.length : newline;
}
