import type { Sealer } from '../../base/seal.ts';
import type { Authorizer } from '../../identity/authorizer.ts';
import { declares, extensionFault, TASKS } from '../../protocol/extensions.ts';
import { ErrorCode, isObject, type JsonObject } from '../../protocol/jsonrpc.ts';
import type { NeutralOutcome } from '../../protocol/model.ts';
import type { UpstreamReply } from '../../upstream/calls.ts';
import { isEnded } from '../../upstream/task-followers.ts';
import { UpstreamFault } from '../../upstream/transport.ts';
import type { Upstreams } from '../../upstream/upstreams.ts';
import type { LongResults } from '../long-results.ts';
import { failed, invalidParams } from '../refusals.ts';
import type { GatewayRequest } from '../scope.ts';
import type { SessionNotices } from '../session-notices.ts';
import { type Callee, calledBy } from './callee.ts';
import { speaksLegacyTasks, type TaskCourse } from './course.ts';
import { needsTasks, withTasks } from './declared.ts';
import { HeldTask } from './held-task.ts';
import { LegacyDesk } from './legacy-desk.ts';
import { relayOf } from './legacy-relay.ts';
import { LiveTasks, TaskLine } from './live-tasks.ts';
import { circleOf, TaskIds, type TaskRef } from './task-ids.ts';
import { TaskResults } from './task-results.ts';
import { TaskWatches } from './task-watches.ts';

export type TasksDeps = {
  sealer: Sealer;
  authorizer: Authorizer;
  upstreams: Upstreams;
  notices: SessionNotices;
  results: LongResults;
};

/** Sends a request on, in the names of its server. */
export type Relay = (server: Callee, from: GatewayRequest, params: JsonObject) => Promise<NeutralOutcome>;

const MAX_TASK_ID = 1_024;
/** Calls that wait for a task here, all together. */
const MAX_HELD = 1_000;
/** How long a legacy server's session is kept for a task of which nobody asks, ms. */
const KEEP_MS = 3_600_000;

/**
 * Tasks of both eras: those of the extension (SEP-2663) and of 2025-11-25 (basic/utilities/tasks), passed on where
 * both sides speak the same, waited for or translated where they do not.
 */
export class Tasks {
  readonly watches: TaskWatches;
  private readonly ids: TaskIds;
  private readonly results: TaskResults;
  private readonly upstreams: Upstreams;
  private readonly notices: SessionNotices;
  private readonly live = new LiveTasks();
  private readonly desk = new LegacyDesk();
  private held = 0;

  constructor({ sealer, authorizer, upstreams, notices, results }: TasksDeps) {
    this.results = new TaskResults(upstreams, results);
    this.ids = new TaskIds(sealer, authorizer);
    this.upstreams = upstreams;
    this.notices = notices;
    this.watches = new TaskWatches(this.ids, upstreams, this.results);
  }

  /** A tool call on its course: the server to send it to, and the request as it goes there. */
  onCourse(
    course: Exclude<TaskCourse, 'plain' | 'refuse'>,
    server: Callee,
    from: GatewayRequest,
  ): { server: Callee; from: GatewayRequest } {
    if (course === 'declare') return { server: this.declaring(server), from };
    const line = new TaskLine(this.notices, from.circle.session, from.sink);
    const told = { ...from, sink: line };
    if (course === 'relay') return { server, from: told };
    const augmented = calledBy(server, (circle, call) =>
      server.call(circle, { ...call, params: { ...call.params, task: {} } }),
    );
    return { server: course === 'hold' ? this.holding(server, augmented) : augmented, from: told };
  }

  /** A server's new task as the caller gets it. Rejects one that the caller never said it could take. */
  created(from: GatewayRequest, server: Callee, tool: string, result: JsonObject): JsonObject {
    const { taskId, ttlMs } = result;
    const legacy = server.era === 'legacy';
    const wanted = speaksLegacyTasks(from.request.envelope)
      ? isObject(from.request.params.task) && legacy
      : declares(from.circle.relayed.modern, TASKS);
    if (!wanted || typeof taskId !== 'string' || taskId === '' || taskId.length > MAX_TASK_ID) {
      throw new UpstreamFault(
        'protocol',
        'it answered with a task that nobody asked for, or one without a usable id',
        { sent: true },
      );
    }
    const { session, relayed } = from.circle;
    const home = legacy ? { session, capabilities: relayed.capabilities } : undefined;
    const task: TaskRef = { server: server.name, id: taskId, tool, home };
    const ours = this.ids.seal(from, task);
    if (legacy) this.follow(from, ours, task, typeof ttlMs === 'number' ? ttlMs : KEEP_MS);
    return { ...result, taskId: ours };
  }

  /** Answers a request about one task. */
  async handle(from: GatewayRequest, relay: Relay): Promise<NeutralOutcome> {
    const outcome = await this.answer(from, relay);
    const task = outcome.ok ? this.of(from) : undefined;
    return task ? this.results.outcome(from, task, outcome) : outcome;
  }

  private async answer(from: GatewayRequest, relay: Relay): Promise<NeutralOutcome> {
    const { method, params, envelope } = from.request;
    const modern = envelope.era === 'modern';
    if (modern && !declares(from.circle.relayed.modern, TASKS)) return failed(extensionFault(TASKS));
    if (!modern && !speaksLegacyTasks(envelope)) {
      return failed({ code: ErrorCode.methodNotFound, message: `Method not found: ${method}` });
    }
    const task = this.ids.open(from, params.taskId);
    if (!task || !(modern || task.home)) return invalidParams('Unknown task');
    const server = this.upstreams.get(task.server);
    if (!server) return invalidParams(`${task.server} was just removed from the configuration`);
    from.record?.goesTo(task.server);
    if (!modern) return this.relayed(from, server, task, relay);
    if (task.home) {
      const capabilities = server.catalogue(from.circle).peekQuietly()?.peer.capabilities ?? {};
      this.follow(from, String(params.taskId), task, KEEP_MS);
      const desk = { server, capabilities, task };
      if (method === 'tasks/update') return this.desk.update(from, desk);
      if (method === 'tasks/cancel') return this.desk.cancel(from, desk);
      const state = await this.desk.get(from, desk);
      if (state.ok && isEnded(state.result)) this.unfollow(from, String(params.taskId), task);
      return state;
    }
    const outcome = await relay(server, from, { ...params, taskId: task.id });
    if (!outcome.ok || outcome.result.taskId === undefined) return outcome;
    return { ok: true, result: { ...outcome.result, taskId: params.taskId } };
  }

  /** The task that a request is about; undefined when it is none of this caller's. */
  of(from: GatewayRequest): TaskRef | undefined {
    return this.ids.open(from, from.request.params.taskId);
  }

  /** From a client of 2025-11-25 to a server of 2025-11-25. */
  private async relayed(
    from: GatewayRequest,
    server: Callee,
    task: TaskRef,
    relay: Relay,
  ): Promise<NeutralOutcome> {
    const ours = String(from.request.params.taskId);
    this.follow(from, ours, task, KEEP_MS);
    const line = new TaskLine(this.notices, from.circle.session, from.sink);
    line.began(ours);
    const unfetch = [line.fetch(from.sink)];
    if (from.request.method === 'tasks/result') {
      const begun = this.live.get(ours);
      if (begun) unfetch.push(begun.fetch(from.sink));
    }
    const circle = circleOf(task, from.circle);
    const callee = relayOf(server, circle, { ours, theirs: task.id });
    try {
      const outcome = await relay(callee, { ...from, sink: line }, from.request.params);
      const over = outcome.ok && (isEnded(outcome.result) || from.request.method === 'tasks/result');
      if (over && outcome.result.resultType === undefined) this.unfollow(from, ours, task);
      return outcome;
    } finally {
      for (const end of unfetch) end();
    }
  }

  private follow(from: GatewayRequest, ours: string, task: TaskRef, forMs: number): void {
    const server = this.upstreams.get(task.server);
    if (from.request.envelope.era === 'legacy' && !this.live.get(ours)) {
      const begun = from.sink instanceof TaskLine ? from.sink : undefined;
      this.live.add(ours, begun ?? new TaskLine(this.notices, from.circle.session, from.sink));
    }
    const told = (params: JsonObject) => {
      this.live.get(ours)?.status(params);
      if (isEnded(params)) this.live.delete(ours);
    };
    try {
      server?.followTask(circleOf(task, from.circle), task.id, told, Math.min(forMs, KEEP_MS));
    } catch {
      // Its connections are all busy: the task is there for as long as the server keeps it by itself.
    }
  }

  private unfollow(from: GatewayRequest, ours: string, task: TaskRef): void {
    this.live.delete(ours);
    this.upstreams.get(task.server)?.unfollowTask(circleOf(task, from.circle), task.id);
  }

  /** A legacy server's tool that is only for tasks, called by who has none. */
  private holding(server: Callee, augmented: Callee): Callee {
    return calledBy(server, async (circle, call) => {
      const release = this.claim();
      return this.hold(release, async () => {
        const reply = await augmented.call(circle, call);
        return isTask(reply)
          ? new HeldTask({ server, circle, call, legacy: true }, reply.result, release)
          : reply;
      });
    });
  }

  /** A modern server for a legacy client: what it does as a task only is waited for. */
  private declaring(server: Callee): Callee {
    return calledBy(server, async (circle, call) => {
      const reply = await server.call(circle, call);
      if (reply.ok !== false || !needsTasks(reply.error)) return reply;
      const declared = withTasks(circle);
      const release = this.claim();
      return this.hold(release, async () => {
        const again = await server.call(declared, call);
        const parts = { server, circle: declared, call, legacy: false };
        return isTask(again) ? new HeldTask(parts, again.result, release) : again;
      });
    });
  }

  private async hold(
    release: () => void,
    begin: () => Promise<UpstreamReply | HeldTask>,
  ): Promise<UpstreamReply> {
    let begun: UpstreamReply | HeldTask | undefined;
    try {
      begun = await begin();
      return begun instanceof HeldTask ? await begun.run() : begun;
    } finally {
      // A task gives its place back itself, when it is over.
      if (!(begun instanceof HeldTask)) release();
    }
  }

  private claim(): () => void {
    if (this.held >= MAX_HELD)
      throw new UpstreamFault('capacity', `${MAX_HELD} calls wait for tasks already`);
    this.held += 1;
    return () => {
      this.held -= 1;
    };
  }
}

function isTask(reply: UpstreamReply): reply is UpstreamReply & { ok: true } {
  return reply.ok === true && reply.result.resultType === 'task' && typeof reply.result.taskId === 'string';
}
