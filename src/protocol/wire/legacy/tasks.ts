import { isObject, type JsonObject } from '../../jsonrpc.ts';

/**
 * The tasks of 2025-11-25 in the shape of the later extension and back: two fields have other names, and the answer
 * that a call has become a task holds it one level deeper (basic/utilities/tasks#data-types).
 */
export function taskFromLegacy(method: string, result: JsonObject): JsonObject {
  if (method === 'tasks/get' || method === 'tasks/cancel') return later(result);
  const { task, ...rest } = result;
  const created = isObject(task) && typeof task.taskId === 'string' && result.content === undefined;
  return created ? { ...rest, ...later(task), resultType: 'task' } : result;
}

export function taskForLegacy(method: string, result: JsonObject): JsonObject {
  if (method === 'tasks/get' || method === 'tasks/cancel') return earlier(result);
  const { _meta, resultType: _, ...task } = result;
  return _meta === undefined ? { task: earlier(task) } : { task: earlier(task), _meta };
}

function later(task: JsonObject): JsonObject {
  const { ttl, pollInterval, ...rest } = task;
  const out: JsonObject = { ...rest, ttlMs: typeof ttl === 'number' ? ttl : null };
  if (pollInterval !== undefined) out.pollIntervalMs = pollInterval;
  return out;
}

function earlier(task: JsonObject): JsonObject {
  const { ttlMs, pollIntervalMs, ...rest } = task;
  const out: JsonObject = { ...rest, ttl: ttlMs ?? null };
  if (pollIntervalMs !== undefined) out.pollInterval = pollIntervalMs;
  return out;
}
