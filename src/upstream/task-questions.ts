import { ErrorCode, type JsonRpcRequest } from '../protocol/jsonrpc.ts';
import type { Transport } from './transport.ts';

type Kept = { request: JsonRpcRequest; transport: Transport; timer: NodeJS.Timeout };

/** How long the question of a task waits for somebody who fetches the task's result, ms. */
const KEPT_MS = 600_000;
const MAX_KEPT = 256;

/**
 * Questions that legacy servers ask for a task, which may come on any stream and at a time when nobody waits for the
 * task's result (2025-11-25 basic/utilities/tasks#input-required-status). Each is kept until somebody does.
 */
export class TaskQuestions {
  private readonly kept = new Map<string, Kept[]>();
  private count = 0;

  /** False: as many as may be are waiting already. */
  keep(task: string, request: JsonRpcRequest, transport: Transport): boolean {
    if (this.count >= MAX_KEPT) return false;
    const timer = setTimeout(() => this.expire(task, one), KEPT_MS).unref();
    const one: Kept = { request, transport, timer };
    this.kept.set(task, [...(this.kept.get(task) ?? []), one]);
    this.count += 1;
    return true;
  }

  /** The questions of a task that came over this transport; those of an earlier one are past answering. */
  take(task: string, transport: Transport): JsonRpcRequest[] {
    const kept = this.kept.get(task) ?? [];
    this.kept.delete(task);
    this.count -= kept.length;
    for (const { timer } of kept) clearTimeout(timer);
    return kept.filter((one) => one.transport === transport).map((one) => one.request);
  }

  private expire(task: string, one: Kept): void {
    const rest = (this.kept.get(task) ?? []).filter((other) => other !== one);
    if (rest.length > 0) this.kept.set(task, rest);
    else this.kept.delete(task);
    this.count -= 1;
    const error = { code: ErrorCode.internal, message: 'nobody fetched the result of this task in time' };
    one.transport.send({ jsonrpc: '2.0', id: one.request.id, error }).catch(() => {});
  }
}
