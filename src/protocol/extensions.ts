import { ErrorCode, isObject, type JsonObject, type JsonRpcError } from './jsonrpc.ts';

export const TASKS = 'io.modelcontextprotocol/tasks';
const APPS = 'io.modelcontextprotocol/ui';
/** The extensions whose methods and keys pass through; of others neither side hears from us. */
const RELAYED = [TASKS, APPS];

/** The extensions in a map of capabilities that we relay, with their settings as they are. */
export function relayedExtensions(extensions: JsonObject): JsonObject {
  return Object.fromEntries(
    RELAYED.filter((id) => isObject(extensions[id])).map((id) => [id, extensions[id]]),
  );
}

/** Whether capabilities, of either side, declare an extension. */
export function declares(capabilities: JsonObject, id: string): boolean {
  return isObject(capabilities.extensions) && isObject(capabilities.extensions[id]);
}

/** -32021: the request needs an extension that the client did not declare. */
export function extensionFault(id: string): JsonRpcError {
  return {
    code: ErrorCode.missingClientCapability,
    message: `This request needs the extension ${id}, which the client did not declare`,
    data: { requiredCapabilities: { extensions: { [id]: {} } } },
  };
}
