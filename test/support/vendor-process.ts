import assert from 'node:assert/strict';
import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { Vendor, visited } from './vendor.ts';

/** How a vendor behaves: how long its tokens live and replaced ones are forgiven, and how slow it is at most. */
export type VendorHabits = { lifeSeconds: number; graceSeconds: number; pauseMs: number };

/** How far the refresh that was asked for last has come, and how many there were. */
export type RefreshProgress = { refreshes: number; stage: 'asked' | 'issued' | 'answered' };

/** A vendor in a process of its own, which outlives whoever it signs in. */
export class VendorProcess implements AsyncDisposable {
  readonly origin: string;
  progress: RefreshProgress = { refreshes: 0, stage: 'answered' };
  readonly #child: ChildProcess;
  readonly #listeners = new Set<() => void>();

  private constructor(child: ChildProcess, origin: string) {
    this.#child = child;
    this.origin = origin;
    child.on('message', (progress: RefreshProgress) => {
      this.progress = progress;
      for (const listener of this.#listeners) listener();
    });
  }

  static async start(habits: VendorHabits): Promise<VendorProcess> {
    const child = fork(fileURLToPath(import.meta.url), [JSON.stringify(habits)]);
    const [origin] = (await once(child, 'message')) as [string];
    return new VendorProcess(child, origin);
  }

  get url(): string {
    return `${this.origin}/mcp`;
  }

  /** See Vendor.visit. */
  visit(address: string, account = 'ann'): Promise<string> {
    return visited(address, this.origin, account);
  }

  /** Waits for the next refresh that comes to that stage, at most so long. False: none did. */
  async next(stage: RefreshProgress['stage'], patienceMs: number): Promise<boolean> {
    const came = Promise.withResolvers<true>();
    const listener = () => this.progress.stage === stage && came.resolve(true);
    this.#listeners.add(listener);
    const timer = new AbortController();
    const late = sleep(patienceMs, false as const, { signal: timer.signal }).catch(() => false as const);
    try {
      return await Promise.race([came.promise, late]);
    } finally {
      timer.abort();
      this.#listeners.delete(listener);
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#child.exitCode !== null) return;
    this.#child.kill('SIGTERM');
    await once(this.#child, 'exit');
  }
}

async function main(habits: VendorHabits): Promise<void> {
  const vendor = await Vendor.start();
  const tell = (said: RefreshProgress | string) => {
    assert.ok(process.send?.(said) !== undefined, 'a vendor is started by somebody who listens');
  };
  const pause = () => sleep(Math.random() * habits.pauseMs);
  const isRefresh = (form: URLSearchParams) => form.get('grant_type') === 'refresh_token';
  Object.assign(vendor, { lifeSeconds: habits.lifeSeconds, graceSeconds: habits.graceSeconds });
  vendor.lie = async (form) => {
    if (!isRefresh(form)) return false;
    tell({ refreshes: vendor.refreshes, stage: 'asked' });
    await pause();
    return false;
  };
  vendor.answered = async (form) => {
    if (!isRefresh(form)) return;
    tell({ refreshes: vendor.refreshes, stage: 'issued' });
    await pause();
    tell({ refreshes: vendor.refreshes, stage: 'answered' });
  };
  process.once('disconnect', () => process.exit());
  tell(vendor.origin);
}

if (process.send && process.argv[1] === fileURLToPath(import.meta.url))
  await main(JSON.parse(process.argv[2] ?? '') as VendorHabits);
