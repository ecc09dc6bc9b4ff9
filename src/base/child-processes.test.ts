import assert from 'node:assert/strict';
import { closeSync, existsSync, openSync, readdirSync, readFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { text } from 'node:stream/consumers';
import { afterEach, beforeEach, describe, it } from 'node:test';
import { ChildProcesses } from './child-processes.ts';

const silent = { warn: () => undefined, info: () => undefined };
let children: ChildProcesses;

async function outputOf(command: string, args: string[]): Promise<string> {
  const spawned = await children.spawn({ command, args, env: {} });
  assert.ok(spawned.ok);
  const output = await text(spawned.value.stdout);
  await spawned.value.stop();
  return output;
}

/** Descriptors that whoever started this test left open for every descendant; nothing we open is inheritable. */
function inheritableDescriptors(): number[] {
  const isInheritable = (descriptor: number) => {
    const info = existsSync(`/proc/self/fdinfo/${descriptor}`)
      ? readFileSync(`/proc/self/fdinfo/${descriptor}`, 'latin1')
      : '';
    const flags = /^flags:\s*([0-7]+)/m.exec(info)?.[1] ?? '2000000';
    return (Number.parseInt(flags, 8) & 0o2000000) === 0;
  };
  const open = readdirSync('/proc/self/fdinfo')
    .map(Number)
    .filter((descriptor) => descriptor > 15);
  return open.filter(isInheritable);
}

beforeEach(() => {
  children = new ChildProcesses({ marker: `unit-${process.pid}`, logger: silent });
});
afterEach(() => children[Symbol.asyncDispose]());

describe('a child', () => {
  it('leads its own session and has three descriptors and no more', {
    skip: process.platform !== 'linux',
  }, async () => {
    const file = openSync('/dev/null', 'r');
    const server = createServer().listen(0);
    const fromOutside = inheritableDescriptors();
    const listed = await outputOf('ls', ['/proc/self/fd']);
    closeSync(file);
    server.close();
    const own = listed.trim().split('\n').map(Number);
    // The fourth is the folder that ls reads.
    assert.deepEqual(own.filter((descriptor) => !fromOutside.includes(descriptor)).sort(), [0, 1, 2, 3]);
    const [pid, , , , group, session] = (await outputOf('cat', ['/proc/self/stat'])).split(' ');
    assert.deepEqual([group, session], [pid, pid]);
  });

  it('gets its arguments without a shell in between', async () => {
    assert.equal(await outputOf('printf', ['%s|', '$(id)', '; ls', '*', 'a\nb']), '$(id)|; ls|*|a\nb|');
  });

  it('tells its exit status', async () => {
    const spawned = await children.spawn({ command: 'sh', args: ['-c', 'exit 9'], env: {} });
    assert.ok(spawned.ok);
    assert.deepEqual(await spawned.value.exited, { code: 9, signal: null });
  });
});

it('a marker is refused when it could be mistaken for another', () => {
  for (const marker of ['', 'a.b', 'a b', 'x'.repeat(65)]) {
    assert.throws(() => new ChildProcesses({ marker, logger: silent }), /not a marker/);
  }
});
