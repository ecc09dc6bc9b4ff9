import { readFileSync } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';
import { childEnvironment } from './child-environment.ts';
import {
  type Family,
  hasProcessTable,
  MARKER_VARIABLE,
  markedProcesses,
  membersIn,
  ProcessTableReader,
  parseStat,
  readProcess,
  signalProcess,
} from './process-tree.ts';
import { ok, type Result } from './result.ts';
import { type SpawnedProcess, type SpawnRequest, spawnProcess } from './spawn.ts';
import { Watchdog } from './watchdog.ts';

/** The part of a logger that is used here. */
export type ChildLogger = {
  warn(fields: object, message: string): void;
  info(fields: object, message: string): void;
};

export type ExitStatus = { code: number | null; signal: NodeJS.Signals | null };

export type ChildRequest = {
  command: string;
  args: readonly string[];
  /** The child's own variables; they come over the allowlisted part of our environment. */
  env: Readonly<Record<string, string>>;
  cwd?: string;
};

/** How long a child may take to leave after the end of its input, and again after SIGTERM. */
const GRACE_MS = 2000;
/** A process that survives SIGKILL this long is stuck in the kernel; nobody can do more. */
const KILL_PATIENCE_MS = 3000;

/**
 * One child with everything it starts. running -> stopping (stop) -> gone; or running -> gone when it exits by itself.
 * Whichever way, what it leaves behind is killed before `stop` resolves.
 */
export class Child {
  readonly pid: number;
  readonly stdin: SpawnedProcess['stdin'];
  readonly stdout: SpawnedProcess['stdout'];
  readonly stderr: SpawnedProcess['stderr'];
  /** Resolves when the process itself has exited, while descendants may still be on their way out. */
  readonly exited: Promise<ExitStatus>;
  readonly #family: Family;
  readonly #table: ProcessTableReader;
  readonly #gone: Promise<void>;
  readonly #hurry = Promise.withResolvers<void>();
  #ended = false;
  #stopping: Promise<void> | undefined;

  constructor(
    process: SpawnedProcess,
    { marker, table, onGone }: { marker: string; table: ProcessTableReader; onGone(survivors: number): void },
  ) {
    this.pid = process.pid;
    this.#table = table;
    this.stdin = process.stdin;
    this.stdout = process.stdout;
    this.stderr = process.stderr;
    // A pipe breaks when its other end exits; that is told by `exited`, not by an exception.
    for (const stream of [this.stdin, this.stdout, this.stderr]) stream.on('error', () => undefined);
    this.#family = { leader: this.pid, leaderStart: startTimeOf(this.pid), marker, known: new Map() };
    this.exited = new Promise((resolve) => {
      process.once('exit', (code, signal) => {
        this.#ended = true;
        signalProcess(-this.pid, 'SIGKILL');
        resolve({ code, signal });
      });
    });
    this.#gone = this.exited.then(() => this.#killRest()).then(onGone);
  }

  /** End of input, SIGTERM, SIGKILL, each after its grace; resolves when nobody of it is left. `graceMs: 0` kills at once. */
  stop({ graceMs = GRACE_MS }: { graceMs?: number } = {}): Promise<void> {
    if (graceMs <= 0) this.#hurry.resolve();
    this.#stopping ??= this.#end(graceMs);
    return this.#stopping;
  }

  async #end(graceMs: number): Promise<void> {
    await this.#rememberDescendants();
    this.stdin.end();
    await this.#leaves(graceMs);
    if (!this.#ended) signalProcess(-this.pid, 'SIGTERM');
    await this.#leaves(graceMs);
    if (!this.#ended) signalProcess(-this.pid, 'SIGKILL');
    await Promise.race([this.#gone, patience(2 * KILL_PATIENCE_MS)]);
  }

  #leaves(graceMs: number): Promise<unknown> {
    return Promise.race([this.exited, this.#hurry.promise, patience(graceMs)]);
  }

  async #rememberDescendants(): Promise<void> {
    for (const info of membersIn(await this.#table.read(), this.#family))
      this.#family.known.set(info.pid, info.startTime);
  }

  /** Kills until nobody is left, for what forks while it is looked for shows up at the next look. */
  async #killRest(): Promise<number> {
    const giveUp = Date.now() + KILL_PATIENCE_MS;
    for (;;) {
      const members = membersIn(await this.#table.read(), this.#family);
      if (members.length === 0 || Date.now() > giveUp) return members.length;
      for (const info of members) {
        this.#family.known.set(info.pid, info.startTime);
        signalProcess(info.pid, 'SIGKILL');
      }
      await delay(10);
    }
  }
}

/**
 * All children of this process. `marker` is stable for one data directory ([A-Za-z0-9_-], at most 64): by it a later
 * start finds what a dead one left. Linux finds descendants wherever they went, unless one leaves the session, clears
 * its environment and loses its parent; other systems know process groups alone.
 */
export class ChildProcesses implements AsyncDisposable {
  readonly #marker: string;
  readonly #owner: string;
  readonly #logger: ChildLogger;
  readonly #watchdog: Watchdog;
  readonly #table = new ProcessTableReader();
  readonly #children = new Set<Child>();
  #count = 0;
  #closed = false;

  constructor({ marker, logger }: { marker: string; logger: ChildLogger }) {
    if (!/^[\w-]{1,64}$/.test(marker)) throw new Error(`not a marker: ${marker}`);
    this.#marker = marker;
    this.#owner = `${process.pid}-${startTimeOf(process.pid)}`;
    this.#logger = logger;
    this.#watchdog = new Watchdog(`${MARKER_VARIABLE}=${marker}.${this.#owner}.`, (reason) =>
      logger.warn({ reason }, 'the watchdog that cleans up after a crash was lost'),
    );
  }

  /** How many children run or are on their way out. */
  get size(): number {
    return this.#children.size;
  }

  /** Undefined until the first child, and where there is no /bin/sh. */
  get watchdogPid(): number | undefined {
    return this.#watchdog.pid;
  }

  /** Starts a child; a refusal is one sentence that says what to change. */
  async spawn({ command, args, env, cwd }: ChildRequest): Promise<Result<Child, string>> {
    if (this.#closed) return { ok: false, error: `\`${command}\` was not started: Castellan is stopping` };
    this.#watchdog.start();
    this.#count += 1;
    const marker = `${this.#marker}.${this.#owner}.${this.#count}`;
    const request: SpawnRequest = { command, args, env: childEnvironment(env, marker) };
    if (cwd !== undefined) request.cwd = cwd;
    const started = await spawnProcess(request);
    if (!started.ok) return started;
    const child: Child = new Child(started.value, {
      marker,
      table: this.#table,
      onGone: (survivors) => this.#onGone(child, survivors),
    });
    this.#children.add(child);
    this.#watchdog.watch(child.pid);
    if (this.#closed) void child.stop({ graceMs: 0 });
    return ok(child);
  }

  /** Kills what a dead process of the same data directory left behind; returns how many. Never those of a living one. */
  async sweepOrphans(): Promise<number> {
    const killed = new Set<number>();
    const giveUp = Date.now() + KILL_PATIENCE_MS;
    while (hasProcessTable && Date.now() < giveUp) {
      const orphans = await this.#orphans();
      if (orphans.length === 0) break;
      for (const pid of orphans) {
        killed.add(pid);
        signalProcess(pid, 'SIGKILL');
      }
      await delay(10);
    }
    if (killed.size > 0)
      this.#logger.info({ processes: killed.size }, 'ended processes that an earlier run had left');
    return killed.size;
  }

  /** Stops every child and lets the watchdog go. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#closed = true;
    await Promise.all([...this.#children].map((child) => child.stop()));
    await this.#watchdog.release();
  }

  /** Cuts the grace of every child short; for the second signal to a server that is stopping. */
  async kill(): Promise<void> {
    await Promise.all([...this.#children].map((child) => child.stop({ graceMs: 0 })));
  }

  async #orphans(): Promise<number[]> {
    const ownerOf = (marker = '') => marker.split('.')[1] ?? '';
    const marked = await markedProcesses((marker) => marker.startsWith(`${this.#marker}.`));
    const dead = new Set<string>();
    for (const owner of new Set(marked.map(({ marker }) => ownerOf(marker)))) {
      const [pid, startTime] = owner.split('-');
      if ((await readProcess(Number(pid)))?.startTime !== startTime) dead.add(owner);
    }
    return marked.filter(({ marker }) => dead.has(ownerOf(marker))).map(({ pid }) => pid);
  }

  #onGone(child: Child, survivors: number): void {
    this.#children.delete(child);
    this.#watchdog.forget(child.pid);
    if (survivors > 0) {
      this.#logger.warn({ pid: child.pid, processes: survivors }, 'processes of a child survived SIGKILL');
    }
  }
}

/** Waits without keeping the process alive. */
function patience(ms: number): Promise<void> {
  return delay(ms, undefined, { ref: false });
}

function startTimeOf(pid: number): string {
  if (!hasProcessTable) return '0';
  try {
    return parseStat(readFileSync(`/proc/${pid}/stat`, 'latin1'))?.startTime ?? '0';
  } catch {
    return '0';
  }
}
