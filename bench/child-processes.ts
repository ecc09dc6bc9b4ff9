import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import type { Job, JobOutcome, JobReply } from './client/job.ts';

const START_TIMEOUT_MS = 15_000;
const STOP_TIMEOUT_MS = 25_000;

export const pathInBench = (file: string): string => new URL(file, import.meta.url).pathname;

/** The processes that a run has started. It ends exactly these, by their own handles. */
export class ChildProcesses implements AsyncDisposable {
  readonly #children = new Set<ChildProcess>();

  /** Starts a bench script and waits for the JSON line it prints when it is ready. */
  async startReady<T>(script: string, args: string[] = []): Promise<{ pid: number; ready: T }> {
    const child = this.adopt(
      spawn(process.execPath, [pathInBench(script), ...args], { stdio: ['ignore', 'pipe', 'inherit'] }),
    );
    const lines = createInterface({ input: child.stdout! });
    const signal = AbortSignal.timeout(START_TIMEOUT_MS);
    const [line] = (await once(lines, 'line', { signal })) as [string];
    return { pid: child.pid!, ready: JSON.parse(line) as T };
  }

  /** Starts the load client. Its jobs run one after the other. */
  startClient(): (job: Job) => Promise<JobOutcome> {
    const child = this.adopt(
      spawn(process.execPath, [pathInBench('client/process.ts')], {
        stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
      }),
    );
    return async (job) => {
      const limit = job.plan.warmupMs + job.plan.measureMs + START_TIMEOUT_MS;
      const signal = AbortSignal.timeout(limit);
      child.send(job);
      const [reply] = (await once(child, 'message', { signal }).catch(() => {
        throw new Error(`the load client did not finish within ${limit} ms: ${JSON.stringify(job.target)}`);
      })) as [JobReply];
      if ('error' in reply) throw new Error(`${JSON.stringify(job.target)}: ${reply.error}`);
      return reply.outcome;
    };
  }

  adopt(child: ChildProcess): ChildProcess {
    this.#children.add(child);
    child.once('exit', () => this.#children.delete(child));
    return child;
  }

  /** SIGTERM, and SIGKILL when that is not enough. */
  async stop(child: ChildProcess): Promise<void> {
    if (child.exitCode !== null || child.signalCode !== null) return;
    const exited = once(child, 'exit');
    child.kill('SIGTERM');
    const timer = setTimeout(() => child.kill('SIGKILL'), STOP_TIMEOUT_MS);
    await exited;
    clearTimeout(timer);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all([...this.#children].map((child) => this.stop(child)));
  }
}
