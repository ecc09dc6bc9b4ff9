import type { Cancellation } from '../base/cancellation.ts';
import { encodeHeaderValue, mirroredName } from '../protocol/headers.ts';
import {
  ErrorCode,
  type JsonObject,
  type JsonRpcError,
  type JsonRpcNotification,
  type JsonRpcRequest,
  type JsonRpcResponse,
} from '../protocol/jsonrpc.ts';
import type { Implementation } from '../protocol/model.ts';
import { codecs } from '../protocol/wire/table.ts';
import type { Channel } from './peer.ts';
import { type ExchangeOptions, UpstreamFault } from './transport.ts';

export type UpstreamCall = {
  method: string;
  /** Payload in the upstream's own names; `_meta` holds only what passes through. */
  params: JsonObject;
  /** `Mcp-Param-*` headers that mirror the arguments (modern HTTP only). */
  paramHeaders?: Record<string, string>;
  logLevel?: string;
  /** Progress of this call, with its token taken out. Asking for none sends no token upstream. */
  onProgress?: (params: JsonObject) => void;
  cancellation?: Cancellation;
  /** Epoch ms. */
  deadline: number;
  maxBytes: number;
};

export type UpstreamReply = { ok: true; result: JsonObject } | { ok: false; error: JsonRpcError };

/** The calls under way on one connection: ids, progress tokens, deadlines, cancellation. */
export class Calls {
  private readonly self: Implementation;
  /** Takes what arrives on a call's own stream and is not its answer. */
  private readonly receive: (message: JsonRpcRequest | JsonRpcNotification) => void;
  private nextId = 1;
  private readonly progressListeners = new Map<number, (params: JsonObject) => void>();

  constructor(self: Implementation, receive: (message: JsonRpcRequest | JsonRpcNotification) => void) {
    this.self = self;
    this.receive = receive;
  }

  async run(channel: Channel, call: UpstreamCall): Promise<UpstreamReply> {
    const left = call.cancellation?.cancelled;
    // The caller went away while the server was being reached: nothing has been sent, so nothing will be.
    if (left !== undefined) throw new UpstreamFault('abandoned', left);
    const { peer, transport } = channel;
    const codec = codecs[peer.era];
    const id = this.nextId;
    this.nextId += 1;
    const params = codec.encodeRequest(call.method, call.params, {
      revision: peer.revision,
      clientInfo: this.self,
      clientCapabilities: {},
      progressToken: call.onProgress ? id : undefined,
      logLevel: call.logLevel,
    });
    const request: JsonRpcRequest = { jsonrpc: '2.0', id, method: call.method, params };
    const options: ExchangeOptions = { maxBytes: call.maxBytes, onMessage: this.receive };
    if (peer.era === 'modern' && transport.kind === 'http')
      options.headers = modernHeaders(call, peer.revision);
    if (call.onProgress) this.progressListeners.set(id, monotonic(call.onProgress));

    const exchange = transport.exchange(request, options);
    const giveUp = (fault: UpstreamFault) => {
      exchange.abandon(fault);
      if (peer.era === 'legacy' || transport.kind === 'stdio') {
        const notice = { requestId: id, reason: fault.message };
        transport.send({ jsonrpc: '2.0', method: 'notifications/cancelled', params: notice }).catch(() => {});
      }
    };
    const timer = setTimeout(
      () => giveUp(new UpstreamFault('timeout', `no answer to ${call.method} in time`, { sent: true })),
      Math.max(1, call.deadline - Date.now()),
    );
    const offCancel = call.cancellation?.onCancel((reason) =>
      giveUp(new UpstreamFault('abandoned', reason, { sent: true })),
    );
    try {
      const { message } = await exchange.answer;
      if ('error' in message) return { ok: false, error: codec.decodeError(call.method, message.error) };
      const decoded = codec.decodeResult(call.method, message.result);
      if (!decoded.ok)
        throw new UpstreamFault('protocol', `invalid answer: ${decoded.reason}`, { sent: true });
      return { ok: true, result: decoded.result };
    } finally {
      clearTimeout(timer);
      offCancel?.();
      if (call.onProgress) this.progressListeners.delete(id);
    }
  }

  /** Delivers a progress notification to the call whose token it carries. False: it is something else. */
  progress(method: string, params: JsonObject): boolean {
    if (method !== 'notifications/progress') return false;
    const { progressToken, ...rest } = params;
    if (typeof progressToken === 'number') this.progressListeners.get(progressToken)?.(rest);
    return true;
  }

  /** What a legacy server gets for a request of its own. */
  answerTo(request: JsonRpcRequest): JsonRpcResponse {
    if (request.method === 'ping') return { jsonrpc: '2.0', id: request.id, result: {} };
    const error = { code: ErrorCode.methodNotFound, message: `castellan does not offer ${request.method}` };
    return { jsonrpc: '2.0', id: request.id, error };
  }
}

function modernHeaders(call: UpstreamCall, revision: string): Record<string, string> {
  const headers: Record<string, string> = {
    'mcp-protocol-version': revision,
    'mcp-method': call.method,
    ...call.paramHeaders,
  };
  const name = mirroredName(call.method, call.params);
  if (name !== undefined) headers['mcp-name'] = encodeHeaderValue(name);
  return headers;
}

/** Progress must increase (2026-07-28 basic/patterns/progress): a report that does not is dropped. */
function monotonic(listener: (params: JsonObject) => void): (params: JsonObject) => void {
  let last = Number.NEGATIVE_INFINITY;
  return (params) => {
    const { progress } = params;
    if (typeof progress !== 'number' || progress <= last) return;
    last = progress;
    listener(params);
  };
}
