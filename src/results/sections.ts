const LINE_BREAK = 0x0a;
const SPACE = 0x20;
const COMMA = 0x2c;

/**
 * Cuts a text into parts of at most `maxBytes` bytes of UTF-8 that make the text again when put together. Each ends
 * after a line where one ends in its second half, else after a space or a comma near its end, and never within a
 * character.
 */
export function sectionsOf(text: string, maxBytes: number): string[] {
  const bytes = Buffer.from(text, 'utf8');
  const sections: string[] = [];
  let start = 0;
  while (start < bytes.length) {
    const end = endOf(bytes, start, maxBytes);
    sections.push(bytes.toString('utf8', start, end));
    start = end;
  }
  return sections;
}

function endOf(bytes: Buffer, start: number, maxBytes: number): number {
  if (bytes.length - start <= maxBytes) return bytes.length;
  let end = start + maxBytes;
  // Looked for in this part alone: a text without line breaks would be searched from its beginning for each.
  const half = start + Math.floor(maxBytes / 2);
  const line = bytes.subarray(half, end).lastIndexOf(LINE_BREAK);
  if (line >= 0) return half + line + 1;
  const near = start + Math.floor(maxBytes * 0.9);
  const last = bytes.subarray(near, end);
  const gap = Math.max(last.lastIndexOf(SPACE), last.lastIndexOf(COMMA));
  if (gap >= 0) return near + gap + 1;
  // All bytes of a character but its first are 10xxxxxx (RFC 3629).
  while ((bytes[end]! & 0xc0) === 0x80) end -= 1;
  return end;
}
