import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { GrowingBuffer } from './growing-buffer.ts';

test('holds what was appended, in order, and forgets it when cleared', () => {
  fc.assert(
    fc.property(fc.array(fc.uint8Array({ maxLength: 9000 }), { maxLength: 12 }), (chunks) => {
      const buffer = new GrowingBuffer();
      buffer.append(Buffer.alloc(70_000));
      buffer.clear();
      for (const chunk of chunks) buffer.append(Buffer.from(chunk));
      assert.deepEqual(buffer.view(), Buffer.concat(chunks));
      assert.equal(buffer.length, buffer.view().length);
    }),
  );
});

test('takes a part of a chunk', () => {
  const buffer = new GrowingBuffer();
  buffer.append(Buffer.from('abcdef'), 2, 4);
  assert.equal(buffer.view().toString(), 'cd');
});
