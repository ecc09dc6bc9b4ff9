import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import path from 'node:path';
import { text } from 'node:stream/consumers';
import { describe, it } from 'node:test';

const SCRIPT = path.join(import.meta.dirname, '../support/log-lines.ts');

/** What the process says on stdout and its exit code, while `reader` treats its stderr in its own way. */
async function run(lines: number, reader: (stderr: NodeJS.ReadableStream & { destroy(): void }) => void) {
  const child = spawn(process.execPath, [SCRIPT, String(lines)], {
    stdio: ['ignore', 'pipe', 'pipe'],
    timeout: 20_000,
  });
  reader(child.stderr);
  const [said, [code]] = await Promise.all([text(child.stdout), once(child, 'exit')]);
  child.stderr.destroy();
  return { said, code };
}

describe('a log whose reader', () => {
  it('reads: every line arrives, the last before the exit too', async () => {
    let read: Promise<string> = Promise.resolve('');
    const { code } = await run(20, (stderr) => {
      read = text(stderr as unknown as AsyncIterable<Uint8Array>);
    });
    const lines = (await read).trim().split('\n');
    assert.equal(code, 3);
    assert.equal(lines.length, 21);
    assert.equal(JSON.parse(lines.at(-1) ?? '').msg, 'the last line');
  });

  it('never reads: the process works on and ends', async () => {
    assert.deepEqual(await run(20_000, () => {}), { said: 'alive\n', code: 3 });
  });

  it('is gone: the process works on and ends', async () => {
    assert.deepEqual(await run(20_000, (stderr) => stderr.destroy()), { said: 'alive\n', code: 3 });
  });
});
