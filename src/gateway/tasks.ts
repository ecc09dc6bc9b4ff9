import type { Sealer } from '../base/seal.ts';
import { declares, extensionFault, TASKS } from '../protocol/extensions.ts';
import { isObject, type JsonObject } from '../protocol/jsonrpc.ts';
import type { NeutralOutcome } from '../protocol/model.ts';
import { UpstreamFault } from '../upstream/transport.ts';
import { failed, invalidParams } from './refusals.ts';
import { callerContext, type GatewayRequest } from './scope.ts';

type Sealed = { s: string; t: string };

const PURPOSE = 'task-id';

/**
 * Tasks of modern servers for modern clients (SEP-2663). The server alone decides that a call becomes a task; its id
 * leaves us sealed, with the server that it belongs to, for this principal on this surface.
 */
export class Tasks {
  private readonly sealer: Sealer;

  constructor(sealer: Sealer) {
    this.sealer = sealer;
  }

  /** A server's task handle as the caller gets it. Rejects one that the caller never said it could take. */
  created(from: GatewayRequest, server: string, result: JsonObject): JsonObject {
    const { taskId } = result;
    if (!declares(from.circle.relayed.modern, TASKS) || typeof taskId !== 'string' || taskId === '') {
      throw new UpstreamFault('protocol', 'it answered with a task that nobody asked for', { sent: true });
    }
    const sealed: Sealed = { s: server, t: taskId };
    return { ...result, taskId: this.sealer.seal(PURPOSE, JSON.stringify(sealed), callerContext(from)) };
  }

  /** Relays `tasks/get`, `tasks/update` and `tasks/cancel` to the server that the id names. */
  async relay(
    from: GatewayRequest,
    send: (server: string, params: JsonObject) => Promise<NeutralOutcome>,
  ): Promise<NeutralOutcome> {
    if (!declares(from.circle.relayed.modern, TASKS)) return failed(extensionFault(TASKS));
    const { taskId } = from.request.params;
    const task = typeof taskId === 'string' ? this.open(from, taskId) : undefined;
    if (!task) return invalidParams('Unknown task');
    const outcome = await send(task.s, { ...from.request.params, taskId: task.t });
    if (!outcome.ok || outcome.result.taskId === undefined) return outcome;
    return { ok: true, result: { ...outcome.result, taskId } };
  }

  private open(from: GatewayRequest, taskId: string): Sealed | undefined {
    const opened = this.sealer.open(PURPOSE, taskId, callerContext(from));
    if (!opened.ok) return undefined;
    const sealed: unknown = JSON.parse(opened.value);
    return isObject(sealed) ? (sealed as Sealed) : undefined;
  }
}
