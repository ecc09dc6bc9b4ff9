import { type ChildProcess, spawn } from 'node:child_process';
import { accessSync, constants, existsSync, statSync } from 'node:fs';
import { delimiter, isAbsolute, join } from 'node:path';
import type { Readable, Writable } from 'node:stream';
import { messageOf } from './errors.ts';
import { ok, type Result, refused } from './result.ts';

export type SpawnRequest = {
  command: string;
  args: readonly string[];
  /** The whole environment; nothing else is inherited. */
  env: Readonly<Record<string, string>>;
  cwd?: string;
};

/** A process that leads its own session and group, with three pipes and no other descriptor. */
export type SpawnedProcess = ChildProcess & {
  pid: number;
  stdin: Writable;
  stdout: Readable;
  stderr: Readable;
};

/** A system program that is spoken to on its stdin alone. */
export type ListenerProcess = ChildProcess;

/** Which package brings a command, for the sentence that says what to install. */
const PROVIDERS: Readonly<Record<string, string>> = {
  node: 'Node.js (https://nodejs.org/)',
  npx: 'Node.js (https://nodejs.org/)',
  npm: 'Node.js (https://nodejs.org/)',
  pnpm: 'pnpm (https://pnpm.io/)',
  bun: 'Bun (https://bun.sh/)',
  bunx: 'Bun (https://bun.sh/)',
  deno: 'Deno (https://deno.com/)',
  uv: 'uv (https://docs.astral.sh/uv/)',
  uvx: 'uv (https://docs.astral.sh/uv/)',
  python: 'Python (https://www.python.org/)',
  python3: 'Python (https://www.python.org/)',
  pipx: 'pipx (https://pipx.pypa.io/)',
  docker: 'Docker (https://docs.docker.com/get-started/get-docker/)',
  podman: 'Podman (https://podman.io/)',
  go: 'Go (https://go.dev/)',
  cargo: 'Rust (https://rustup.rs/)',
  java: 'a Java runtime (https://adoptium.net/)',
  dotnet: '.NET (https://dotnet.microsoft.com/)',
};

/** Starts a program without a shell. Resolves once it runs; a refusal is one sentence that says what to change. */
export function spawnProcess(request: SpawnRequest): Promise<Result<SpawnedProcess, string>> {
  return new Promise((resolve) => {
    let child: ChildProcess;
    try {
      child = spawn(request.command, [...request.args], {
        env: request.env,
        cwd: request.cwd,
        stdio: ['pipe', 'pipe', 'pipe'],
        detached: process.platform !== 'win32',
        windowsHide: true,
      });
    } catch (error) {
      resolve(refused(spawnFailure(request, error)));
      return;
    }
    // The listener stays: a later error (a failed kill) has no other reader and must not be thrown.
    child.on('error', (error) => resolve(refused(spawnFailure(request, error))));
    child.once('spawn', () => resolve(ok(child as SpawnedProcess)));
  });
}

/** Starts a small system program in a session of its own that is spoken to on its stdin alone. It keeps no one alive. */
export function spawnDetachedListener(command: string, args: readonly string[]): ListenerProcess {
  const child = spawn(command, [...args], {
    env: { PATH: process.env.PATH ?? '/usr/local/bin:/usr/bin:/bin' },
    cwd: '/',
    stdio: ['pipe', 'ignore', 'ignore'],
    detached: true,
  });
  child.unref();
  (child.stdin as unknown as { unref(): void } | undefined)?.unref();
  return child;
}

/** Starts a program of the desktop, such as a browser, and leaves it to itself: it may fail, and may outlive us. */
export function startAndForget(command: string, args: readonly string[]): void {
  const child = spawn(command, [...args], { stdio: 'ignore', detached: true });
  child.on('error', () => {});
  child.unref();
}

/** Why a program could not be started. The system says ENOENT for three different mistakes; this tells them apart. */
function spawnFailure(request: SpawnRequest, error: unknown): string {
  const { command, cwd } = request;
  const code = (error as NodeJS.ErrnoException).code ?? '';
  if (cwd !== undefined && (code === 'ENOENT' || code === 'ENOTDIR' || code === 'EACCES')) {
    const fault = directoryFault(cwd);
    if (fault) return `cwd \`${cwd}\` ${fault}`;
  }
  if (code === 'ENOENT') return missingExecutable(request);
  if (code === 'EACCES') {
    return `executable \`${command}\` may not be run: it is a directory or not marked executable (chmod +x)`;
  }
  if (code === 'ENOEXEC') return `\`${command}\` is not a program this system can run (missing #! line?)`;
  if (code === 'E2BIG') return `the arguments and environment of \`${command}\` are too long for the system`;
  if (code === 'EAGAIN' || code === 'EMFILE' || code === 'ENFILE' || code === 'ENOMEM') {
    return `\`${command}\` could not be started: the system is out of processes, descriptors or memory (${code})`;
  }
  return `\`${command}\` could not be started: ${code || messageOf(error)}`;
}

function missingExecutable({ command, env, cwd }: SpawnRequest): string {
  if (command.includes('/')) {
    const path = isAbsolute(command) ? command : join(cwd ?? process.cwd(), command);
    return existsSync(path)
      ? `executable \`${command}\` exists, but the interpreter its first line names was not found`
      : `executable \`${command}\` does not exist`;
  }
  const found = (env.PATH ?? '')
    .split(delimiter)
    .some((folder) => folder !== '' && existsSync(join(folder, command)));
  if (found)
    return `executable \`${command}\` is on PATH, but the interpreter its first line names was not found`;
  const provider = PROVIDERS[command];
  return `executable \`${command}\` was not found on PATH${provider ? `; it comes with ${provider}` : ''}`;
}

function directoryFault(path: string): string | undefined {
  try {
    if (!statSync(path).isDirectory()) return 'is not a directory';
    accessSync(path, constants.X_OK);
    return undefined;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EACCES' ? 'may not be entered' : 'does not exist';
  }
}

/**
 * Runs a shell command line in the foreground, with this process's terminal and environment; `args` follow as they
 * are. Resolves with its exit code, or with `undefined` when it was ended by a signal.
 */
export function runInTerminal(commandLine: string, args: readonly string[]): Promise<number | undefined> {
  const isWindows = process.platform === 'win32';
  const child = isWindows
    ? spawn(commandLine, [...args], { stdio: 'inherit', shell: true })
    : spawn('/bin/sh', ['-c', `${commandLine} "$@"`, 'sh', ...args], { stdio: 'inherit' });
  return new Promise((resolve, reject) => {
    child.on('error', reject);
    child.on('exit', (code) => resolve(code ?? undefined));
  });
}
