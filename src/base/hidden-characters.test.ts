import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { hiddenIn, textParts, withHiddenShown, withoutHidden } from './hidden-characters.ts';

describe('characters that nobody sees', () => {
  it('are shown by their number: reordering, zero-width, control, and spaces that are none', () => {
    for (const code of [
      0x202e, 0x2066, 0x200b, 0x200d, 0xfeff, 0x0, 0x1b, 0x7f, 0xad, 0xa0, 0x2003, 0x3164, 0x2028, 0xe0041,
      0xfe0f,
    ])
      assert.deepEqual(textParts(`a${String.fromCodePoint(code)}b`), [
        { text: 'a' },
        { hidden: `U+${code.toString(16).toUpperCase().padStart(4, '0')}` },
        { text: 'b' },
      ]);
    assert.equal(withHiddenShown('pay \u202eeve'), 'pay ‹U+202E›eve');
  });

  it('are none of letters, marks, lines and plain spaces', () => {
    const plain = 'Grüße, 你好 नमस्ते\n  שלום e\u0301 😀';
    assert.deepEqual(textParts(plain), [{ text: plain }]);
  });

  it('can be named up to a number, and left out', () => {
    const text = 'a\u200b\n\u202eb\u0000';
    assert.deepEqual(hiddenIn(text, 2), ['U+200B', 'U+202E']);
    assert.deepEqual(hiddenIn('plain\ntext', 2), []);
    assert.equal(withoutHidden(text), 'a\nb');
  });
});
