import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { blankComments } from './jsonc.ts';

describe('JSON with comments', () => {
  it('loses comments and trailing commas, and keeps every offset', () => {
    const text = '{ // one\n\t"a": [1, 2, /* two\n */ ],\r\n"b": "x // no, }", "c": "\\"/*", }';
    const plain = blankComments(text);
    assert.equal(plain.length, text.length);
    assert.equal(plain.split('\n').length, text.split('\n').length);
    assert.deepEqual(JSON.parse(plain), { a: [1, 2], b: 'x // no, }', c: '"/*' });
  });

  it('changes nothing in plain JSON', () => {
    fc.assert(
      fc.property(fc.json(), fc.constantFrom(0, 2, '\t'), (json, indent) => {
        const text = JSON.stringify(JSON.parse(json), null, indent);
        assert.equal(JSON.stringify(JSON.parse(blankComments(text))), JSON.stringify(JSON.parse(text)));
      }),
    );
  });

  it('keeps the length of anything', () => {
    fc.assert(
      fc.property(
        fc.string({ unit: fc.constantFrom('"', '\\', '/', '*', '\n', ',', '}', ' ', 'x') }),
        (text) => {
          assert.equal(blankComments(text).length, text.length);
        },
      ),
    );
  });
});
