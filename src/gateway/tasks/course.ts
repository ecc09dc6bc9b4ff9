import { declares, TASKS } from '../../protocol/extensions.ts';
import { isObject, type JsonObject } from '../../protocol/jsonrpc.ts';
import type { Envelope } from '../../protocol/model.ts';
import type { Era } from '../../protocol/revisions.ts';

/** How a tool of a server that runs calls as tasks of 2025-11-25 may be called; undefined on any other server. */
export type TaskSupport = 'required' | 'optional' | 'forbidden' | undefined;

/**
 * plain: as a call · relay: as the task that the client asked for · augment: as a task, which the client may get
 * hold: as a task that is waited for here · declare: as a call first, and as a task when the server takes it no other
 * way · refuse: the client wants a task, and the tool's server has none
 */
export type TaskCourse = 'plain' | 'relay' | 'augment' | 'hold' | 'declare' | 'refuse';

/** Whether a client speaks the tasks of 2025-11-25, which no other revision has. */
export function speaksLegacyTasks({ era, revision }: Envelope): boolean {
  return era === 'legacy' && revision === '2025-11-25';
}

/** Which way a tool call goes. `offered`: whether this surface offers tasks to such a client. */
export function courseOf(
  support: TaskSupport,
  server: Era | undefined,
  client: { envelope: Envelope; params: JsonObject },
  offered: () => boolean,
): TaskCourse {
  const { envelope, params } = client;
  if (envelope.era === 'modern') {
    if (support !== 'required') return 'plain';
    return declares({ extensions: envelope.clientCapabilities.extensions }, TASKS) ? 'augment' : 'hold';
  }
  if (speaksLegacyTasks(envelope)) {
    if (isObject(params.task) && support !== undefined) return 'relay';
    if (isObject(params.task) && offered()) return 'refuse';
    // It was told that the tool is only for tasks: the server itself answers a call that is none.
    if (support !== undefined) return 'plain';
  } else if (support === 'required') return 'hold';
  return server === 'legacy' ? 'plain' : 'declare';
}

/** How a tool may be called, from its definition and what its server said of itself. */
export function taskSupportOf(definition: JsonObject, era: Era, capabilities: JsonObject): TaskSupport {
  if (era !== 'legacy' || !takesTasks(capabilities)) return undefined;
  const { execution } = definition;
  const support = isObject(execution) ? execution.taskSupport : undefined;
  return support === 'required' || support === 'optional' ? support : 'forbidden';
}

/** Whether a legacy server runs tool calls as tasks (2025-11-25 basic/utilities/tasks#server-capabilities). */
export function takesTasks({ tasks }: JsonObject): boolean {
  if (!isObject(tasks) || !isObject(tasks.requests)) return false;
  const { tools } = tasks.requests;
  return isObject(tools) && isObject(tools.call);
}

/** Whether it also cancels them. */
export function cancelsTasks({ tasks }: JsonObject): boolean {
  return isObject(tasks) && isObject(tasks.cancel);
}
