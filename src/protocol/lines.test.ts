import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { LineSplitter } from './lines.ts';

function split(chunks: Buffer[], maxBytes = 1000) {
  const lines: string[] = [];
  let overflows = 0;
  const splitter = new LineSplitter(maxBytes, {
    onLine: (line, bytes) => {
      assert.equal(bytes, Buffer.byteLength(line));
      lines.push(line);
    },
    onOverflow: () => {
      overflows += 1;
    },
  });
  for (const chunk of chunks) splitter.push(chunk);
  return { lines, overflows };
}

/** Cuts bytes at the given places, as a pipe may. */
function cut(bytes: Buffer, places: number[]): Buffer[] {
  const at = [...new Set(places.map((place) => place % (bytes.length + 1)))].sort((a, b) => a - b);
  return [...at, bytes.length].map((end, index) => bytes.subarray(at[index - 1] ?? 0, end));
}

describe('lines', () => {
  it('are the same however the bytes are cut', () => {
    const line = fc.string({ unit: 'grapheme', maxLength: 40 }).map((text) => text.replace(/[\r\n]/g, ''));
    fc.assert(
      fc.property(fc.array(line), fc.array(fc.nat()), (texts, places) => {
        const bytes = Buffer.from(texts.map((text) => `${text}\n`).join(''));
        assert.deepEqual(
          split(cut(bytes, places)).lines,
          texts.filter((text) => text !== ''),
        );
      }),
    );
  });

  it('end at LF or CRLF alone: U+2028 and a lone CR belong to the line', () => {
    assert.deepEqual(split([Buffer.from('a\r\nb\u2028c\rd\n\r\n\nunfinished')]).lines, ['a', 'b\u2028c\rd']);
  });

  it('may be exactly as long as the limit; one byte more is reported once and ends the reading', () => {
    const fits = 'x'.repeat(1000);
    assert.deepEqual(split([Buffer.from(`${fits}\n`)]), { lines: [fits], overflows: 0 });
    for (const places of [[], [10, 999, 1000], [1000, 1001]]) {
      const { lines, overflows } = split(cut(Buffer.from(`ok\n${fits}y\nlater\n`), places));
      assert.deepEqual({ lines, overflows }, { lines: ['ok'], overflows: 1 });
    }
  });

  it('that come byte by byte cost linear time', () => {
    const start = performance.now();
    const bytes = Buffer.from(`${'x'.repeat(2_000_000)}\n`);
    const chunks = Array.from(bytes, (_, index) => bytes.subarray(index, index + 1));
    assert.equal(split(chunks, 3_000_000).lines[0]?.length, 2_000_000);
    assert.ok(performance.now() - start < 5000);
  });
});
