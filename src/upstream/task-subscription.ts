import type { JsonObject } from '../protocol/jsonrpc.ts';
import type { Subscription } from './subscription.ts';
import { isEnded } from './task-followers.ts';
import { UpstreamFault } from './transport.ts';
import type { WatchedConnection } from './watch.ts';

export const TASK_NOTICE = 'notifications/tasks';
const READY_MS = 10_000;
/** A subscription that lasted this long was no failure, ms. */
const STEADY_MS = 5_000;
const RETRY_MS = { first: 1_000, most: 60_000 };
const MAX_FAILURES = 10;

export type TaskListener = {
  /** The state of a task, with the id that its server gave it. */
  told(params: JsonObject): void;
  /** The subscription broke and is there again: what happened to these tasks meanwhile is not known. */
  renewed(tasks: readonly string[]): void;
};

/** Has a modern server tell of tasks (SEP-2663, task status notifications), over as many subscriptions as it takes. */
export class TaskSubscription {
  /** The tasks that the server tells of; none when it could not be had. Never rejects. */
  readonly honoured: Promise<readonly string[]>;
  private readonly connection: WatchedConnection;
  private readonly listener: TaskListener;
  private readonly release: () => void;
  private tasks: readonly string[];
  private live: Subscription | undefined;
  private retry: NodeJS.Timeout | undefined;
  private failures = 0;
  private since = 0;
  private ended = false;

  constructor(connection: WatchedConnection, tasks: readonly string[], listener: TaskListener) {
    this.connection = connection;
    this.listener = listener;
    this.tasks = tasks;
    this.release = connection.hold();
    this.honoured = this.subscribe().catch(() => {
      this.end();
      return [];
    });
  }

  end(): void {
    if (this.ended) return;
    this.ended = true;
    clearTimeout(this.retry);
    this.live?.stop();
    this.release();
  }

  private async subscribe(): Promise<readonly string[]> {
    await this.connection.ready(Date.now() + READY_MS);
    if (this.ended) return [];
    const wanted = { taskIds: [...this.tasks] };
    const live = this.connection.subscribe(wanted, (method, params) => this.receive(method, params));
    if (!live) throw new UpstreamFault('protocol', 'it is no server that tells of tasks');
    this.live = live;
    const timer = setTimeout(() => live.stop(), READY_MS);
    let honoured: JsonObject;
    try {
      honoured = await live.acknowledged;
    } finally {
      clearTimeout(timer);
    }
    this.since = Date.now();
    const given = Array.isArray(honoured.taskIds) ? honoured.taskIds : [];
    this.tasks = this.tasks.filter((task) => given.includes(task));
    if (this.tasks.length === 0) this.end();
    else void live.ended.then(() => this.broken(live));
    return this.tasks;
  }

  private receive(method: string, params: JsonObject): void {
    if (this.ended || method !== TASK_NOTICE || !this.tasks.includes(String(params.taskId))) return;
    if (isEnded(params)) this.tasks = this.tasks.filter((task) => task !== params.taskId);
    this.listener.told(params);
    if (this.tasks.length === 0) this.end();
  }

  private broken(live: Subscription): void {
    if (this.ended || this.live !== live) return;
    if (this.since > 0 && Date.now() - this.since > STEADY_MS) this.failures = 0;
    this.since = 0;
    if (this.failures >= MAX_FAILURES) {
      this.end();
      return;
    }
    const wait = Math.min(RETRY_MS.most, RETRY_MS.first * 2 ** this.failures);
    this.failures += 1;
    this.retry = setTimeout(() => void this.again(live), wait * (0.75 + Math.random() / 2)).unref();
  }

  private async again(live: Subscription): Promise<void> {
    try {
      const tasks = await this.subscribe();
      if (!this.ended) this.listener.renewed(tasks);
    } catch {
      this.live = live;
      this.broken(live);
    }
  }
}
