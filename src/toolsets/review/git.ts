import type { Cancellation } from '../../base/cancellation.ts';
import { signalProcess } from '../../base/process-tree.ts';
import { type SpawnedProcess, spawnProcess } from '../../base/spawn.ts';
import { gitEnvironment, type RepositoryPlace, silenced } from './git-environment.ts';
import { Turns } from './turns.ts';

/** Settings given in the environment, and so stronger than a repository's, are known from this version on. */
const LEAST_VERSION = [2, 31] as const;
const TIME_LIMIT_MS = 15_000;
const OUTPUT_LIMIT = 32 * 1024 * 1024;
const AT_ONCE = 4;
const WAITING = 64;

export type GitRun = {
  /** Nothing that a caller wrote stands before `--` or `--end-of-options`, ids of objects aside. */
  args: readonly string[];
  /** For commands that read names from their input. */
  input?: string;
  /** Exit codes that are an answer; 0 alone when left out. */
  codes?: readonly number[];
  /** Sees the output as it comes; true ends the process, for enough is known. */
  enough?: (chunk: Buffer) => boolean;
  /** Whether git may compare files of the working tree, for which it would run configured filters. */
  comparesFiles?: boolean;
};

export type GitOutcome =
  | { ok: true; output: Buffer; code: number; truncated: boolean }
  /** `why` is a sentence without a full stop, fit for callers: nothing that git itself printed. */
  | { ok: false; why: string };

/** Runs git for questions that change nothing: bounded in time, output and number, with nothing of our environment. */
export class Git {
  readonly #turns = new Turns(AT_ONCE, WAITING);
  readonly #timeLimitMs: number;
  #version: Promise<string | undefined> | undefined;

  constructor({ timeLimitMs = TIME_LIMIT_MS }: { timeLimitMs?: number } = {}) {
    this.#timeLimitMs = timeLimitMs;
  }

  async run(place: RepositoryPlace, run: GitRun, cancellation?: Cancellation): Promise<GitOutcome> {
    this.#version ??= this.#versionFault(place);
    const fault = await this.#version;
    if (fault !== undefined) {
      this.#version = undefined;
      return { ok: false, why: fault };
    }
    let more = {};
    if (run.comparesFiles) {
      const args = ['config', '--list', '--includes', '--name-only', '-z'];
      const keys = await this.#inTurn(place, { args }, {}, cancellation);
      if (!keys.ok) return keys;
      more = silenced(keys.output.toString().split('\0'));
    }
    return this.#inTurn(place, run, more, cancellation);
  }

  async #versionFault(place: RepositoryPlace): Promise<string | undefined> {
    const outcome = await this.#inTurn(place, { args: ['--version'] }, {}, undefined);
    if (!outcome.ok) return outcome.why;
    const [, major, minor] = /(\d+)\.(\d+)/.exec(outcome.output.toString()) ?? [];
    const isKnown =
      Number(major) > LEAST_VERSION[0] ||
      (Number(major) === LEAST_VERSION[0] && Number(minor) >= LEAST_VERSION[1]);
    return isKnown ? undefined : `git ${LEAST_VERSION.join('.')} or later has to be installed`;
  }

  async #inTurn(
    place: RepositoryPlace,
    run: GitRun,
    more: Record<string, string>,
    cancellation: Cancellation | undefined,
  ): Promise<GitOutcome> {
    const outcome = await this.#turns.take(() =>
      cancellation?.cancelled === undefined
        ? this.#spawn(place, run, more, cancellation)
        : Promise.resolve<GitOutcome>({ ok: false, why: 'the call was cancelled' }),
    );
    return outcome ?? { ok: false, why: 'too many questions about repositories wait already; retry later' };
  }

  async #spawn(
    place: RepositoryPlace,
    run: GitRun,
    more: Record<string, string>,
    cancellation: Cancellation | undefined,
  ): Promise<GitOutcome> {
    const started = await spawnProcess({
      command: 'git',
      args: ['--no-pager', ...run.args],
      env: gitEnvironment(place, more),
      cwd: place.workTree ?? place.gitDir,
    });
    if (!started.ok) return { ok: false, why: 'git cannot be started here; it has to be installed' };
    return this.#outcome(started.value, run, cancellation);
  }

  #outcome(
    child: SpawnedProcess,
    { input = '', codes = [0], enough }: GitRun,
    cancellation: Cancellation | undefined,
  ): Promise<GitOutcome> {
    const chunks: Buffer[] = [];
    let size = 0;
    let ended: 'enough' | 'timeout' | 'cancelled' | undefined;
    const end = (why: NonNullable<typeof ended>) => {
      ended ??= why;
      signalProcess(-child.pid, 'SIGKILL');
    };
    const timer = setTimeout(() => end('timeout'), this.#timeLimitMs);
    const release = cancellation?.onCancel(() => end('cancelled'));
    for (const stream of [child.stdin, child.stdout, child.stderr]) stream.on('error', () => undefined);
    child.stderr.resume();
    child.stdin.end(input);
    child.stdout.on('data', (chunk: Buffer) => {
      if (ended !== undefined) return;
      size += chunk.length;
      if (!enough) chunks.push(chunk);
      if (enough?.(chunk) || size > OUTPUT_LIMIT) end('enough');
    });
    return new Promise((resolve) => {
      child.once('close', (code) => {
        clearTimeout(timer);
        release?.();
        signalProcess(-child.pid, 'SIGKILL');
        if (ended === 'timeout')
          resolve({
            ok: false,
            why: `git did not answer within ${this.#timeLimitMs / 1000} s; ask for less`,
          });
        else if (ended === 'cancelled') resolve({ ok: false, why: 'the call was cancelled' });
        else if (ended === undefined && !codes.includes(code ?? -1))
          resolve({ ok: false, why: 'git could not read that; the repository may be damaged' });
        else
          resolve({
            ok: true,
            output: Buffer.concat(chunks),
            code: code ?? 0,
            truncated: ended === 'enough',
          });
      });
    });
  }
}
