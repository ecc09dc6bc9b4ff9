import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { expiryOf } from './ttl.ts';

const NOW = Date.parse('2026-06-15T12:00:00Z');
const DAY = 86_400_000;

describe('time to live', () => {
  it('reads durations, never and dates', () => {
    const cases: [string, number | null][] = [
      ['never', null],
      ['30d', NOW + 30 * DAY],
      ['12h', NOW + DAY / 2],
      ['90m', NOW + 5_400_000],
      ['45s', NOW + 45_000],
      ['2w', NOW + 14 * DAY],
      [' 1d ', NOW + DAY],
      ['2027-01-31', Date.parse('2027-01-31T00:00:00Z')],
      ['2028-02-29', Date.parse('2028-02-29T00:00:00Z')],
      ['2027-01-31T10:30', Date.parse('2027-01-31T10:30:00Z')],
      ['2027-01-31T10:30:00Z', Date.parse('2027-01-31T10:30:00Z')],
      ['2027-01-31T10:30:00.5+02:00', Date.parse('2027-01-31T08:30:00.5Z')],
    ];
    for (const [text, expiry] of cases) assert.equal(expiryOf(text, NOW), expiry, text);
  });

  it('refuses the rest, naming the field and what to write', () => {
    const nonsense = [
      '',
      '30',
      'd',
      '-1d',
      '1.5h',
      '1y',
      '30 days',
      'Never',
      'tomorrow',
      '2027-02-31',
      '2027-13-01',
      '31.12.2027',
      '2027',
      '2027-01-31T25:00',
      '9'.repeat(30),
    ];
    for (const text of nonsense) {
      assert.throws(
        () => expiryOf(text, NOW, '--ttl'),
        (error: Error) =>
          /^--ttl: ".*" is no time to live; write 30d, 12h, never or a date/.test(error.message),
        text,
      );
    }
    for (const text of ['0d', '2026-06-15', '2020-01-01']) {
      assert.throws(() => expiryOf(text, NOW), /^Refusal: ttl: .* is not in the future$/, text);
    }
    for (const text of ['4000d', '999999999w', '2999-01-01']) {
      assert.throws(() => expiryOf(text, NOW), /more than ten years away; write never/, text);
    }
  });
});
