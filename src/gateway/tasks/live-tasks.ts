import type { JsonObject } from '../../protocol/jsonrpc.ts';
import { moveRelated } from '../../protocol/related-task.ts';
import { TASK_STATUS } from '../../upstream/task-followers.ts';
import type { Sink } from '../scope.ts';
import type { SessionNotices } from '../session-notices.ts';

const MAX_LIVE = 5_000;

/**
 * Where the messages of one task go: to the call that began it, once that is answered to whoever fetches the result,
 * else to the standalone stream of the session.
 */
export class TaskLine implements Sink {
  private readonly notices: SessionNotices;
  private readonly session: string;
  private readonly call: Sink;
  private readonly fetching: Sink[] = [];
  private taskId: string | undefined;

  constructor(notices: SessionNotices, session: string, call: Sink) {
    this.notices = notices;
    this.session = session;
    this.call = call;
  }

  notify(method: string, params: JsonObject): void {
    const moved = moveRelated(params, this.taskId);
    const fetching = this.fetching.at(-1);
    if (fetching) fetching.notify(method, moved);
    else if (this.taskId === undefined) this.call.notify(method, moved);
    else this.notices.tell(this.session, method, moved);
  }

  /** The server made it a task; `taskId` is its client's id. */
  began(taskId: string): void {
    this.taskId = taskId;
  }

  status(params: JsonObject): void {
    const moved = moveRelated(params, this.taskId);
    this.notices.tell(this.session, TASK_STATUS, { ...moved, taskId: this.taskId });
  }

  fetch(sink: Sink): () => void {
    this.fetching.push(sink);
    return () => {
      const at = this.fetching.indexOf(sink);
      if (at >= 0) this.fetching.splice(at, 1);
    };
  }
}

/** The lines of tasks that legacy clients follow; the one begun longest ago makes room. */
export class LiveTasks {
  private readonly lines = new Map<string, TaskLine>();

  get(taskId: string): TaskLine | undefined {
    return this.lines.get(taskId);
  }

  add(taskId: string, line: TaskLine): void {
    line.began(taskId);
    this.lines.set(taskId, line);
    if (this.lines.size > MAX_LIVE) this.lines.delete(this.lines.keys().next().value!);
  }

  delete(taskId: string): void {
    this.lines.delete(taskId);
  }
}
