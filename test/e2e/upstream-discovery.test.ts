import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { after, before, describe, test } from 'node:test';
import { administrate } from '../support/agent.ts';
import { type CliResult, runCli, startCastellan, type TestCastellan } from '../support/running-castellan.ts';
import { ScopedVendor } from '../support/scoped-vendor.ts';

const missing = spawnSync('strace', ['-V']).error && 'strace is not installed';

const BAD = [
  'javascript:alert(1)',
  'file:///bin/sh',
  '--flag',
  'https://x/$(id)',
  'https://x/`id`',
  '&calc',
  'https://x/&calc',
  'https://x/;id',
  'https://x/a b',
  `https://x/${'a'.repeat(10_240)}`,
];

/** Every program that a process or its children start, and every address that they connect to. */
async function traced(pid: number, work: () => Promise<void>): Promise<string[]> {
  const folder = await mkdtemp(path.join(tmpdir(), 'castellan-trace-'));
  const log = path.join(folder, 'trace');
  const args = ['-f', '-q', '-e', 'trace=execve,connect', '-o', log, '-p', String(pid)];
  const tracer = spawn('strace', args, { stdio: 'ignore' });
  try {
    // It writes its file once it is attached.
    for (;;) {
      const status = await readFile(`/proc/${pid}/status`, 'utf8');
      if (!/^TracerPid:\s+0$/m.test(status)) break;
      await new Promise((resolve) => setImmediate(resolve));
    }
    await work();
  } finally {
    tracer.kill('SIGINT');
    await once(tracer, 'close');
  }
  const lines = (await readFile(log, 'utf8')).split('\n');
  await rm(folder, { recursive: true });
  return lines.filter((line) => /\b(execve|connect)\(/.test(line));
}

describe('an authorization endpoint that is no address', { skip: missing }, () => {
  let castellan: TestCastellan;
  let vendor: ScopedVendor;
  before(async () => {
    castellan = await startCastellan([]);
    vendor = await ScopedVendor.start();
    const server = {
      kind: 'Server',
      metadata: { name: 'x' },
      spec: { url: vendor.url, auth: { type: 'oauth' } },
    };
    const input = JSON.stringify(server);
    const applied = await runCli(['apply', '-f', '-', '--data-dir', castellan.dataDir], { input });
    assert.equal(applied.code, 0, applied.stderr);
  });
  after(async () => {
    await castellan[Symbol.asyncDispose]();
    await vendor[Symbol.asyncDispose]();
  });

  const login = (wish: object) => administrate(castellan, 'POST', '/servers/x/login', wish);

  test('starts nothing and leads nowhere in the server', async () => {
    const { port } = new URL(vendor.origin);
    const trace = await traced(castellan.process.pid ?? 0, async () => {
      for (const endpoint of BAD) {
        vendor.metadata = { authorization_endpoint: endpoint };
        const error: Error = await login({ flow: 'paste' }).then(
          () => assert.fail(`${endpoint} was taken`),
          (refused) => refused,
        );
        assert.match(error.message, /authorization_endpoint, what nobody is sent to/);
        assert.ok(!error.message.includes(endpoint));
      }
    });
    assert.ok(trace.length >= BAD.length, 'what the server asks is seen');
    const others = trace.filter((line) => !line.includes(`sin_port=htons(${port})`));
    assert.deepEqual(others, []);
  });

  for (const way of ['--paste', '--browser'])
    test(`starts nothing in the command line, ${way}`, async () => {
      const folder = await mkdtemp(path.join(tmpdir(), 'castellan-trace-'));
      for (const endpoint of BAD) {
        vendor.metadata = { authorization_endpoint: endpoint };
        const log = path.join(folder, 'trace');
        const result = await underTrace(log, ['mcp', 'login', 'x', way, '--data-dir', castellan.dataDir]);
        assert.equal(result.code, 1, result.stderr);
        assert.match(result.stderr, /what nobody is sent to/);
        const started = [...(await readFile(log, 'utf8')).matchAll(/execve\("([^"]*)"/g)].map(
          (hit) => hit[1],
        );
        assert.deepEqual(started, [process.execPath], endpoint);
      }
      await rm(folder, { recursive: true });
    });
});

/** A command as somebody at the screen of this machine runs it, with all that it starts. */
async function underTrace(log: string, args: string[]): Promise<CliResult> {
  const program = [process.execPath, path.resolve('bin/castellan'), ...args];
  const child = spawn('strace', ['-f', '-q', '-e', 'trace=execve', '-o', log, ...program], {
    env: { ...process.env, DISPLAY: ':0' },
  });
  let stderr = '';
  child.stderr.on('data', (chunk) => {
    stderr += chunk;
  });
  child.stdin.end();
  const [code] = await once(child, 'close');
  return { code, stdout: '', stderr };
}
