import type { ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import type { Sink } from '../gateway/scope.ts';
import type { LegacySession } from '../gateway/sessions.ts';
import { type AuthenticatedCaller, callerKey } from '../identity/caller.ts';
import type { JsonObject, JsonRpcError, RequestId } from '../protocol/jsonrpc.ts';
import { startEventStream } from './event-stream-head.ts';
import type { OpenStream } from './open-streams.ts';
import type { ResumableStream } from './resumable-stream.ts';
import type { ResumableStreams } from './resumable-streams.ts';

const JSON_HEAD = [
  'content-type',
  'application/json',
  'cache-control',
  'no-store',
  'x-content-type-options',
  'nosniff',
];
/** A client that reads slower than its call reports is cut off here, bytes. */
const MAX_UNREAD = 4 * 1024 * 1024;
/** A call that takes this long gets its stream, so that nothing on the way takes it for dead, ms. */
const STREAM_AFTER_MS = 10_000;
/** The same where a stream is what saves the answer when the connection is lost, ms. */
const RESUMABLE_AFTER_MS = 300;

/**
 * The answer to one POST. It is one JSON object unless something has to be said before the end; then it becomes an
 * event stream, if the client takes one.
 */
export class Reply implements Sink, OpenStream {
  readonly caller: AuthenticatedCaller;
  readonly principal: string;
  readonly tokenId: string | undefined;
  readonly lasting = false;
  private readonly res: ServerResponse;
  private readonly takesStream: boolean;
  private readonly startedAt = Date.now();
  private readonly legacySession: LegacySession | undefined;
  private readonly resumable: ResumableStreams;
  private streaming = false;
  /** The stream, where the client may come back to it. */
  private stream: ResumableStream | undefined;

  constructor(
    res: ServerResponse,
    takesStream: boolean,
    caller: AuthenticatedCaller,
    session: LegacySession | undefined,
    resumable: ResumableStreams,
  ) {
    this.res = res;
    this.takesStream = takesStream;
    this.caller = caller;
    this.principal = callerKey(caller);
    this.tokenId = caller.credentialId;
    this.legacySession = session;
    this.resumable = resumable;
  }

  /** The connection that its request came on. */
  get socket(): Socket {
    return this.res.req.socket;
  }

  get ended(): boolean {
    return this.stream?.over ?? this.connectionEnded;
  }

  private get connectionEnded(): boolean {
    return this.res.writableEnded || this.res.destroyed;
  }

  notify(method: string, params: JsonObject): void {
    if (!this.takesStream || this.ended) return;
    this.startStream();
    this.writeEvent(JSON.stringify({ jsonrpc: '2.0', method, params }));
  }

  /** Whether the client can be asked something on the way to its answer. */
  get canAsk(): boolean {
    return this.takesStream && (this.stream?.reachable ?? !this.connectionEnded);
  }

  /** Sends a request of ours; its answer comes by another way. */
  request(id: string, method: string, params: JsonObject | undefined): void {
    this.startStream();
    this.writeEvent(JSON.stringify({ jsonrpc: '2.0', id, method, ...(params && { params }) }));
  }

  /** Sends the answer; `text` is the whole JSON-RPC message. */
  finish(status: number, text: string, headers?: Record<string, string>): void {
    if (this.ended) return;
    if (this.stream) {
      this.stream.finish(text);
      return;
    }
    if (this.streaming) {
      this.writeEvent(text);
      this.res.end();
      return;
    }
    // Bytes and a flat list of headers: from a text and an object Node makes the same at several times the cost.
    const bytes = Buffer.from(text);
    const head = [...JSON_HEAD, 'content-length', String(bytes.length)];
    for (const name in headers) head.push(name, headers[name]!);
    this.res.writeHead(status, head);
    this.res.end(bytes);
  }

  keepAlive(now: number): void {
    if (!this.takesStream || this.ended || now - this.startedAt < STREAM_AFTER_MS) return;
    this.startStream();
    if (this.stream) this.stream.keepAlive();
    else this.res.write(':\n\n');
  }

  /** A call that is not answered at once becomes a stream while there still is a connection to tell its id on. */
  watch(now: number): void {
    if (this.streaming || !this.legacySession || !this.takesStream) return;
    if (now - this.startedAt < RESUMABLE_AFTER_MS || this.connectionEnded) return;
    if (isPrimed(this.legacySession)) this.startStream();
  }

  /** Without an answer there is no good order: the client sees a lost connection, whoever runs the call too. */
  end(): void {
    if (this.stream) this.resumable.close(this.stream, 'destroy');
    else this.res.destroy();
  }

  /** Calls back when the client goes away before it has its answer, for good where it may come back. */
  onLost(listener: () => void): void {
    if (this.stream) {
      this.stream.onLost(listener);
      return;
    }
    this.res.on('close', () => {
      if (!this.res.writableFinished) listener();
    });
  }

  /** From now on the answer is a stream. */
  startStream(): void {
    if (this.streaming) return;
    this.streaming = true;
    const { legacySession: session, tokenId, res } = this;
    if (!session) startEventStream(res);
    else {
      const owner = { session: session.handle, tokenId };
      this.stream = this.resumable.open('call', owner, res, isPrimed(session));
    }
  }

  private writeEvent(text: string): void {
    if (this.stream) this.stream.send(text);
    else if (this.res.writableLength > MAX_UNREAD) this.res.destroy();
    else this.res.write(`event: message\ndata: ${text}\n\n`);
  }
}

/** Only since 2025-11-25 a client knows events without data (basic/transports#sending-messages). */
export function isPrimed(session: LegacySession): boolean {
  return session.envelope.revision === '2025-11-25';
}

export function errorText(id: RequestId | null | undefined, error: JsonRpcError): string {
  return JSON.stringify({ jsonrpc: '2.0', id: id ?? null, error });
}
