import { isObject, type JsonObject } from './jsonrpc.ts';

/** Names the task that a message belongs to (2025-11-25 basic/utilities/tasks#related-task-metadata). */
const RELATED_TASK = 'io.modelcontextprotocol/related-task';

/** The id of the task that params or a result belong to. */
export function relatedTaskOf(holder: JsonObject | undefined): string | undefined {
  if (!isObject(holder?._meta)) return undefined;
  const related = holder._meta[RELATED_TASK];
  return isObject(related) && typeof related.taskId === 'string' ? related.taskId : undefined;
}

/** `holder` as a message of this task; without an id, as a message of none. */
export function relatedTo(holder: JsonObject, taskId: string | undefined): JsonObject {
  const { _meta, ...rest } = holder;
  const { [RELATED_TASK]: _, ...meta } = isObject(_meta) ? _meta : {};
  if (taskId !== undefined) return { ...rest, _meta: { ...meta, [RELATED_TASK]: { taskId } } };
  return Object.keys(meta).length > 0 ? { ...rest, _meta: meta } : rest;
}

/** The same message on the other side of us, where the task has another id; untouched when it names no task. */
export function moveRelated(holder: JsonObject, taskId: string | undefined): JsonObject {
  return relatedTaskOf(holder) === undefined ? holder : relatedTo(holder, taskId);
}
