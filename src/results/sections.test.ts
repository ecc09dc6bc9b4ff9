import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { sectionsOf } from './sections.ts';

describe('the sections of a text', () => {
  it('make the text again, each within its size and of whole characters', () => {
    const text = fc.oneof(
      fc.string({ unit: 'binary', maxLength: 3_000 }),
      fc
        .array(fc.constantFrom('a', 'é', '€', '😀', '\n', ' ', ','), { maxLength: 3_000 })
        .map((all) => all.join('')),
    );
    fc.assert(
      fc.property(text, fc.integer({ min: 4, max: 300 }), (whole, maxBytes) => {
        const sections = sectionsOf(whole, maxBytes);
        assert.equal(sections.join(''), whole.toWellFormed());
        for (const section of sections) {
          assert.ok(Buffer.byteLength(section) <= maxBytes && section.length > 0);
          assert.ok(section.isWellFormed());
        }
      }),
    );
  });

  it('end after a line, else after a space or a comma, else between two characters', () => {
    assert.deepEqual(sectionsOf('one\ntwo\nthree\nfours', 10), ['one\ntwo\n', 'three\n', 'fours']);
    assert.deepEqual(sectionsOf(`${'x'.repeat(95)} ${'y'.repeat(10)}`, 100), [
      `${'x'.repeat(95)} `,
      'y'.repeat(10),
    ]);
    assert.deepEqual(sectionsOf(`${'x'.repeat(96)},${'y'.repeat(10)}`, 100), [
      `${'x'.repeat(96)},`,
      'y'.repeat(10),
    ]);
    assert.deepEqual(sectionsOf('😀😀😀', 6), ['😀', '😀', '😀']);
    assert.deepEqual(sectionsOf('short', 100), ['short']);
  });

  it('of a text without any place to cut are found in the time of one look', { timeout: 10_000 }, () => {
    const sections = sectionsOf('x'.repeat(16 * 1024 * 1024), 1024);
    assert.equal(sections.length, 16 * 1024);
  });
});
