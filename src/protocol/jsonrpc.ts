/** JSON-RPC 2.0 as MCP uses it: no batches, ids are strings or integers, params are objects. */
export type JsonObject = { [key: string]: unknown };
export type RequestId = string | number;

export type JsonRpcRequest = { jsonrpc: '2.0'; id: RequestId; method: string; params?: JsonObject };
export type JsonRpcNotification = { jsonrpc: '2.0'; method: string; params?: JsonObject };
export type JsonRpcError = { code: number; message: string; data?: unknown };
export type JsonRpcSuccess = { jsonrpc: '2.0'; id: RequestId; result: JsonObject };
export type JsonRpcFailure = { jsonrpc: '2.0'; id?: RequestId | null; error: JsonRpcError };
export type JsonRpcResponse = JsonRpcSuccess | JsonRpcFailure;
export type JsonRpcMessage = JsonRpcRequest | JsonRpcNotification | JsonRpcResponse;

/** Error codes of JSON-RPC and of MCP (2026-07-28 basic/index#error-codes). */
export const ErrorCode = {
  parse: -32700,
  invalidRequest: -32600,
  methodNotFound: -32601,
  invalidParams: -32602,
  internal: -32603,
  legacyResourceNotFound: -32002,
  urlElicitationRequired: -32042,
  headerMismatch: -32020,
  missingClientCapability: -32021,
  unsupportedProtocolVersion: -32022,
} as const;

export function isObject(value: unknown): value is JsonObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

export function isRequestId(value: unknown): value is RequestId {
  return typeof value === 'string' || (typeof value === 'number' && Number.isSafeInteger(value));
}

/** Sorts a parsed value into one of the three message shapes; anything else is undefined. Never throws. */
export function asMessage(
  value: unknown,
):
  | { kind: 'request'; message: JsonRpcRequest }
  | { kind: 'notification'; message: JsonRpcNotification }
  | { kind: 'response'; message: JsonRpcResponse }
  | undefined {
  if (!isObject(value) || value.jsonrpc !== '2.0') return undefined;
  if (typeof value.method === 'string') {
    if (value.params !== undefined && !isObject(value.params)) return undefined;
    if ('result' in value || 'error' in value) return undefined;
    if (!('id' in value)) return { kind: 'notification', message: value as JsonRpcNotification };
    return isRequestId(value.id) ? { kind: 'request', message: value as JsonRpcRequest } : undefined;
  }
  if ('method' in value) return undefined;
  const hasResult = isObject(value.result);
  const hasError = isObject(value.error) && typeof value.error.code === 'number';
  if (hasResult === hasError) return undefined;
  if (hasResult && !isRequestId(value.id)) return undefined;
  return { kind: 'response', message: value as JsonRpcResponse };
}
