import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { crc32 } from 'node:zlib';
import fc from 'fast-check';
import { base62, credentialKind, displayedPart, mintCredential, newId, sha256Hex } from './ids.ts';

describe('ids and credentials', () => {
  it('makes ids of 22 characters that never repeat', () => {
    const ids = new Set(Array.from({ length: 1_000 }, () => newId('mct')));
    assert.equal(ids.size, 1_000);
    for (const id of ids) assert.match(id, /^mct_[0-9A-Za-z]{22}$/);
  });

  it('writes base 62 as one big-endian number', () => {
    assert.equal(base62(Uint8Array.of(0, 0), 3), '000');
    assert.equal(base62(Uint8Array.of(61), 1), 'z');
    assert.equal(base62(Uint8Array.of(62), 2), '10');
    assert.equal(base62(new Uint8Array(32).fill(255), 43).length, 43);
    assert.equal(base62(new Uint8Array(0), 2), '00');
  });

  it('mints what it recognises, with the CRC-32 of the 43 characters at the end', () => {
    const raw = mintCredential('pat');
    assert.match(raw, /^cst_pat_[0-9A-Za-z]{49}$/);
    assert.equal(credentialKind(raw), 'pat');
    assert.equal(credentialKind(mintCredential('adm')), 'adm');
    const sum = Buffer.alloc(4);
    sum.writeUInt32BE(crc32(raw.slice(8, 51)));
    assert.equal(raw.slice(51), base62(sum, 6));
    assert.equal(displayedPart(raw), raw.slice(0, 16));
  });

  it('sees every typo of one character', () => {
    const raw = mintCredential('pat');
    const digit = fc.constantFrom(...'0123456789ABCXYZabcxyz');
    fc.assert(
      fc.property(fc.nat(48), digit, (at, other) => {
        const index = 8 + at;
        fc.pre(raw[index] !== other);
        assert.equal(credentialKind(raw.slice(0, index) + other + raw.slice(index + 1)), undefined);
      }),
    );
  });

  it('knows nothing else, whatever its length', () => {
    const raw = mintCredential('pat');
    const others = [
      '',
      'x',
      raw.slice(1),
      `${raw} `,
      `${raw}\n`,
      raw.replace('pat', 'abc'),
      'c'.repeat(1_000_000),
    ];
    for (const other of others) assert.equal(credentialKind(other), undefined);
  });

  it('hashes as everyone does', () => {
    assert.equal(sha256Hex('abc'), 'ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad');
  });
});
