import { Cancellation } from '../../base/cancellation.ts';
import type { InputAnswers } from '../../protocol/input-requests.ts';
import { ErrorCode, type JsonObject, type JsonRpcError } from '../../protocol/jsonrpc.ts';
import { moveRelated, relatedTo } from '../../protocol/related-task.ts';
import type { SuspendedCall, UpstreamReply } from '../../upstream/calls.ts';
import type { Circle } from '../../upstream/circle.ts';
import type { Leg } from '../../upstream/live-call.ts';
import type { ServerCall } from '../../upstream/server.ts';
import { UpstreamFault } from '../../upstream/transport.ts';
import { type Callee, calledBy } from './callee.ts';
import { pause } from './pause.ts';

/** How long `tasks/result` waits for a task that works on, ms. */
const RESULT_MS = 600_000;
const STILL_RUNNING: JsonRpcError = {
  code: ErrorCode.internal,
  message: 'The task is still running: follow it with tasks/get and fetch its result again later',
};

/** A task under both its ids. */
export type TwoIds = { ours: string; theirs: string };

/** The server, spoken to of one task in its own terms and answering in those of its client. */
export function relayOf(server: Callee, circle: Circle, ids: TwoIds): Callee {
  return calledBy(server, async (_circle, call) => {
    const params = moveRelated({ ...call.params, taskId: ids.theirs }, undefined);
    if (call.method !== 'tasks/result')
      return moved(await server.call(circle, { ...call, params }), ids, false);
    return bounded(call, async (cancellation) =>
      moved(
        await server.call(circle, { ...call, params, cancellation, patienceMs: 2 * RESULT_MS }),
        ids,
        true,
      ),
    );
  });
}

/** Waits no longer than anybody should. It is our patience that ends, which is no fault of the server. */
async function bounded(
  call: ServerCall,
  work: (cancellation: Cancellation) => Promise<UpstreamReply>,
): Promise<UpstreamReply> {
  const cancellation = new Cancellation();
  const offCancel = call.cancellation?.onCancel((reason) => cancellation.cancel(reason));
  const over = new Cancellation();
  const waiting = pause(RESULT_MS, over).then(
    () => cancellation.cancel(STILL_RUNNING.message),
    () => {},
  );
  try {
    return await work(cancellation);
  } catch (error) {
    const ours = error instanceof UpstreamFault && error.message === STILL_RUNNING.message;
    if (!ours) throw error;
    return { ok: false, error: STILL_RUNNING };
  } finally {
    offCancel?.();
    over.cancel('answered');
    await waiting;
  }
}

/** A reply about a task, with our id of it in place of the server's. */
function moved(reply: UpstreamReply, ids: TwoIds, isResult: boolean): UpstreamReply {
  if (reply.ok === 'suspended') return { ok: 'suspended', call: movedCall(reply.call, ids) };
  if (!reply.ok) {
    const message = reply.error.message.replaceAll(ids.theirs, ids.ours);
    return { ok: false, error: { ...reply.error, message } };
  }
  if (isResult) return { ok: true, result: relatedTo(reply.result, ids.ours) };
  return { ok: true, result: { ...moveRelated(reply.result, ids.ours), taskId: ids.ours } };
}

function movedCall(call: SuspendedCall, ids: TwoIds): SuspendedCall {
  const requests = Object.entries(call.requests).map(([key, { method, params }]) => [
    key,
    params ? { method, params: moveRelated(params, ids.ours) } : { method },
  ]);
  const longer = (leg: Leg): Leg => ({ ...leg, deadline: Date.now() + RESULT_MS });
  return {
    requests: Object.fromEntries(requests),
    whenSettled: (listener) => call.whenSettled(listener),
    resume: async (answers, leg) =>
      moved(await call.resume(movedAnswers(answers, ids.theirs), longer(leg)), ids, true),
    decline: async (reason, leg) => moved(await call.decline(reason, longer(leg)), ids, true),
  };
}

/** A client's answer names the task by our id. */
function movedAnswers({ results, errors }: InputAnswers, theirs: string): InputAnswers {
  const entries = Object.entries(results).map(([key, result]): [string, JsonObject] => [
    key,
    moveRelated(result, theirs),
  ]);
  return { results: Object.fromEntries(entries), errors };
}
