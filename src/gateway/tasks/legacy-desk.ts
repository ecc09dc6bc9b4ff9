import { randomBytes } from 'node:crypto';
import { Cancellation } from '../../base/cancellation.ts';
import { callerKey } from '../../identity/caller.ts';
import { capabilityFault, type InputRequests } from '../../protocol/input-requests.ts';
import { isObject, type JsonObject } from '../../protocol/jsonrpc.ts';
import type { NeutralOutcome } from '../../protocol/model.ts';
import { relatedTo } from '../../protocol/related-task.ts';
import type { SuspendedCall, UpstreamReply } from '../../upstream/calls.ts';
import type { ServerCall } from '../../upstream/server.ts';
import { failed, invalidParams } from '../refusals.ts';
import { callerContext, type GatewayRequest } from '../scope.ts';
import type { Callee } from './callee.ts';
import { cancelsTasks } from './course.ts';
import { HOLD_MS } from './held-task.ts';
import { circleOf, type TaskRef } from './task-ids.ts';

/** A `tasks/result` that is open at a legacy server because its task wants to know something. */
type Wait = {
  principal: string;
  /** Comes before each key, so that no later question of the task has the key of an earlier one. */
  prefix: string;
  cancellation: Cancellation;
  asking: SuspendedCall | undefined;
  /** Resolves when it is asking, or over. */
  turn: Promise<void>;
};

export type Desk = { server: Callee; capabilities: JsonObject; task: TaskRef };

/** How long `tasks/get` waits for the question that the server says it has, ms. */
const QUESTION_MS = 2_000;
const MAX_WAITS = 1_000;
const MAX_WAITS_PER_PRINCIPAL = 50;

/**
 * Tasks of legacy servers for clients of the tasks extension (SEP-2663). Both state and result come from the server;
 * what it asks while its result is being fetched becomes the `inputRequests` of the state.
 */
export class LegacyDesk {
  private readonly waits = new Map<string, Wait>();

  async get(from: GatewayRequest, desk: Desk): Promise<NeutralOutcome> {
    const state = await this.ask(from, desk, 'tasks/get');
    if (state.ok !== true) return unanswered(state);
    const { status } = state.result;
    const task = { ...relatedTo(state.result, undefined), taskId: from.request.params.taskId };
    if (status === 'input_required') return this.questions(from, desk, task);
    if (status !== 'completed' && status !== 'failed') return { ok: true, result: task };
    const end = await this.ask(from, desk, 'tasks/result');
    if (end.ok === 'suspended') return unanswered(end);
    // Only a broken call is a failed task here; a tool that failed has its result like any other.
    return end.ok
      ? { ok: true, result: { ...task, status: 'completed', result: relatedTo(end.result, undefined) } }
      : { ok: true, result: { ...task, status: 'failed', error: end.error } };
  }

  async update(from: GatewayRequest, desk: Desk): Promise<NeutralOutcome> {
    const { inputResponses } = from.request.params;
    if (!isObject(inputResponses)) return invalidParams('params.inputResponses must be an object');
    const wait = this.waits.get(keyOf(from, desk));
    if (!wait?.asking) {
      const state = await this.ask(from, desk, 'tasks/get');
      return state.ok === true ? { ok: true, result: {} } : unanswered(state);
    }
    const results: Record<string, JsonObject> = {};
    for (const [key, value] of Object.entries(inputResponses)) {
      if (key.startsWith(wait.prefix) && isObject(value)) results[key.slice(wait.prefix.length)] = value;
    }
    const { asking } = wait;
    wait.asking = undefined;
    const leg = { deadline: Date.now() + HOLD_MS, cancellation: wait.cancellation };
    this.await(keyOf(from, desk), wait, asking.resume({ results, errors: {} }, leg));
    return { ok: true, result: {} };
  }

  async cancel(from: GatewayRequest, desk: Desk): Promise<NeutralOutcome> {
    const key = keyOf(from, desk);
    const wait = this.waits.get(key);
    this.waits.delete(key);
    if (wait?.asking) {
      const leg = { deadline: desk.server.legDeadline, cancellation: wait.cancellation };
      void wait.asking.decline('the task was cancelled', leg).catch(() => {});
    }
    wait?.cancellation.cancel('the task was cancelled');
    const reply = cancelsTasks(desk.capabilities) ? await this.ask(from, desk, 'tasks/cancel') : undefined;
    if (reply?.ok === true) return { ok: true, result: {} };
    // A task that is over cannot be cancelled there; here that is no error (SEP-2663, task cancellation).
    const state = await this.ask(from, desk, 'tasks/get');
    return state.ok === true ? { ok: true, result: {} } : unanswered(state);
  }

  /** The state of a task that wants to know something: what it wants to know, when the server says it in time. */
  private async questions(from: GatewayRequest, desk: Desk, task: JsonObject): Promise<NeutralOutcome> {
    const key = keyOf(from, desk);
    const wait = this.waits.get(key) ?? this.open(from, desk, key);
    if (!wait) return { ok: true, result: { ...task, status: 'working' } };
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<void>((resolve) => {
      timer = setTimeout(resolve, QUESTION_MS);
    });
    await Promise.race([wait.turn, late]);
    clearTimeout(timer);
    if (!wait.asking) return { ok: true, result: { ...task, status: 'working' } };
    const refusal = capabilityFault(wait.asking.requests, from.circle.relayed);
    if (refusal) return failed(refusal);
    return { ok: true, result: { ...task, inputRequests: shown(wait.asking.requests, wait.prefix) } };
  }

  /** Fetches the result, which is how a legacy server gets to ask. Undefined: this caller has too many open. */
  private open(from: GatewayRequest, desk: Desk, key: string): Wait | undefined {
    const principal = callerKey(from.caller);
    let own = 0;
    for (const one of this.waits.values()) if (one.principal === principal) own += 1;
    if (this.waits.size >= MAX_WAITS || own >= MAX_WAITS_PER_PRINCIPAL) return undefined;
    const wait: Wait = {
      principal,
      prefix: `${randomBytes(6).toString('base64url')}-`,
      cancellation: new Cancellation(),
      asking: undefined,
      turn: Promise.resolve(),
    };
    this.waits.set(key, wait);
    const more = { cancellation: wait.cancellation, patienceMs: HOLD_MS };
    this.await(key, wait, this.ask(from, desk, 'tasks/result', more));
    return wait;
  }

  private await(key: string, wait: Wait, reply: Promise<UpstreamReply>): void {
    const over = () => {
      if (this.waits.get(key) === wait) this.waits.delete(key);
    };
    wait.turn = reply.then(
      (end) => {
        if (end.ok !== 'suspended') return over();
        wait.asking = end.call;
        end.call.whenSettled(over);
      },
      // Whoever asks for the state next opens it again.
      over,
    );
  }

  private async ask(
    from: GatewayRequest,
    { server, task }: Desk,
    method: string,
    more: Partial<ServerCall> = { cancellation: from.cancellation },
  ): Promise<UpstreamReply> {
    const params = { taskId: task.id };
    return server.call(circleOf(task, from.circle), { method, params, ...more });
  }
}

function shown(requests: InputRequests, prefix: string): InputRequests {
  const entries = Object.entries(requests).map(([key, { method, params }]) => [
    `${prefix}${key}`,
    params ? { method, params: relatedTo(params, undefined) } : { method },
  ]);
  return Object.fromEntries(entries);
}

function unanswered(reply: UpstreamReply): NeutralOutcome {
  if (reply.ok === false) return reply;
  return failed({ code: -32603, message: 'The server asked something where it may not' });
}

function keyOf(from: GatewayRequest, { task }: Desk): string {
  return JSON.stringify([callerContext(from), task]);
}
