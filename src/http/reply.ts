import type { ServerResponse } from 'node:http';
import type { Sink } from '../gateway/scope.ts';
import type { JsonObject, JsonRpcError, RequestId } from '../protocol/jsonrpc.ts';
import type { OpenStream } from './open-streams.ts';

/** A client that reads slower than its call reports is cut off here, bytes. */
const MAX_UNREAD = 4 * 1024 * 1024;
/** A call that takes this long gets its stream, so that nothing on the way takes it for dead, ms. */
const STREAM_AFTER_MS = 10_000;

/**
 * The answer to one POST. It is one JSON object unless something has to be said before the end; then it becomes an
 * event stream, if the client takes one.
 */
export class Reply implements Sink, OpenStream {
  readonly principal: string;
  readonly tokenId: string | undefined;
  readonly lasting = false;
  private readonly res: ServerResponse;
  private readonly takesStream: boolean;
  private readonly startedAt = Date.now();
  private streaming = false;

  constructor(res: ServerResponse, takesStream: boolean, principal: string, tokenId: string | undefined) {
    this.res = res;
    this.takesStream = takesStream;
    this.principal = principal;
    this.tokenId = tokenId;
  }

  get ended(): boolean {
    return this.res.writableEnded || this.res.destroyed;
  }

  notify(method: string, params: JsonObject): void {
    if (!this.takesStream || this.ended) return;
    this.startStream();
    this.writeEvent(JSON.stringify({ jsonrpc: '2.0', method, params }));
  }

  /** Whether the client can be asked something on the way to its answer. */
  get canAsk(): boolean {
    return this.takesStream && !this.ended;
  }

  /** Sends a request of ours; its answer comes by another way. */
  request(id: string, method: string, params: JsonObject | undefined): void {
    this.startStream();
    this.writeEvent(JSON.stringify({ jsonrpc: '2.0', id, method, ...(params && { params }) }));
  }

  /** Sends the answer; `text` is the whole JSON-RPC message. */
  finish(status: number, text: string, headers?: Record<string, string>): void {
    if (this.ended) return;
    if (this.streaming) {
      this.writeEvent(text);
      this.res.end();
      return;
    }
    this.res.writeHead(status, {
      'content-type': 'application/json',
      'content-length': Buffer.byteLength(text),
      'cache-control': 'no-store',
      'x-content-type-options': 'nosniff',
      ...headers,
    });
    this.res.end(text);
  }

  keepAlive(now: number): void {
    if (!this.takesStream || this.ended || now - this.startedAt < STREAM_AFTER_MS) return;
    this.startStream();
    this.res.write(':\n\n');
  }

  /** Without an answer there is no good order: the client sees a lost connection, whoever runs the call too. */
  end(): void {
    this.res.destroy();
  }

  /** Calls back when the client goes away before it has its answer. */
  onLost(listener: () => void): void {
    this.res.on('close', () => {
      if (!this.res.writableFinished) listener();
    });
  }

  /** From now on the answer is a stream. */
  startStream(): void {
    if (this.streaming) return;
    this.streaming = true;
    startEventStream(this.res);
  }

  private writeEvent(text: string): void {
    if (this.res.writableLength > MAX_UNREAD) this.res.destroy();
    else this.res.write(`event: message\ndata: ${text}\n\n`);
  }
}

export function startEventStream(res: ServerResponse): void {
  res.writeHead(200, {
    'content-type': 'text/event-stream',
    'cache-control': 'no-store',
    'x-accel-buffering': 'no',
    'x-content-type-options': 'nosniff',
  });
}

export function errorText(id: RequestId | null | undefined, error: JsonRpcError): string {
  return JSON.stringify({ jsonrpc: '2.0', id: id ?? null, error });
}
