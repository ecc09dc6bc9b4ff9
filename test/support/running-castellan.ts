import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';

const ROOT = fileURLToPath(new URL('../../', import.meta.url));
const LAUNCHER = path.join(ROOT, 'bin/castellan');
const START_TIMEOUT_MS = 30_000;

/** A Castellan started as a user starts it, in a data directory of its own. */
export type TestCastellan = AsyncDisposable & {
  process: ChildProcess;
  url: string;
  dataDir: string;
  /** What it has said on stderr so far. */
  stderr(): string;
  /** Runs the command line against it, to its end. */
  cli(...args: string[]): Promise<CliResult>;
  stop(signal?: NodeJS.Signals): Promise<void>;
};

export type CliResult = { code: number | null; stdout: string; stderr: string };

export async function runCli(
  args: readonly string[],
  options: { env?: Record<string, string>; input?: string; cwd?: string } = {},
): Promise<CliResult> {
  const child = spawn(process.execPath, [LAUNCHER, ...args], {
    env: { ...process.env, ...options.env },
    cwd: options.cwd ?? ROOT,
  });
  let stdout = '';
  let stderr = '';
  child.stdout.on('data', (chunk) => {
    stdout += chunk;
  });
  child.stderr.on('data', (chunk) => {
    stderr += chunk;
  });
  child.stdin.end(options.input ?? '');
  const code = await new Promise<number | null>((resolve) => child.on('close', resolve));
  return { code, stdout, stderr };
}

/** The command line while it runs. */
export type RunningCli = { stderr(): string; ended: Promise<CliResult> };

/** Starts the command line, its standard input closed. */
export function startCli(args: readonly string[], env: Record<string, string> = {}): RunningCli {
  const options = { env: { ...process.env, ...env }, cwd: ROOT };
  const child = spawn(process.execPath, [LAUNCHER, ...args], {
    ...options,
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const said = { stdout: '', stderr: '' };
  for (const name of ['stdout', 'stderr'] as const)
    child[name].on('data', (chunk) => {
      said[name] += chunk;
    });
  const ended = new Promise<CliResult>((resolve) => child.on('close', (code) => resolve({ code, ...said })));
  return { stderr: () => said.stderr, ended };
}

/** Starts `castellan serve` on a free port and waits until it listens. */
export async function startCastellan(
  args: readonly string[] = ['--config', 'examples/quickstart.yaml'],
  options: { dataDir?: string; env?: Record<string, string> } = {},
): Promise<TestCastellan> {
  const owned = options.dataDir === undefined;
  const dataDir = options.dataDir ?? (await mkdtemp(path.join(tmpdir(), 'castellan-e2e-')));
  const child = spawn(process.execPath, [LAUNCHER, 'serve', '--port', '0', '--data-dir', dataDir, ...args], {
    cwd: ROOT,
    env: { ...process.env, ...options.env },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let stderr = '';
  child.stderr.on('data', (chunk) => {
    stderr += chunk;
  });
  const ended = new Promise<void>((resolve) => child.on('close', () => resolve()));
  const url = await new Promise<string>((resolve, reject) => {
    const timer = setTimeout(
      () => reject(new Error(`castellan did not start:\n${stderr}`)),
      START_TIMEOUT_MS,
    );
    const look = () => {
      const found = /Castellan is running\. {2}(http\S+)\/\n/.exec(stderr);
      if (!found) return;
      clearTimeout(timer);
      child.stderr.off('data', look);
      resolve(found[1]!);
    };
    child.stderr.on('data', look);
    void ended.then(() => reject(new Error(`castellan ended:\n${stderr}`)));
  });
  const stop = async (signal: NodeJS.Signals = 'SIGTERM') => {
    if (child.exitCode === null && child.signalCode === null) child.kill(signal);
    await ended;
  };
  return {
    process: child,
    url,
    dataDir,
    stderr: () => stderr,
    cli: (...cliArgs) => runCli([...cliArgs, '--data-dir', dataDir]),
    stop,
    async [Symbol.asyncDispose]() {
      await stop();
      if (owned) await rm(dataDir, { recursive: true, force: true });
    },
  };
}
