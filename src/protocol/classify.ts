import { decodeHeaderValue, type HeaderBag, standardHeaderFault } from './headers.ts';
import {
  asMessage,
  ErrorCode,
  isObject,
  type JsonObject,
  type JsonRpcError,
  type JsonRpcNotification,
  type JsonRpcRequest,
  type JsonRpcResponse,
} from './jsonrpc.ts';
import { isLegacyRevision, Meta, MODERN_REVISION, SUPPORTED_REVISIONS } from './revisions.ts';

/** What a POST body is, judged by its own claims and never by its method (2026-07-28 basic/versioning). */
export type Classified =
  | { era: 'legacy'; kind: 'request'; message: JsonRpcRequest; revision: string | undefined }
  | { era: 'legacy'; kind: 'notification'; message: JsonRpcNotification; revision: string | undefined }
  | { era: 'legacy'; kind: 'response'; message: JsonRpcResponse; revision: string | undefined }
  | { era: 'modern'; kind: 'request'; message: JsonRpcRequest }
  | { era: 'modern'; kind: 'notification'; message: JsonRpcNotification }
  | { era: 'rejected'; status: 400; id: string | number | null; error: JsonRpcError };

/** Sorts a parsed body. Never throws, whatever the value. */
export function classify(body: unknown, headers: HeaderBag): Classified {
  if (Array.isArray(body)) {
    return reject(null, ErrorCode.invalidRequest, 'Batches are not part of MCP: send one message a request');
  }
  const sorted = asMessage(body);
  if (!sorted) return reject(idOf(body), ErrorCode.invalidRequest, 'Not a JSON-RPC 2.0 message');
  const id = idOf(sorted.message);
  const claim = versionClaim(sorted.message, headers, id);
  if (claim.era === 'rejected') return claim;
  if (claim.era === 'legacy') return { ...sorted, era: 'legacy', revision: claim.revision };
  if (sorted.kind === 'response') {
    return reject(null, ErrorCode.invalidRequest, `A client of ${MODERN_REVISION} sends no responses`);
  }
  if (sorted.kind === 'notification') return { ...sorted, era: 'modern' };
  const fault = envelopeFault(sorted.message.params) ?? headerFault(sorted.message, headers);
  return fault ? reject(id, fault.code, fault.message) : { ...sorted, era: 'modern' };
}

type Claim =
  | { era: 'legacy'; revision: string | undefined }
  | { era: 'modern' }
  | (Classified & { era: 'rejected' });

function versionClaim(
  message: { params?: JsonObject } | JsonRpcResponse,
  headers: HeaderBag,
  id: string | number | null,
): Claim {
  const rawHeader = headers['mcp-protocol-version'];
  if (rawHeader !== undefined && typeof rawHeader !== 'string') {
    return reject(id, ErrorCode.headerMismatch, 'Header mismatch: MCP-Protocol-Version is given twice');
  }
  const header = rawHeader === undefined ? undefined : decodeHeaderValue(rawHeader);
  const params = 'params' in message ? message.params : undefined;
  const meta = isObject(params?._meta) ? params._meta : undefined;
  const claimed = meta?.[Meta.protocolVersion];
  if (claimed === undefined) {
    if (header === undefined && rawHeader === undefined) return { era: 'legacy', revision: undefined };
    if (header !== undefined && isLegacyRevision(header)) return { era: 'legacy', revision: header };
    // A response or notification carries no envelope in which to repeat the version.
    if (header === MODERN_REVISION) return { era: 'modern' };
    return unsupported(id, header ?? '');
  }
  if (rawHeader === undefined) {
    return reject(id, ErrorCode.headerMismatch, 'Header mismatch: MCP-Protocol-Version is missing');
  }
  if (header !== claimed) {
    return reject(
      id,
      ErrorCode.headerMismatch,
      `Header mismatch: MCP-Protocol-Version does not match _meta["${Meta.protocolVersion}"]`,
    );
  }
  return claimed === MODERN_REVISION ? { era: 'modern' } : unsupported(id, header);
}

function envelopeFault(params: JsonObject | undefined): JsonRpcError | undefined {
  const meta = params?._meta;
  const missing = !isObject(meta)
    ? '_meta'
    : meta[Meta.protocolVersion] === undefined
      ? `_meta["${Meta.protocolVersion}"]`
      : !isObject(meta[Meta.clientCapabilities])
        ? `_meta["${Meta.clientCapabilities}"]`
        : undefined;
  if (!missing) return undefined;
  return { code: ErrorCode.invalidParams, message: `params.${missing} is missing or has the wrong type` };
}

function headerFault(message: JsonRpcRequest, headers: HeaderBag): JsonRpcError | undefined {
  const fault = standardHeaderFault(message.method, message.params, headers);
  return fault === undefined ? undefined : { code: ErrorCode.headerMismatch, message: fault };
}

function unsupported(id: string | number | null, requested: string): Classified & { era: 'rejected' } {
  return reject(id, ErrorCode.unsupportedProtocolVersion, 'Unsupported protocol version', {
    supported: SUPPORTED_REVISIONS,
    requested,
  });
}

function reject(
  id: string | number | null,
  code: number,
  message: string,
  data?: unknown,
): Classified & { era: 'rejected' } {
  const error: JsonRpcError = data === undefined ? { code, message } : { code, message, data };
  return { era: 'rejected', status: 400, id, error };
}

function idOf(value: unknown): string | number | null {
  const id = isObject(value) ? value.id : undefined;
  return typeof id === 'string' || (typeof id === 'number' && Number.isFinite(id)) ? id : null;
}
