/**
 * A call on a legacy server that may ask its caller something before it answers.
 *
 * running    the request is out; the leg's deadline counts
 * asking     the server pushed one or more requests: the leg ended with them, nothing counts but the time to live
 * settled    answered, failed or given up; terminal
 *
 * Requests that arrive in one burst are asked together. An answer of the server while it is asking is kept for the
 * next leg: the server no longer wanted to know.
 */
import type { Cancellation } from '../base/cancellation.ts';
import { embeddable, type InputAnswers, type InputRequests } from '../protocol/input-requests.ts';
import { ErrorCode, type JsonRpcRequest, type JsonRpcResponse } from '../protocol/jsonrpc.ts';
import { type Answer, type Exchange, type Transport, UpstreamFault } from './transport.ts';

/** One stretch of waiting for the server. */
export type Leg = { deadline: number; cancellation?: Cancellation };

export type LegEnd = { answer: Answer } | { asking: LiveCall };

const BURST_MS = 5;
/** How long a caller may take to answer, ms. */
const TIME_TO_LIVE_MS = 600_000;
const MAX_ASKED = 32;

export class LiveCall {
  private readonly transport: Transport;
  private readonly exchange: Exchange;
  private readonly requestId: number;
  private readonly asked = new Map<string, JsonRpcRequest>();
  private readonly answer: Promise<Answer>;
  private settled = false;
  private wake: (() => void) | undefined;
  private lifetime: NodeJS.Timeout | undefined;
  private nextKey = 1;
  private readonly listeners: (() => void)[] = [];

  constructor(transport: Transport, exchange: Exchange, requestId: number, onSettled: () => void) {
    this.transport = transport;
    this.exchange = exchange;
    this.requestId = requestId;
    this.answer = exchange.answer.finally(() => {
      this.settled = true;
      clearTimeout(this.lifetime);
      onSettled();
      for (const listener of this.listeners) listener();
    });
    // While it is asking nobody waits for the answer.
    this.answer.catch(() => {});
  }

  /** What the server wants to know, under the keys to answer it with. */
  get requests(): InputRequests {
    return Object.fromEntries([...this.asked].map(([key, request]) => [key, embeddable(request)]));
  }

  /** A request of the server that belongs to this call. */
  ask(request: JsonRpcRequest): void {
    if (this.asked.size >= MAX_ASKED) {
      this.refuse(request, 'too many requests at once');
      return;
    }
    this.asked.set(`input-${this.nextKey}`, request);
    this.nextKey += 1;
    if (this.asked.size === 1) setTimeout(() => this.wake?.(), BURST_MS);
  }

  whenSettled(listener: () => void): void {
    if (this.settled) listener();
    else this.listeners.push(listener);
  }

  /** Waits for the answer or for questions. Rejects with an UpstreamFault. */
  async run(leg: Leg): Promise<LegEnd> {
    clearTimeout(this.lifetime);
    const timer = setTimeout(
      () => this.giveUp(new UpstreamFault('timeout', 'no answer in time', { sent: true })),
      Math.max(1, leg.deadline - Date.now()),
    );
    const offCancel = leg.cancellation?.onCancel((reason) =>
      this.giveUp(new UpstreamFault('abandoned', reason, { sent: true })),
    );
    try {
      const questions = new Promise<undefined>((resolve) => {
        this.wake = () => resolve(undefined);
      });
      const answer = await Promise.race([this.answer, questions]);
      if (answer) return { answer };
      this.lifetime = setTimeout(
        () => this.giveUp(new UpstreamFault('timeout', 'the caller did not answer in time', { sent: true })),
        TIME_TO_LIVE_MS,
      ).unref();
      return { asking: this };
    } finally {
      this.wake = undefined;
      clearTimeout(timer);
      offCancel?.();
    }
  }

  /** Gives the server its answers and goes on; what was not answered is asked again. */
  async resume(answers: InputAnswers, leg: Leg): Promise<LegEnd> {
    for (const [key, request] of this.asked) {
      const result = answers.results[key];
      const error = answers.errors[key];
      if (!result && !error) continue;
      this.asked.delete(key);
      const reply: JsonRpcResponse = result
        ? { jsonrpc: '2.0', id: request.id, result }
        : { jsonrpc: '2.0', id: request.id, error: error! };
      if (!this.settled) await this.transport.send(reply);
    }
    return this.asked.size > 0 && !this.settled ? { asking: this } : this.run(leg);
  }

  /** The caller cannot be asked: the server hears so and may still answer without. */
  async decline(reason: string, leg: Leg): Promise<LegEnd> {
    for (const [key, request] of this.asked) {
      this.asked.delete(key);
      this.refuse(request, reason);
    }
    return this.run(leg);
  }

  giveUp(fault: UpstreamFault): void {
    if (this.settled) return;
    this.exchange.abandon(fault);
    const params = { requestId: this.requestId, reason: fault.message };
    this.transport.send({ jsonrpc: '2.0', method: 'notifications/cancelled', params }).catch(() => {});
  }

  private refuse(request: JsonRpcRequest, message: string): void {
    const error = { code: ErrorCode.methodNotFound, message };
    this.transport.send({ jsonrpc: '2.0', id: request.id, error }).catch(() => {});
  }
}
