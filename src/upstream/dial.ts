import type { Cancellation } from '../base/cancellation.ts';
import { ErrorCode, isObject, type JsonObject, type JsonRpcResponse } from '../protocol/jsonrpc.ts';
import type { Implementation } from '../protocol/model.ts';
import {
  type Era,
  isLegacyRevision,
  LATEST_LEGACY_REVISION,
  MODERN_REVISION,
} from '../protocol/revisions.ts';
import { codecs } from '../protocol/wire/table.ts';
import type { ServerSpec } from '../resources/spec.ts';
import type { Channel, Peer, Verdict } from './peer.ts';
import { type Answer, type Transport, type TransportEvents, UpstreamFault } from './transport.ts';

/** A stdio server that knows no `server/discover` may also not answer it; then the handshake is tried. */
const STDIO_PROBE_MS = 5_000;
const LISTEN_MS = 500;
const HANDSHAKE_MAX_BYTES = 1024 * 1024;

/** A transport that can carry a legacy session. */
export type SessionTransport = Transport & {
  setSession(id: string | undefined, revision: string | undefined): void;
  /** Opens the standalone stream for what the server says unasked. */
  listen(): Promise<void>;
};

export type Dialler = {
  self: Implementation;
  /** What a legacy server may ask the caller; a modern one hears it with each request. */
  capabilities: JsonObject;
  spec: ServerSpec;
  /** Takes what it was given in confidence out of what a server says. */
  hide(text: string): string;
  stdio(events: TransportEvents): Transport;
  http(events: TransportEvents): SessionTransport;
  sse(events: TransportEvents): Transport;
  /** Whoever wants the channel no longer does. */
  hangUp: Cancellation;
};

/**
 * Opens a channel and finds out which era the server speaks, as 2026-07-28 basic/versioning#backward-compatibility
 * says: modern first; a recognised modern error is proof of a modern server; 401, 403, 5xx and network faults prove
 * nothing; anything else is answered with the legacy handshake, and over HTTP then with the HTTP+SSE transport.
 */
export async function dial(
  dialler: Dialler,
  hint: Verdict | undefined,
  events: TransportEvents,
  deadline: number,
): Promise<Channel> {
  return dialler.spec.target.type === 'stdio'
    ? dialStdio(dialler, hint, events, deadline)
    : dialHttp(dialler, hint, events, deadline);
}

async function dialStdio(
  dialler: Dialler,
  hint: Verdict | undefined,
  events: TransportEvents,
  deadline: number,
): Promise<Channel> {
  const wanted = wantedEra(dialler.spec, hint);
  let attempt = new Attempt(dialler.stdio, events, dialler.hangUp);
  try {
    await attempt.transport.open(remaining(deadline));
    if (wanted !== 'legacy') {
      const probeMs =
        wanted === 'modern' ? remaining(deadline) : Math.min(STDIO_PROBE_MS, remaining(deadline) / 2);
      const seen = await discover(attempt.transport, dialler, probeMs);
      if (seen.peer) return attempt.settle(seen.peer);
      if (wanted === 'modern' || seen.refused) throw seen.fault ?? notModern();
      if (attempt.closed) {
        // Some servers exit on a request before the handshake: start over without asking.
        attempt = new Attempt(dialler.stdio, events, dialler.hangUp);
        await attempt.transport.open(remaining(deadline));
      }
    }
    return attempt.settle(await initialize(attempt.transport, dialler, deadline));
  } catch (error) {
    await attempt.abandon();
    throw error;
  }
}

async function dialHttp(
  dialler: Dialler,
  hint: Verdict | undefined,
  events: TransportEvents,
  deadline: number,
): Promise<Channel> {
  const wanted = wantedEra(dialler.spec, hint);
  if (hint?.transport === 'sse' && wanted === 'legacy') return dialSse(dialler, events, deadline);
  const attempt = new Attempt(dialler.http, events, dialler.hangUp);
  const transport = attempt.transport;
  try {
    await transport.open(remaining(deadline));
    if (wanted !== 'legacy') {
      const seen = await discover(transport, dialler, remaining(deadline));
      if (seen.peer) return attempt.settle(seen.peer);
      if (seen.conclusive || wanted === 'modern') throw seen.fault ?? notModern();
    }
    const peer = await initialize(transport, dialler, deadline);
    // A server that asks on the standalone stream must not ask before somebody listens there.
    await inTime(transport.listen(), LISTEN_MS);
    return attempt.settle(peer);
  } catch (error) {
    await attempt.abandon();
    const old = error instanceof UpstreamFault && error.kind === 'http' && isOldTransportStatus(error.status);
    if (!old || wanted === 'modern') throw error;
    return dialSse(dialler, events, deadline, error);
  }
}

async function dialSse(
  dialler: Dialler,
  events: TransportEvents,
  deadline: number,
  first?: UpstreamFault,
): Promise<Channel> {
  const attempt = new Attempt(dialler.sse, events, dialler.hangUp);
  try {
    await attempt.transport.open(remaining(deadline));
    return attempt.settle(await initialize(attempt.transport, dialler, deadline));
  } catch (error) {
    await attempt.abandon();
    throw first ?? error;
  }
}

/** Which era an HTTP server speaks now, asked on a channel of its own; undefined when that cannot be told. */
export async function probeEra(
  dialler: Pick<Dialler, 'http' | 'self' | 'hide' | 'hangUp'>,
  timeoutMs: number,
): Promise<Era | undefined> {
  const attempt = new Attempt(dialler.http, { onMessage: () => {}, onClosed: () => {} }, dialler.hangUp);
  try {
    await attempt.transport.open(timeoutMs);
    const seen = await discover(attempt.transport, dialler, timeoutMs);
    if (seen.peer) return 'modern';
    return seen.conclusive ? undefined : 'legacy';
  } catch {
    return undefined;
  } finally {
    await attempt.abandon();
  }
}

/** A transport that is not the connection's yet: its end is not reported until it has become the channel. */
class Attempt<T extends Transport> {
  readonly transport: T;
  closed: UpstreamFault | undefined;
  private settled = false;
  private readonly offHangUp: () => void;

  constructor(make: (events: TransportEvents) => T, events: TransportEvents, hangUp: Cancellation) {
    this.transport = make({
      onMessage: (message) => events.onMessage(message),
      onClosed: (fault) => {
        this.closed = fault;
        if (this.settled) events.onClosed(fault);
      },
      onReopened: () => {
        if (this.settled) events.onReopened?.();
      },
    });
    this.offHangUp = hangUp.onCancel(() => void this.transport.close());
  }

  settle(peer: Peer): Channel {
    if (this.closed) throw this.closed;
    this.settled = true;
    this.offHangUp();
    return { transport: this.transport, peer };
  }

  abandon(): Promise<void> {
    this.settled = false;
    this.offHangUp();
    return this.transport.close();
  }
}

function wantedEra(spec: ServerSpec, hint: Verdict | undefined): 'legacy' | 'modern' | undefined {
  if (spec.protocol === 'auto') return hint?.era === 'legacy' ? 'legacy' : undefined;
  return spec.protocol === MODERN_REVISION ? 'modern' : 'legacy';
}

/**
 * What a probe showed: the peer, or why there is none. `conclusive`: the handshake would meet the same fault, over
 * HTTP at least; `refused`: a modern server said no, so it is no legacy one.
 */
type Probe = { peer?: Peer; fault?: UpstreamFault; conclusive?: boolean; refused?: boolean };

async function discover(
  transport: Transport,
  dialler: Pick<Dialler, 'self' | 'hide'>,
  timeoutMs: number,
  again = true,
): Promise<Probe> {
  const method = 'server/discover';
  const params = codecs.modern.encodeRequest(method, {}, modernEnvelope(dialler.self));
  const headers = { 'mcp-protocol-version': MODERN_REVISION, 'mcp-method': method };
  let answer: Answer;
  try {
    answer = await ask(transport, { jsonrpc: '2.0', id: 'discover', method, params }, timeoutMs, headers);
  } catch (error) {
    if (error instanceof UpstreamFault) return { fault: error, conclusive: !isEraEvidence(error) };
    throw error;
  }
  const message = answer.message;
  if ('result' in message) {
    const { supportedVersions, capabilities, instructions, _meta } = message.result;
    if (!Array.isArray(supportedVersions) || !supportedVersions.includes(MODERN_REVISION)) return {};
    const meta = isObject(_meta) ? _meta : {};
    const serverInfo = meta['io.modelcontextprotocol/serverInfo'];
    return {
      peer: {
        era: 'modern',
        revision: MODERN_REVISION,
        capabilities: isObject(capabilities) ? capabilities : {},
        serverInfo: isObject(serverInfo) ? serverInfo : undefined,
        instructions: typeof instructions === 'string' ? instructions : undefined,
        stateful: false,
      },
    };
  }
  // A server that refuses the revision which it offers in the same breath is asked once more.
  if (again && offered(message).includes(MODERN_REVISION))
    return discover(transport, dialler, timeoutMs, false);
  const fault = modernRefusal(message, dialler);
  return fault ? { fault, conclusive: true, refused: true } : {};
}

/** A modern server that refuses our revision and offers no legacy one is a dead end, and says so. */
function modernRefusal(message: JsonRpcResponse, { hide }: Pick<Dialler, 'hide'>): UpstreamFault | undefined {
  if (!('error' in message)) return undefined;
  const { code, message: text } = message.error;
  if (code === ErrorCode.headerMismatch || code === ErrorCode.missingClientCapability) {
    return new UpstreamFault('protocol', `the server refused server/discover: ${hide(text)}`);
  }
  if (code !== ErrorCode.unsupportedProtocolVersion) return undefined;
  const supported = offered(message);
  if (supported.length === 0 || supported.some(isLegacyRevision)) return undefined;
  return new UpstreamFault('protocol', `the server speaks only ${hide(supported.join(', '))}`);
}

/** The revisions that a refusal of ours names as supported. */
function offered(message: JsonRpcResponse): string[] {
  if (!('error' in message) || message.error.code !== ErrorCode.unsupportedProtocolVersion) return [];
  const { data } = message.error;
  const supported = isObject(data) && Array.isArray(data.supported) ? data.supported : [];
  return supported.filter((one) => typeof one === 'string');
}

async function initialize(transport: Transport, dialler: Dialler, deadline: number): Promise<Peer> {
  const { protocol } = dialler.spec;
  const proposed = isLegacyRevision(protocol) ? protocol : LATEST_LEGACY_REVISION;
  const params = {
    protocolVersion: proposed,
    capabilities: dialler.capabilities,
    clientInfo: dialler.self,
  };
  const request = { jsonrpc: '2.0', id: 'initialize', method: 'initialize', params } as const;
  const answer = await ask(transport, request, remaining(deadline));
  const message = answer.message;
  if (!('result' in message)) {
    const status = answer.status;
    if (status !== undefined && status >= 400) {
      throw new UpstreamFault(
        'http',
        `the server refused initialize: ${dialler.hide(message.error.message)}`,
        { status },
      );
    }
    throw new UpstreamFault(
      'protocol',
      `the server refused initialize: ${dialler.hide(message.error.message)}`,
    );
  }
  const { protocolVersion, capabilities, serverInfo, instructions } = message.result;
  if (typeof protocolVersion !== 'string' || !isLegacyRevision(protocolVersion)) {
    throw new UpstreamFault(
      'protocol',
      `the server chose revision ${dialler.hide(JSON.stringify(protocolVersion))}`,
    );
  }
  if ('setSession' in transport) {
    (transport as SessionTransport).setSession(answer.sessionId, protocolVersion);
  }
  await transport.send({ jsonrpc: '2.0', method: 'notifications/initialized' });
  return {
    era: 'legacy',
    revision: protocolVersion,
    capabilities: isObject(capabilities) ? capabilities : {},
    serverInfo: isObject(serverInfo) ? serverInfo : undefined,
    instructions: typeof instructions === 'string' ? instructions : undefined,
    // Over HTTP a server that gives out no session id remembers nobody.
    stateful: !('setSession' in transport) || answer.sessionId !== undefined,
  };
}

async function ask(
  transport: Transport,
  request: { jsonrpc: '2.0'; id: string; method: string; params?: JsonObject },
  timeoutMs: number,
  headers?: Record<string, string>,
): Promise<Answer> {
  const exchange = transport.exchange(request, { maxBytes: HANDSHAKE_MAX_BYTES, headers });
  const timer = setTimeout(
    () =>
      exchange.abandon(
        new UpstreamFault('timeout', `no answer to ${request.method} in time`, { sent: true }),
      ),
    Math.max(1, timeoutMs),
  );
  try {
    return await exchange.answer;
  } finally {
    clearTimeout(timer);
  }
}

function modernEnvelope(self: Implementation) {
  return {
    revision: MODERN_REVISION,
    clientInfo: self,
    clientCapabilities: {},
    progressToken: undefined,
    logLevel: undefined,
  };
}

/** 401, 403, 5xx and network faults say nothing of a server's era; a 4xx or a body that is no answer does. */
function isEraEvidence(fault: UpstreamFault): boolean {
  if (fault.kind === 'protocol') return true;
  const { status = 0 } = fault;
  return fault.kind === 'http' && status >= 400 && status < 500 && status !== 429;
}

function isOldTransportStatus(status: number | undefined): boolean {
  return status === 400 || status === 404 || status === 405;
}

function notModern(): UpstreamFault {
  return new UpstreamFault('protocol', `the server does not speak ${MODERN_REVISION}; set protocol: auto`);
}

/** Waits for the work, but not longer than this; it goes on by itself. */
function inTime(work: Promise<void>, ms: number): Promise<void> {
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, ms);
    void work.then(() => {
      clearTimeout(timer);
      resolve();
    });
  });
}

function remaining(deadline: number): number {
  return Math.max(1, deadline - Date.now());
}
