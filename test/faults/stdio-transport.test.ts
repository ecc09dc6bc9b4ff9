import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, it } from 'node:test';
import { ChildProcesses } from '../../src/base/child-processes.ts';
import type { JsonRpcMessage, JsonRpcSuccess } from '../../src/protocol/jsonrpc.ts';
import type { StdioTarget } from '../../src/resources/spec.ts';
import { StdioTransport } from '../../src/upstream/stdio-transport.ts';
import type { UpstreamFault } from '../../src/upstream/transport.ts';
import { eventually, isAlive, pidsMarked, zombiesOf } from '../support/processes.ts';

const HOSTILE = join(import.meta.dirname, '../support/hostile-child.ts');
const MIB = 1024 * 1024;
const silent = { warn: () => undefined, info: () => undefined };

const marker = `t${randomBytes(6).toString('hex')}`;
let children: ChildProcesses;
let nextId = 1;

function connect({ start = '', maxLineBytes = 12 * MIB, target = {} as Partial<StdioTarget> } = {}) {
  const messages: JsonRpcMessage[] = [];
  const closings: UpstreamFault[] = [];
  const transport = new StdioTransport(
    {
      serverName: 'hostile',
      children,
      maxLineBytes,
      target: { type: 'stdio', command: process.execPath, args: [HOSTILE, start], env: {}, ...target },
    },
    { onMessage: (message) => messages.push(message), onClosed: (fault) => closings.push(fault) },
  );
  const exchange = (method: string, params = {}, maxBytes = 10 * MIB) =>
    transport.exchange({ jsonrpc: '2.0', id: nextId++, method, params }, { maxBytes });
  const ask = async (method: string, params = {}, maxBytes?: number) =>
    ((await exchange(method, params, maxBytes).answer).message as JsonRpcSuccess).result;
  return { transport, messages, closings, exchange, ask };
}

async function elapsed(work: () => Promise<unknown>): Promise<number> {
  const start = performance.now();
  await work();
  return performance.now() - start;
}

beforeEach(() => {
  children = new ChildProcesses({ marker, logger: silent });
});

afterEach(async () => {
  await children[Symbol.asyncDispose]();
  assert.deepEqual(await pidsMarked(marker), [], 'processes were left');
  assert.deepEqual(await zombiesOf(process.pid), [], 'zombies were left');
});

describe('a child that works', () => {
  it('answers concurrent requests, each with its own text', async () => {
    const { transport, exchange } = connect();
    await transport.open();
    const answers = await Promise.all(
      Array.from({ length: 500 }, (_, n) => exchange('echo', { n, text: 'grüße\u2028' }).answer),
    );
    answers.forEach(({ message, written }, n) => {
      assert.deepEqual((message as JsonRpcSuccess).result, { n, text: 'grüße\u2028' });
      assert.deepEqual(JSON.parse(written?.text ?? ''), (message as JsonRpcSuccess).result);
    });
  });

  it('gets the allowlisted environment, its own variables, its arguments untouched, and no descriptor', async () => {
    process.env.CASTELLAN_TEST_SECRET = 'must not pass';
    process.env.SOME_TOKEN = 'must not pass';
    const args = [HOSTILE, '', '; touch x', '$(id)', 'line\nbreak', "it's"];
    const { transport, ask } = connect({ target: { env: { OWN: 'yes' }, args, cwd: '/tmp' } });
    await transport.open();
    const seen = (await ask('environment')) as { env: Record<string, string>; args: string[]; cwd: string };
    delete process.env.CASTELLAN_TEST_SECRET;
    delete process.env.SOME_TOKEN;
    assert.equal(seen.env.OWN, 'yes');
    assert.equal(seen.env.PATH, process.env.PATH);
    assert.equal(seen.env.SOME_TOKEN, undefined);
    assert.deepEqual(
      Object.keys(seen.env).filter((name) => name.startsWith('CASTELLAN')),
      ['CASTELLAN_CHILD'],
    );
    assert.deepEqual(seen.args.slice(2), args.slice(1));
    assert.equal(seen.cwd, '/tmp');
  });

  it('hands notifications to the owner and ignores what is no valid answer', async () => {
    const { transport, messages, ask } = connect();
    await transport.open();
    assert.deepEqual(await ask('oddAnswers'), { first: true });
    assert.deepEqual(await ask('echo', { still: 'there' }), { still: 'there' });
    assert.deepEqual(messages, [
      { jsonrpc: '2.0', method: 'notifications/message', params: { level: 'info' } },
    ]);
    assert.equal(transport.diagnostics().ignoredMessages, 7);
  });

  it('ends at the end of its input, within the first grace', async () => {
    const { transport, closings, ask } = connect();
    await transport.open();
    await ask('echo');
    assert.ok((await elapsed(() => transport.close())) < 1900);
    await transport.close();
    assert.equal(closings.length, 1);
  });
});

describe('a child that cannot start', () => {
  const refusal = async (target: Partial<StdioTarget>) => {
    const { transport, closings } = connect({ target });
    const fault = await transport.open().then(
      () => assert.fail('it started'),
      (error: UpstreamFault) => error,
    );
    assert.equal(fault.kind, 'unreachable');
    assert.equal(closings.length, 1);
    await assert.rejects(transport.exchange({ jsonrpc: '2.0', id: 1, method: 'x' }, { maxBytes: 1 }).answer);
    return fault.message;
  };

  it('names the executable that is missing, and what provides it', async () => {
    const env = { PATH: '/nonexistent' };
    assert.match(
      await refusal({ command: 'uvx', env }),
      /`uvx` was not found on PATH; it comes with uv \(https/,
    );
    assert.match(await refusal({ command: 'no-such-thing', env }), /`no-such-thing` was not found on PATH$/);
    assert.match(await refusal({ command: '/no/such/thing' }), /`\/no\/such\/thing` does not exist/);
  });

  it('names a working directory that is missing as such', async () => {
    assert.match(await refusal({ cwd: '/no/such/folder' }), /cwd `\/no\/such\/folder` does not exist/);
    assert.match(await refusal({ cwd: HOSTILE }), /cwd `.*hostile-child.ts` is not a directory/);
  });

  it('says that a file is not executable', async () => {
    assert.match(await refusal({ command: HOSTILE }), /may not be run/);
  });

  it('refuses a NUL byte in an argument instead of throwing', async () => {
    assert.match(await refusal({ args: ['a\0b'] }), /could not be started/);
  });
});

describe('a child that crashes', () => {
  it('at its start: the first exchange says with which status, and its last line', async () => {
    const { transport, closings, exchange } = connect({ start: 'crash' });
    await transport.open();
    const ms = await elapsed(() =>
      assert.rejects(exchange('echo').answer, {
        kind: 'unreachable',
        message: /"hostile" exited with code 7; its last line: Error: API_KEY is missing/,
      }),
    );
    assert.ok(ms < 2000, `${ms}`);
    assert.equal(closings.length, 1);
  });

  it('in a call: every call in flight fails within a second, and answers written before it still count', async () => {
    const { transport, closings, exchange, ask } = connect();
    await transport.open();
    await ask('echo');
    const silent = [exchange('silence').answer, exchange('silence').answer];
    const failed = Promise.all(
      silent.map((answer) => assert.rejects(answer, { kind: 'unreachable', sent: true, message: /code 0/ })),
    );
    const last = exchange('answerThenExit').answer;
    assert.ok((await elapsed(() => failed)) < 1000);
    assert.deepEqual(((await last).message as JsonRpcSuccess).result, { last: true });
    assert.equal(closings.length, 1);
  });

  it('by a signal: the fault names it', async () => {
    const { transport, ask } = connect();
    await transport.open();
    await assert.rejects(ask('killSelf'), { kind: 'unreachable', message: /was ended by SIGKILL/ });
  });

  it('with descendants in sessions of their own: they end with it', async () => {
    const { transport, ask } = connect();
    await transport.open();
    const { pid } = (await ask('leaveBehind')) as { pid: number };
    assert.ok(await isAlive(pid));
    await assert.rejects(ask('exit'), {
      kind: 'unreachable',
      message: /code 3; its last line: fatal: the disk/,
    });
    await eventually('the descendant is gone', async () => !(await isAlive(pid)), 2000);
  });

  it('its secrets do not come out in what it printed last', async () => {
    const script = 'console.error("bad key "+process.env.API_KEY+" "+process.argv[2]);process.exit(1)';
    const { transport, exchange } = connect({
      target: {
        args: ['-e', script, '--', '--token', 'argument-secret'],
        env: { API_KEY: 'sk-very-secret' },
      },
    });
    await transport.open();
    await assert.rejects(exchange('echo').answer, { message: /bad key \$\{API_KEY\} •••$/ });
    assert.match(transport.diagnostics().stderr.join('\n'), /^bad key \$\{API_KEY\} •••$/);
  });
});

describe('a child that does not stop', () => {
  it('ignores the end of its input and SIGTERM: killed after both graces', async () => {
    const { transport, ask } = connect({ start: 'stubborn' });
    await transport.open();
    await ask('echo');
    const pid = transport.diagnostics().pid ?? 0;
    const ms = await elapsed(() => transport.close());
    assert.ok(ms > 3900 && ms < 5500, `${ms}`);
    assert.equal(await isAlive(pid), false);
  });

  it('is killed at once when its grace is cut short', async () => {
    const { transport, ask } = connect({ start: 'stubborn' });
    await transport.open();
    await ask('echo');
    const closing = transport.close();
    const ms = await elapsed(() => Promise.all([children.kill(), closing]));
    assert.ok(ms < 1500, `${ms}`);
  });

  it('is a wrapper around the server, as npx is: both end', async () => {
    const { transport, ask } = connect({ start: 'wrapped' });
    await transport.open();
    assert.deepEqual(await ask('echo', { through: 'a shell' }), { through: 'a shell' });
    assert.ok((await pidsMarked(marker)).length >= 3);
    await transport.close();
    assert.deepEqual(await pidsMarked(marker), []);
  });

  for (const how of ['leaveBehind', 'doubleFork'] as const) {
    it(`left something in a session of its own (${how}): gone when close resolves`, async () => {
      const { transport, ask } = connect();
      await transport.open();
      const { pid } = (await ask(how)) as { pid: number };
      assert.ok(await isAlive(pid));
      await transport.close();
      assert.equal(await isAlive(pid), false);
    });
  }

  it('left something with an empty environment: gone when close resolves', async () => {
    const { transport, ask } = connect();
    await transport.open();
    const { pid } = (await ask('leaveBehind', { clean: 1 })) as { pid: number };
    assert.ok(await isAlive(pid));
    await transport.close();
    assert.equal(await isAlive(pid), false);
  });

  it('never answers: giving up one exchange leaves the others alone', async () => {
    const { transport, exchange, ask } = connect();
    await transport.open();
    const stuck = exchange('silence');
    const fault = Object.assign(new Error('waited long enough'), { kind: 'timeout' });
    stuck.abandon(fault as unknown as UpstreamFault);
    await assert.rejects(stuck.answer, { kind: 'timeout' });
    assert.deepEqual(await ask('echo', { fine: true }), { fine: true });
  });
});

describe('a child that writes too much', () => {
  it('one answer over its cap fails that exchange alone', async () => {
    const { transport, ask } = connect();
    await transport.open();
    await assert.rejects(ask('big', { bytes: 5000 }, 4096), { kind: 'too_large', sent: true });
    assert.deepEqual(await ask('echo'), {});
    const { text } = (await ask('big', { bytes: 3 * MIB })) as { text: string };
    assert.equal(text.length, 3 * MIB);
  });

  it('100 MB without a newline: cut at the cap, memory flat, process gone', async () => {
    const { transport, closings, ask } = connect({ maxLineBytes: 4 * MIB });
    await transport.open();
    await ask('echo');
    globalThis.gc?.();
    const before = process.memoryUsage.rss();
    let peak = before;
    const watch = setInterval(() => {
      peak = Math.max(peak, process.memoryUsage.rss());
    }, 5);
    await assert.rejects(ask('endlessLine'), { kind: 'too_large', message: /longer than 4194304 bytes/ });
    await eventually('no process', () => children.size === 0);
    clearInterval(watch);
    assert.ok(peak - before < 50 * MIB, `grew by ${(peak - before) / MIB} MiB`);
    assert.equal(closings.length, 1);
  });

  it('a few lines that are no JSON-RPC are kept for diagnosis; a flood of them ends it', async () => {
    const { transport, closings, ask } = connect();
    await transport.open();
    assert.deepEqual(await ask('garbage', { lines: 5 }), {});
    assert.equal(transport.diagnostics().stderr.at(-1), '(stdout) DEBUG not json 4');
    await assert.rejects(ask('garbage', { lines: 100_000 }), { kind: 'protocol', message: /no JSON-RPC/ });
    await eventually('no process', () => children.size === 0);
    assert.equal(closings.length, 1);
  });

  it('a flood on stderr is drained and keeps its last lines', async () => {
    const { transport, ask } = connect();
    await transport.open();
    await ask('stderrFlood', { bytes: 100 * MIB });
    // The answer came on another pipe, and may be faster than the end of the flood.
    await eventually('the last line is whole', async () =>
      /^(noise )+noise$/.test(transport.diagnostics().stderr.at(-1) ?? ''),
    );
    const { stderr } = transport.diagnostics();
    assert.ok(stderr.length >= 100 && stderr.length <= 400, `${stderr.length}`);
  });
});

describe('a child with a closed ear', () => {
  it('stops reading: what waits for it is bounded, later calls are refused at once', async () => {
    const { transport, exchange, ask } = connect();
    await transport.open();
    await ask('stopReading');
    const text = 'x'.repeat(MIB);
    const calls = Array.from({ length: 100 }, () => exchange('echo', { text }).answer);
    const settled = Promise.allSettled(calls);
    await assert.rejects(calls.at(-1)!, {
      kind: 'capacity',
      sent: false,
      message: /does not read its input/,
    });
    await transport.close();
    const kinds = (await settled).map((result) => (result as PromiseRejectedResult).reason?.kind);
    assert.ok(kinds.filter((kind) => kind === 'capacity').length > 80);
  });

  it('closes its output but lives on: the channel is gone and the process is ended', async () => {
    const { transport, closings, ask } = connect({ start: 'stubborn' });
    await transport.open();
    await ask('echo');
    await assert.rejects(ask('closeOutput'), { kind: 'unreachable', message: /closed its output/ });
    assert.equal(closings.length, 1);
    await children.kill();
    assert.equal(children.size, 0);
  });
});
