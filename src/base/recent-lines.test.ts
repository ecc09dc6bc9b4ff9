import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { printable, RecentLines } from './recent-lines.ts';

function kept(chunks: string[], capacity?: number): string[] {
  const recent = new RecentLines(capacity);
  for (const chunk of chunks) recent.push(Buffer.from(chunk));
  return recent.lines();
}

describe('recent lines', () => {
  it('are put together from any chunks, the unfinished last one included', () => {
    assert.deepEqual(kept(['a\nb', 'c\n', '\n', 'd\ne\nf\nunfin', 'ished']), [
      'a',
      'bc',
      'd',
      'e',
      'f',
      'unfinished',
    ]);
  });

  it('keep a character that is split between two chunks', () => {
    const recent = new RecentLines();
    const bytes = Buffer.from('grüße\n');
    for (const byte of bytes) recent.push(Buffer.from([byte]));
    assert.deepEqual(recent.lines(), ['grüße']);
  });

  it('are the last ones, in one chunk or in many', () => {
    const all = Array.from({ length: 1000 }, (_, line) => `line ${line}\n`);
    for (const chunks of [all, [all.join('')], [all.slice(0, 500).join(''), all.slice(500).join('')]]) {
      assert.deepEqual(kept(chunks, 3), ['line 997', 'line 998', 'line 999']);
    }
  });

  it('are cut at 4 KiB, whatever follows', () => {
    const long = 'x'.repeat(10_000);
    const lines = kept([`${long}\n`, long, long, `\nshort\n${long}\n${long}\nend`]);
    assert.deepEqual(
      lines.map((line) => line.length),
      [4096, 4096, 5, 4096, 4096, 3],
    );
  });

  it('show no control, escape or direction-changing characters', () => {
    assert.equal(printable('\x1b[31mred\x1b[0m \x1b]0;title\x07bell\x07 a\u202eb\x9bc\r'), 'red bell abc');
    assert.equal(printable('tab\tstays'), 'tab\tstays');
  });

  it('of a flood cost little', () => {
    const recent = new RecentLines();
    const flood = Buffer.from('\n'.repeat(64 * 1024));
    const start = performance.now();
    for (let chunk = 0; chunk < 1000; chunk += 1) recent.push(flood);
    assert.ok(performance.now() - start < 2000);
  });
});
