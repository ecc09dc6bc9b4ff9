import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { inexactNumber } from './call-identity.ts';
import { textParts, withHiddenShown } from './hidden-characters.ts';

describe('a number in a JSON text', () => {
  it('is found where a double cannot carry it', () => {
    for (const number of [
      '9007199254740993',
      '12345678901234567890',
      '0.1234567890123456789',
      '1e400',
      '-1E+309',
      '1e-400',
      '123456789012345678.5',
    ])
      assert.equal(inexactNumber(`{"a":[{"b":${number}}]}`), number);
  });

  it('is left alone however it is written, and so is text', () => {
    for (const number of [
      '0',
      '-0',
      '0.0',
      '1.50',
      '1e3',
      '1E+03',
      '0.1',
      '-2.5e-7',
      '1e308',
      '9007199254740992',
    ])
      assert.equal(inexactNumber(`[${number}]`), undefined, number);
    assert.equal(inexactNumber('{"12345678901234567890":"12345678901234567890 \\"1e400"}'), undefined);
  });
});

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
});
