import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { cp, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { after, before, describe, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { apiRoutes } from '../../src/http/api/api.ts';
import { eventually, isAlive } from '../support/processes.ts';
import { runCli, startCastellan, type TestCastellan } from '../support/running-castellan.ts';

const ROOT = fileURLToPath(new URL('../../', import.meta.url));
const LAUNCHER = path.join(ROOT, 'bin/castellan');
/** Longer than any test waits. */
const LONG_CALL = JSON.stringify({ duration: 60, steps: 60 });

let folder = '';
before(async () => {
  folder = await mkdtemp(path.join(tmpdir(), 'castellan-serve-'));
});
after(() => rm(folder, { recursive: true, force: true }));

test('a start names every route that is mounted', async () => {
  await using castellan = await startCastellan();
  await eventually('the API is there too', () => castellan.stderr().includes('routes of the API'));
  const told = castellan.stderr().matchAll(/"routes":(\[[^\]]*\])/g);
  const named = new Set([...told].flatMap(([, list]) => JSON.parse(list!) as string[]));
  const api = apiRoutes({ store: {}, audit: {} } as never);
  assert.ok(api.length > 20);
  for (const { method, path: below } of api) assert.ok(named.has(`${method} /api/v1${below}`), below);
  for (const other of ['/projects/{project}/operator-mcp', '/healthz', '/metrics', '/sign-in'])
    assert.ok(named.has(other), other);
});

describe('stopping', () => {
  for (const signal of ['SIGTERM', 'SIGINT'] as const) {
    test(`${signal} lets a call in flight finish, and ends with 0`, async () => {
      await using castellan = await startCastellan();
      const call = await callInFlight(castellan, JSON.stringify({ duration: 1, steps: 1 }));
      castellan.process.kill(signal);
      // What npm and a terminal add to one Ctrl-C.
      castellan.process.kill(signal);
      const { code, stderr } = await call.outcome;
      assert.equal(code, 0, stderr);
      await eventually('it ended', () => castellan.process.exitCode !== null);
      assert.equal(castellan.process.exitCode, 0);
    });
  }

  test('a second signal later on stops at once', async () => {
    await using castellan = await startCastellan();
    const call = await callInFlight(castellan, LONG_CALL);
    await eventually('it ended', () => {
      castellan.process.kill('SIGTERM');
      return castellan.process.exitCode !== null;
    });
    assert.equal(castellan.process.exitCode, 1);
    assert.equal((await call.outcome).code, 1);
  });

  test('--grace bounds the wait', async () => {
    await using castellan = await startCastellan([
      '--config',
      'examples/quickstart.yaml',
      '--grace',
      '100ms',
    ]);
    const call = await callInFlight(castellan, LONG_CALL);
    await castellan.stop();
    assert.equal(castellan.process.exitCode, 0);
    assert.notEqual((await call.outcome).code, 0);
  });
});

test('SIGHUP reads the files again', async () => {
  const file = path.join(folder, 'live.yaml');
  const server = (name: string) => `kind: Server\nmetadata: { name: ${name} }\nspec: { command: node }\n`;
  await writeFile(file, server('one'));
  await using castellan = await startCastellan(['--config', file]);
  await writeFile(file, server('two'));
  castellan.process.kill('SIGHUP');
  const names = async () => (await castellan.cli('get', 'servers', '-o', 'name')).stdout;
  await eventually('the new file counts', async () => (await names()) === 'server/two\n');
});

describe('a start that cannot work says why', () => {
  const serve = (...args: string[]) => runCli(['serve', '--data-dir', path.join(folder, 'refused'), ...args]);

  test('a broken file, with its line', async () => {
    const file = path.join(folder, 'broken.yaml');
    await writeFile(file, 'kind: Server\nmetadata: { name: x }\nspec:\n  comand: node\n');
    const { code, stderr } = await serve('--config', file, '--port', '0');
    assert.equal(code, 1);
    assert.match(stderr, /broken\.yaml:4: spec\.comand: unknown key: did you mean command\?/);
  });

  test('a port or a data directory in use', async () => {
    await using castellan = await startCastellan();
    const port = new URL(castellan.url).port;
    const taken = await serve('--port', port);
    assert.deepEqual(
      [taken.code, /port \d+ on 127\.0\.0\.1 is in use.*--port/.test(taken.stderr)],
      [1, true],
    );
    const second = await runCli(['serve', '--port', '0', '--data-dir', castellan.dataDir]);
    assert.equal(second.code, 1);
    assert.match(second.stderr, new RegExp(`pid ${castellan.process.pid}`));
  });

  test('wrong settings, by flag or by variable', async () => {
    const flags: [string[], RegExp][] = [
      [['--port', '70000'], /--port "70000" is no port/],
      [['--host', '0.0.0.0'], /--host 0\.0\.0\.0 is reachable.*--insecure-http/],
      [['--public-url', 'https://x/path'], /--public-url "https:\/\/x\/path" must be/],
      [['--log-level', 'loud'], /--log-level "loud".*debug/],
      [['--grace', 'long'], /--grace "long" is no duration/],
      [['--confg', 'x'], /unknown option '--confg'[\s\S]*--config/],
    ];
    for (const [args, said] of flags) {
      const { code, stderr } = await serve(...args);
      assert.equal(code, 64, stderr);
      assert.match(stderr, said);
    }
    const { code, stderr } = await runCli(['serve'], { env: { CASTELLAN_PORT: 'http' } });
    assert.equal(code, 64);
    assert.match(stderr, /CASTELLAN_PORT "http" is no port/);
  });
});

describe('the launcher under a Node that is too old', async () => {
  const oldNode = await findOldNode();
  const skip = oldNode === undefined && 'no Node below 24 on PATH';
  const run = (launcher: string, args: string[]) =>
    spawn(oldNode ?? '', [launcher, ...args], { cwd: ROOT, stdio: ['ignore', 'pipe', 'pipe'] });

  test('runs the bundled Node and mirrors its exit code', { skip }, async () => {
    const version = await outcome(run(LAUNCHER, ['version', '-o', 'json']));
    assert.equal(version.code, 0, version.stderr);
    assert.ok(Number(JSON.parse(version.stdout).client.node.split('.')[0]) >= 24);
    assert.equal((await outcome(run(LAUNCHER, ['version', '--nonsense']))).code, 64);
  });

  test('says what it needs where there is none', { skip }, async () => {
    await cp(path.join(ROOT, 'bin'), path.join(folder, 'alone', 'bin'), { recursive: true });
    const alone = await outcome(run(path.join(folder, 'alone', 'bin', 'castellan'), ['version']));
    assert.equal(alone.code, 1);
    assert.match(alone.stderr, /castellan needs Node >= 24; this is v\d+\.\S+ Either install/);
  });

  for (const signal of ['SIGTERM', 'SIGKILL'] as const) {
    test(`no server outlives a launcher ended by ${signal}`, { skip }, async () => {
      const dataDir = path.join(folder, signal);
      const launcher = run(LAUNCHER, ['serve', '--port', '0', '--data-dir', dataDir]);
      const ended = outcome(launcher);
      const pid = await serverPid(dataDir);
      assert.notEqual(pid, launcher.pid);
      launcher.kill(signal);
      await eventually('the server ended', async () => !(await isAlive(pid)), 10_000);
      const { code } = await ended;
      assert.equal(code, signal === 'SIGTERM' ? 0 : null);
    });
  }
});

/** Starts a call and waits until the tool is at work; the list is known before, so that it is this call that is seen. */
async function callInFlight(castellan: TestCastellan, args: string) {
  await castellan.cli('get', 'tools', '-p', 'demo');
  const tool = 'everything__trigger-long-running-operation';
  const call = { outcome: castellan.cli('call', tool, args, '-p', 'demo') };
  await eventually(
    'the call is in flight',
    async () => {
      const { stdout } = await castellan.cli('describe', 'server', 'everything', '-o', 'json');
      const connections = JSON.parse(stdout).status.connectionList as { inFlight: number }[];
      return connections.some((connection) => connection.inFlight > 0);
    },
    15_000,
  );
  return call;
}

async function outcome(
  child: ChildProcess,
): Promise<{ code: number | null; stdout: string; stderr: string }> {
  const said = { stdout: '', stderr: '' };
  for (const name of ['stdout', 'stderr'] as const) {
    child[name]?.on('data', (chunk) => {
      said[name] += chunk;
    });
  }
  const code = await new Promise<number | null>((resolve) => child.on('close', resolve));
  return { code, ...said };
}

async function serverPid(dataDir: string): Promise<number> {
  let pid: number | undefined;
  await eventually(
    'the server is up',
    async () => {
      const text = await readFile(path.join(dataDir, 'admin.json'), 'utf8').catch(() => '{}');
      pid = (JSON.parse(text) as { pid?: number }).pid;
      return pid !== undefined;
    },
    15_000,
  );
  return pid ?? 0;
}

async function findOldNode(): Promise<string | undefined> {
  for (const dir of (process.env.PATH ?? '').split(path.delimiter)) {
    const node = path.join(dir, 'node');
    const child = spawn(node, ['--version'], { stdio: ['ignore', 'pipe', 'ignore'] });
    child.on('error', () => undefined);
    const { stdout } = await outcome(child);
    const major = Number(/^v(\d+)\./.exec(stdout)?.[1]);
    if (major >= 18 && major < 24) return node;
  }
  return undefined;
}
