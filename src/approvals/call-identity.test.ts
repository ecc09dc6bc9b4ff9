import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { inexactNumber } from './call-identity.ts';

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
