import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { duration, quantityFault, size } from './quantities.ts';

describe('quantities', () => {
  it('reads durations in milliseconds', () => {
    const read = ['500ms', '60s', '1.5h', '10 m', '30d', '0s'].map(duration.parse);
    assert.deepEqual(read, [500, 60_000, 5_400_000, 600_000, 2_592_000_000, 0]);
  });

  it('reads sizes in bytes', () => {
    assert.deepEqual(
      ['10MiB', '1kB', '512 B', '2GB'].map(size.parse),
      [10_485_760, 1000, 512, 2_000_000_000],
    );
  });

  it('takes no number without a unit, no other unit, and nothing negative', () => {
    for (const text of [
      '60',
      '',
      's',
      '-1s',
      '1w',
      '1S',
      '1e3s',
      ' 1s',
      '1s ',
      '1m30s',
      `${'9'.repeat(400)}s`,
    ]) {
      assert.equal(duration.parse(text), undefined, text);
    }
    assert.equal(size.parse('10M'), undefined);
  });

  it('says what a valid value looks like, and which range counts', () => {
    assert.equal(quantityFault(duration, '60s', '1s', '1h'), undefined);
    assert.match(quantityFault(duration, '60', '1s', '1h') ?? '', /a number and a unit .* such as 60s/);
    assert.match(quantityFault(duration, '2h', '1s', '1h') ?? '', /from 1s to 1h/);
    assert.match(quantityFault(duration, '1ms', '1s', '1h') ?? '', /from 1s to 1h/);
  });
});
