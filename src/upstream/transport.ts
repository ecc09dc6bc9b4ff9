import type {
  JsonRpcMessage,
  JsonRpcNotification,
  JsonRpcRequest,
  JsonRpcResponse,
} from '../protocol/jsonrpc.ts';
import type { Written } from '../protocol/model.ts';

/**
 * Why an upstream did not answer. `message` is fit for a user: it names the server's fault and the fix, never a
 * secret. `sent` says whether the request may have reached the server.
 */
export class UpstreamFault extends Error {
  readonly kind: FaultKind;
  readonly sent: boolean;
  /** HTTP status when the server answered with one. */
  readonly status: number | undefined;
  /** First bytes of the HTTP body, for the era probe alone; never shown. */
  readonly body: string | undefined;
  /** `WWW-Authenticate` of a 401 or 403. */
  readonly challenge: string | undefined;
  /** Path of our own page on which the caller's user can sign in. */
  readonly page: string | undefined;
  /** When trying again can help, ms from now. */
  readonly retryAfterMs: number | undefined;

  constructor(
    kind: FaultKind,
    message: string,
    more: Partial<
      Pick<UpstreamFault, 'sent' | 'status' | 'body' | 'challenge' | 'page' | 'retryAfterMs'>
    > = {},
  ) {
    super(message);
    this.name = 'UpstreamFault';
    this.kind = kind;
    this.sent = more.sent ?? false;
    this.status = more.status;
    this.body = more.body;
    this.challenge = more.challenge;
    this.page = more.page;
    this.retryAfterMs = more.retryAfterMs;
  }
}

/**
 * unreachable: no channel (refused, DNS, executable missing, child exited) · timeout · needs_auth: 401 or 403
 * needs_scope: 403 for want of scopes that a sign-in can bring · forbidden: 403 that no sign-in ends
 * http: any other HTTP status that is no answer · session_lost: 404 for our session id · protocol: the bytes were no
 * valid JSON-RPC · too_large: over the byte cap · abandoned: the caller gave up · capacity: no slot in time
 */
export type FaultKind =
  | 'unreachable'
  | 'timeout'
  | 'needs_auth'
  | 'needs_scope'
  | 'forbidden'
  | 'http'
  | 'session_lost'
  | 'protocol'
  | 'too_large'
  | 'abandoned'
  | 'capacity';

/** It passes when somebody has acted, and not with time. */
export function isAboutAccess({ kind }: UpstreamFault): boolean {
  return kind === 'needs_auth' || kind === 'needs_scope' || kind === 'forbidden';
}

export type ExchangeOptions = {
  /** Extra request headers; only HTTP transports send them. */
  headers?: Record<string, string>;
  /** Cap on one answer message in bytes; a larger one is a `too_large` fault of this exchange alone. */
  maxBytes: number;
  /** It stays open until somebody ends it: it may not use up what short requests need. */
  lasting?: boolean;
  /** Notifications and requests that arrive on this exchange's own stream (HTTP only; stdio has one stream for all). */
  onMessage?: (message: JsonRpcRequest | JsonRpcNotification) => void;
};

/** One request under way. Plain object instead of an AbortSignal: a signal per call is measurable on the hot path. */
export type Exchange = {
  /** Resolves with the answer whose id is the request's; rejects with an UpstreamFault. */
  readonly answer: Promise<Answer>;
  /** Gives up: rejects `answer` with the fault, frees what the exchange holds. Later bytes are ignored. Idempotent. */
  abandon(fault: UpstreamFault): void;
};

export type Answer = {
  message: JsonRpcResponse;
  /** The result as the server wrote it, when it may travel on like that. */
  written?: Written | undefined;
  /** Response headers in lower case (HTTP only, and only on request of the dialler: `mcp-session-id`). */
  sessionId?: string;
  /** HTTP status, when it was not 200: a JSON-RPC error may ride on a 4xx. */
  status?: number;
};

export type TransportEvents = {
  /** A message that belongs to no exchange: unsolicited notifications and requests, and for stdio every non-response. */
  onMessage(message: JsonRpcMessage): void;
  /** The stream of what the server says unasked was lost and is open again: something may have been missed. */
  onReopened?(): void;
  /** The channel is gone. Called exactly once, after every exchange in flight was rejected; also after close(). */
  onClosed(fault: UpstreamFault): void;
};

/** Moves JSON-RPC messages to and from one upstream server. Below eras: it knows no MCP method. */
export interface Transport {
  readonly kind: 'stdio' | 'http' | 'sse';
  /** Spawns the process or opens the stream; for plain HTTP a no-op. Rejects with an UpstreamFault. */
  open(deadlineMs: number): Promise<void>;
  /** Sends one request. Request ids are unique on this transport (the connection sees to that). */
  exchange(request: JsonRpcRequest, options: ExchangeOptions): Exchange;
  /** Sends a notification or a response to a server's request. Rejects with an UpstreamFault. */
  send(message: JsonRpcMessage, options?: { headers?: Record<string, string> }): Promise<void>;
  /** Ends it: closes stdin then SIGTERM then SIGKILL of the group (stdio), aborts streams (HTTP). Idempotent, never rejects. */
  close(): Promise<void>;
  /** What `describe server` shows. */
  diagnostics(): { pid?: number; stderr?: string[] };
}
