import type { IncomingMessage, ServerResponse } from 'node:http';
import { ErrorCode, type JsonRpcError } from '../protocol/jsonrpc.ts';
import { discardRest } from './json-body.ts';
import { errorText } from './reply.ts';

/** Takes a message that has no answer. */
export function accept(res: ServerResponse): void {
  res.writeHead(202, { 'content-length': 0 }).end();
}

/** An error as the answer to one message, before there is a reply to put it in. */
export function answerError(
  res: ServerResponse,
  status: number,
  id: string | number | null,
  error: JsonRpcError,
): void {
  sendJson(res, status, errorText(id, error));
}

/** A refusal before there is a message to answer: the body says why in the shape that MCP clients print. */
export function refuseHttp(
  res: ServerResponse,
  status: number,
  message: string,
  headers?: Record<string, string>,
): void {
  if (res.headersSent) {
    res.destroy();
    return;
  }
  sendJson(res, status, errorText(null, { code: ErrorCode.invalidRequest, message }), headers);
}

export function refuseMethod(res: ServerResponse): void {
  refuseHttp(res, 405, 'Send JSON-RPC by POST; GET and DELETE are for legacy sessions', {
    allow: 'POST, GET, DELETE',
  });
}

/** A body that is not taken, read or unread. */
export function refuseBody(
  req: IncomingMessage,
  res: ServerResponse,
  fault: { status: number; code: number; message: string },
): void {
  const text = errorText(null, { code: fault.code, message: fault.message });
  if (req.complete) {
    sendJson(res, fault.status, text);
    return;
  }
  // The answer goes out at once, and the connection ends when the client had a chance to read it.
  res.writeHead(fault.status, { ...jsonHead(text), connection: 'close' });
  res.write(text);
  void discardRest(req).then(() => res.end());
}

function sendJson(res: ServerResponse, status: number, text: string, headers?: Record<string, string>): void {
  if (res.headersSent || res.destroyed) return;
  res.writeHead(status, { ...jsonHead(text), ...headers });
  res.end(text);
}

function jsonHead(text: string) {
  return {
    'content-type': 'application/json',
    'content-length': Buffer.byteLength(text),
    'cache-control': 'no-store',
    'x-content-type-options': 'nosniff',
  };
}
