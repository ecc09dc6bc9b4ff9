/**
 * A task that somebody waits for who cannot have it as a task: the call stays open until the task is over.
 *
 * polling    `tasks/get` goes out at the pace that the server wants, within bounds
 * fetching   a legacy server has the result, or a question: `tasks/result` waits for both
 * asking     the caller is being asked; nothing counts but the time to live
 * settled    answered, failed or given up; terminal
 *
 * Whatever ends the wait before the task is over cancels the task.
 */
import { asInputRequests, type InputAnswers, type InputRequests } from '../../protocol/input-requests.ts';
import { ErrorCode, isObject, type JsonObject } from '../../protocol/jsonrpc.ts';
import { relatedTo } from '../../protocol/related-task.ts';
import type { SuspendedCall, UpstreamReply } from '../../upstream/calls.ts';
import type { Circle } from '../../upstream/circle.ts';
import type { Leg } from '../../upstream/live-call.ts';
import type { ServerCall } from '../../upstream/server.ts';
import { UpstreamFault } from '../../upstream/transport.ts';
import type { Callee } from './callee.ts';
import { pause } from './pause.ts';

/** How long one stretch of waiting may take, ms. */
export const HOLD_MS = 600_000;
const CANCEL_MS = 10_000;
const POLL_MS = { least: 100, usual: 1_000, most: 10_000 };
const MAX_POLL_FAULTS = 3;

type Parts = { server: Callee; circle: Circle; call: ServerCall; legacy: boolean };

export class HeldTask {
  private readonly parts: Parts;
  private readonly taskId: string;
  private readonly onSettled: () => void;
  private readonly listeners: (() => void)[] = [];
  /** Keys that were answered; a server may go on naming them for a while. */
  private readonly answered = new Set<string>();
  private pollMs: number;
  private settled = false;

  constructor(parts: Parts, created: JsonObject, onSettled: () => void) {
    this.parts = parts;
    this.taskId = String(created.taskId);
    this.pollMs = paceOf(created);
    this.onSettled = onSettled;
  }

  /** Waits for the task as the call that began it. */
  run(): Promise<UpstreamReply> {
    return this.leg({ deadline: Date.now() + HOLD_MS, cancellation: this.parts.call.cancellation }, (leg) =>
      this.poll(leg),
    );
  }

  /** One stretch of waiting; what it ends with other than a question settles the task. */
  private async leg(leg: Leg, work: (leg: Leg) => Promise<UpstreamReply>): Promise<UpstreamReply> {
    try {
      const reply = await work(leg);
      if (reply.ok !== 'suspended') this.settle();
      return reply;
    } catch (error) {
      this.cancel();
      throw error;
    }
  }

  private async poll(leg: Leg): Promise<UpstreamReply> {
    let faults = 0;
    for (;;) {
      const left = leg.deadline - Date.now();
      if (left <= 0) throw new UpstreamFault('timeout', 'its task is not done in time', { sent: true });
      await pause(Math.min(this.pollMs, left), leg.cancellation);
      const state = await this.send('tasks/get', {}, leg).catch((error: unknown) => {
        faults += 1;
        const fatal = !(error instanceof UpstreamFault) || error.kind === 'abandoned';
        if (fatal || faults >= MAX_POLL_FAULTS) throw error;
        return undefined;
      });
      if (!state) continue;
      faults = 0;
      if (state.ok !== true) return state;
      this.pollMs = paceOf(state.result);
      const end = this.parts.legacy ? await this.fetch(state.result, leg) : this.read(state.result);
      if (end) return end;
    }
  }

  /** The end of a legacy server's task; undefined while it works. */
  private async fetch({ status }: JsonObject, leg: Leg): Promise<UpstreamReply | undefined> {
    if (status === 'working') return undefined;
    if (status === 'cancelled') return cancelled();
    const { logs, onProgress } = this.parts.call;
    // A server that hears that nobody can be asked is given no longer than for any other answer.
    const mute = status === 'input_required' && this.parts.circle.relayed.signature === '';
    const patienceMs = mute ? undefined : Math.max(1, leg.deadline - Date.now());
    return this.shown(await this.send('tasks/result', {}, leg, { logs, onProgress, patienceMs }));
  }

  /** The same of a modern server's. */
  private read(state: JsonObject): UpstreamReply | undefined {
    const { status, result, error } = state;
    if (status === 'working') return undefined;
    if (status === 'completed' && isObject(result)) return { ok: true, result };
    if (status === 'failed' && isObject(error)) {
      return { ok: false, error: { code: Number(error.code), message: String(error.message) } };
    }
    if (status === 'cancelled') return cancelled();
    const requests = status === 'input_required' ? asInputRequests(state.inputRequests) : undefined;
    if (!requests) throw new UpstreamFault('protocol', 'the state of its task is invalid', { sent: true });
    const open = Object.entries(requests).filter(([key]) => !this.answered.has(key));
    return open.length > 0 ? this.asking(Object.fromEntries(open)) : undefined;
  }

  private asking(requests: InputRequests): UpstreamReply {
    return this.suspended({
      requests,
      whenSettled: () => {},
      resume: (answers, leg) => this.answer(answers, leg),
      decline: (message) => {
        this.cancel();
        return Promise.resolve({ ok: false, error: { code: ErrorCode.internal, message } });
      },
    });
  }

  private async answer({ results, errors }: InputAnswers, leg: Leg): Promise<UpstreamReply> {
    const refused = Object.values(errors)[0];
    if (refused) {
      this.cancel();
      const message = `The client refused what the server asked: ${refused.message}`;
      return { ok: false, error: { code: ErrorCode.internal, message } };
    }
    const reply = await this.send('tasks/update', { inputResponses: results }, leg);
    if (reply.ok !== true) return reply;
    for (const key of Object.keys(results)) this.answered.add(key);
    return this.poll(leg);
  }

  /** What a legacy server said of its task, as an answer to a call that knows of none. */
  private shown(reply: UpstreamReply): UpstreamReply {
    if (reply.ok === true) return { ok: true, result: relatedTo(reply.result, undefined) };
    if (reply.ok !== 'suspended') return reply;
    const { call } = reply;
    const requests = Object.entries(call.requests).map(([key, { method, params }]) => [
      key,
      params ? { method, params: relatedTo(params, undefined) } : { method },
    ]);
    return this.suspended({
      requests: Object.fromEntries(requests),
      whenSettled: (listener) => call.whenSettled(listener),
      resume: async (answers, leg) => this.shown(await call.resume(answers, leg)),
      decline: async (reason, leg) => this.shown(await call.decline(reason, leg)),
    });
  }

  /** The caller is asked. Whoever does not come back in time has left the task. */
  private suspended(inner: SuspendedCall): UpstreamReply {
    const lifetime = setTimeout(() => this.cancel(), HOLD_MS).unref();
    const goOn = (leg: Leg, work: (leg: Leg) => Promise<UpstreamReply>) => {
      clearTimeout(lifetime);
      return this.leg(leg, work);
    };
    const longer = (leg: Leg): Leg => ({ ...leg, deadline: Date.now() + HOLD_MS });
    const call: SuspendedCall = {
      requests: inner.requests,
      whenSettled: (listener) => {
        if (this.settled) listener();
        else this.listeners.push(listener);
      },
      resume: (answers, leg) => goOn(longer(leg), (given) => inner.resume(answers, given)),
      decline: (reason, leg) => goOn(leg, (given) => inner.decline(reason, given)),
    };
    return { ok: 'suspended', call };
  }

  private async send(
    method: string,
    more: JsonObject,
    leg: Leg,
    heard: Partial<ServerCall> = {},
  ): Promise<UpstreamReply> {
    const { server, circle } = this.parts;
    const params = { ...more, taskId: this.taskId };
    return server.call(circle, { method, params, cancellation: leg.cancellation, ...heard });
  }

  private cancel(): void {
    if (this.settled) return;
    this.settle();
    const leg = { deadline: Date.now() + CANCEL_MS };
    this.send('tasks/cancel', {}, leg, { patienceMs: CANCEL_MS }).catch(() => {});
  }

  private settle(): void {
    if (this.settled) return;
    this.settled = true;
    this.onSettled();
    for (const listener of this.listeners) listener();
  }
}

function cancelled(): UpstreamReply {
  return { ok: false, error: { code: ErrorCode.internal, message: 'The server cancelled the task' } };
}

function paceOf({ pollIntervalMs }: JsonObject): number {
  const wanted = typeof pollIntervalMs === 'number' ? pollIntervalMs : POLL_MS.usual;
  return Math.min(POLL_MS.most, Math.max(POLL_MS.least, wanted));
}
