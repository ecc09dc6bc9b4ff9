import { isObject, type JsonObject } from '../protocol/jsonrpc.ts';
import type { Connection } from './connection.ts';

type Follower = { told(params: JsonObject): void; until: number; release(): void };

export const TASK_STATUS = 'notifications/tasks/status';
/** Tasks followed on one connection, and connections kept open for tasks: the rest of them is for calls. */
const MAX_FOLLOWED = 1_000;
const MAX_CONNECTIONS = 500;
const ENDED = new Set<unknown>(['completed', 'failed', 'cancelled']);

/**
 * Tasks that run on a legacy server for somebody: their connection stays open although no call uses it, since many a
 * server forgets a task with its session, and what the server says of their status reaches whoever they belong to.
 */
export class TaskFollowers {
  private readonly followers = new Map<Connection, Map<string, Follower>>();

  /** From now on for so long; a task that is followed already is followed on. */
  follow(connection: Connection, task: string, told: Follower['told'], forMs: number): void {
    const tasks = this.followers.get(connection) ?? new Map<string, Follower>();
    const known = tasks.get(task);
    if (!known && tasks.size >= MAX_FOLLOWED) return;
    if (tasks.size === 0 && this.followers.size >= MAX_CONNECTIONS) return;
    this.followers.set(connection, tasks);
    const until = Date.now() + forMs;
    tasks.set(task, { told, until, release: known?.release ?? connection.hold() });
  }

  /** It is over, or nobody wants to know any more. */
  forget(connection: Connection, task: string): void {
    const tasks = this.followers.get(connection);
    tasks?.get(task)?.release();
    tasks?.delete(task);
    if (tasks?.size === 0) this.followers.delete(connection);
  }

  /** Something that a server said unasked. */
  notice(connection: Connection, method: string, params: JsonObject): void {
    if (method !== TASK_STATUS || typeof params.taskId !== 'string') return;
    this.followers.get(connection)?.get(params.taskId)?.told(params);
    if (isEnded(params)) this.forget(connection, params.taskId);
  }

  sweep(now: number): void {
    for (const [connection, tasks] of this.followers) {
      for (const [task, { until }] of tasks) if (until <= now) this.forget(connection, task);
    }
  }

  /** The connection is no longer there. */
  drop(connection: Connection): void {
    for (const task of [...(this.followers.get(connection)?.keys() ?? [])]) this.forget(connection, task);
  }
}

/** Whether a task has reached the end of its life, in either era. */
export function isEnded(task: JsonObject): boolean {
  return isObject(task) && ENDED.has(task.status);
}
