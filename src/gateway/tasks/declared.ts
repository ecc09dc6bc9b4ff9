import { TASKS } from '../../protocol/extensions.ts';
import { ErrorCode, isObject, type JsonRpcError } from '../../protocol/jsonrpc.ts';
import type { Circle } from '../../upstream/circle.ts';

/** The same circle, whose client now takes tasks: it is us who waits for them. */
export function withTasks(circle: Circle): Circle {
  const { relayed } = circle;
  const { extensions } = relayed.modern;
  const declared = { ...(isObject(extensions) ? extensions : {}), [TASKS]: {} };
  return { ...circle, relayed: { ...relayed, modern: { ...relayed.modern, extensions: declared } } };
}

/** Whether a server refused a call because it takes it as a task only (SEP-2663, capability negotiation). */
export function needsTasks({ code, data }: JsonRpcError): boolean {
  if (code !== ErrorCode.missingClientCapability || !isObject(data)) return false;
  const { requiredCapabilities } = data;
  if (!isObject(requiredCapabilities) || !isObject(requiredCapabilities.extensions)) return false;
  return isObject(requiredCapabilities.extensions[TASKS]);
}
