import { asInputRequests, capabilityFault, type InputRequests, pagesOf } from '../protocol/input-requests.ts';
import { ErrorCode, type JsonObject, type JsonRpcError } from '../protocol/jsonrpc.ts';
import { DEFAULT_LOG_LEVEL, isLoggedAt, isLogLevel } from '../protocol/log-levels.ts';
import type { NeutralOutcome } from '../protocol/model.ts';
import { LATEST_LEGACY_REVISION } from '../protocol/revisions.ts';
import type { HeardLeg, SuspendedCall, UpstreamReply, WantedLogs } from '../upstream/calls.ts';
import { UpstreamFault } from '../upstream/transport.ts';
import { type Continuation, type Interactions, withoutInputs } from './interactions.ts';
import { failed, invalidParams } from './refusals.ts';
import type { GatewayRequest } from './scope.ts';
import type { Callee } from './tasks/callee.ts';
import type { Tasks } from './tasks/tasks.ts';

/** What turns one era's way of going on with a request into the other's. */
export type Bridge = { interactions: Interactions; tasks: Tasks };

const UNATTENDED = 'The server asked for input, and a call that is made after its approval has nobody to ask';
const DECLINED = 'The server needs a page to be opened first, and the user did not want that';

/** What goes to the server, in its own names. */
export type Outgoing = { params: JsonObject; paramHeaders?: Record<string, string> };

/**
 * Sends a request to its server, or goes on with one that came back with answers, and turns the server's questions
 * into ours. Throws or rejects with an UpstreamFault.
 */
export function dispatch(
  bridge: Bridge,
  server: Callee,
  from: GatewayRequest,
  outgoing: Outgoing,
): NeutralOutcome | Promise<NeutralOutcome> {
  const continuation = bridge.interactions.resume(from, server.name);
  if ('refused' in continuation) return invalidParams(continuation.refused);
  if (continuation.kind === 'again') {
    const declined = Object.values(continuation.answers.results).some(({ action }) => action !== 'accept');
    if (declined) return failed({ code: ErrorCode.internal, message: DECLINED });
  }
  const refused =
    continuation.kind === 'upstream' ? Object.values(continuation.answers.errors)[0] : undefined;
  if (refused) {
    return failed({
      code: ErrorCode.internal,
      message: `The client refused what the server asked: ${refused.message}`,
    });
  }
  const replied = send(server, from, outgoing, continuation);
  return replied.then((reply) => settle(bridge, server, from, outgoing, reply));
}

function send(
  server: Callee,
  from: GatewayRequest,
  { params, paramHeaders }: Outgoing,
  continuation: Continuation,
): Promise<UpstreamReply> {
  if (continuation.kind === 'suspended') {
    return continuation.call.resume(continuation.answers, legOf(server, from));
  }
  return server.call(from.circle, {
    method: from.request.method,
    params: paramsOf(params, continuation),
    paramHeaders,
    logs: logsTo(from),
    onProgress: progressTo(from),
    cancellation: from.cancellation,
  });
}

function paramsOf(params: JsonObject, continuation: Continuation): JsonObject {
  if (continuation.kind === 'upstream') return withAnswers(params, continuation);
  return continuation.kind === 'again' ? withoutInputs(params) : params;
}

/** A modern server gets the answers, and its own state byte for byte. */
function withAnswers(
  params: JsonObject,
  { state, answers }: Continuation & { kind: 'upstream' },
): JsonObject {
  const sent: JsonObject = { ...withoutInputs(params), inputResponses: answers.results };
  if (state !== undefined) sent.requestState = state;
  return sent;
}

function settle(
  bridge: Bridge,
  server: Callee,
  from: GatewayRequest,
  outgoing: Outgoing,
  reply: UpstreamReply,
): NeutralOutcome | Promise<NeutralOutcome> {
  if (reply.ok === 'suspended') return ask(bridge, server, from, outgoing, reply.call);
  if (!reply.ok) {
    return reply.error.code === ErrorCode.urlElicitationRequired
      ? sendToPages(bridge, server, from, reply.error)
      : reply;
  }
  const type = reply.result.resultType;
  if (type === 'task') {
    const tool = String(outgoing.params.name);
    return { ok: true, result: bridge.tasks.created(from, server, tool, reply.result) };
  }
  if (type !== 'input_required') return reply;
  if (from.unattended) return failed({ code: ErrorCode.internal, message: UNATTENDED });
  const requests = asInputRequests(reply.result.inputRequests);
  const state = reply.result.requestState;
  const valid = requests && (state === undefined || typeof state === 'string') && mayAsk(bridge, from);
  if (!valid) throw new UpstreamFault('protocol', 'its input_required result is invalid', { sent: true });
  const refusal = capabilityFault(requests as InputRequests, from.circle.relayed);
  if (refusal) return failed(refusal);
  return { ok: true, result: bridge.interactions.asked(from, server.name, requests, state) };
}

async function ask(
  bridge: Bridge,
  server: Callee,
  from: GatewayRequest,
  outgoing: Outgoing,
  call: SuspendedCall,
): Promise<NeutralOutcome> {
  const refusal = capabilityFault(call.requests, from.circle.relayed);
  const parked =
    refusal || !mayAsk(bridge, from) ? undefined : bridge.interactions.park(from, server.name, call);
  if (parked) return { ok: true, result: parked };
  const reason = refusal?.message ?? 'the caller cannot be asked now';
  const reply = await call.decline(reason, legOf(server, from));
  const outcome = await settle(bridge, server, from, outgoing, reply);
  // A server that can do without the answer has the last word.
  const failedForIt = !outcome.ok || outcome.result.isError === true;
  return refusal && failedForIt ? failed(refusal) : outcome;
}

/**
 * A legacy server refused the request until its user was on a page. Who speaks the later revision is asked to open it
 * and sends the request again; who knows the error gets it as it is; to all others it is an error like any other.
 */
function sendToPages(
  bridge: Bridge,
  server: Callee,
  from: GatewayRequest,
  error: JsonRpcError,
): NeutralOutcome {
  const { era, revision } = from.request.envelope;
  const pages = pagesOf(error);
  const missing = pages && capabilityFault(pages, from.circle.relayed);
  const plain = failed({ code: ErrorCode.internal, message: error.message });
  if (!pages || !mayAsk(bridge, from)) return plain;
  if (era === 'legacy') return missing || revision !== LATEST_LEGACY_REVISION ? plain : failed(error);
  return missing
    ? failed(missing)
    : { ok: true, result: bridge.interactions.before(from, server.name, pages) };
}

/** Whether the caller of this request can be asked something at all. */
function mayAsk({ interactions }: Bridge, { request, unattended }: GatewayRequest): boolean {
  return !unattended && interactions.mayAsk(request.method);
}

function legOf(server: Callee, from: GatewayRequest): HeardLeg {
  const { cancellation } = from;
  return {
    deadline: server.legDeadline,
    cancellation,
    logs: logsTo(from),
    onProgress: progressTo(from),
  };
}

/** Relays the log of the call at the level its caller set. Who speaks the later revision and set none gets none. */
function logsTo(from: GatewayRequest): WantedLogs | undefined {
  const { era, logLevel } = from.request.envelope;
  const level = isLogLevel(logLevel) ? logLevel : DEFAULT_LOG_LEVEL;
  if (logLevel === undefined && era === 'modern') return undefined;
  const onLog = (params: JsonObject) => {
    if (isLoggedAt(level, params.level)) from.sink.notify('notifications/message', params);
  };
  return { level, explicit: logLevel !== undefined, onLog };
}

/** Relays progress under the caller's own token; a caller who gave none gets none. */
function progressTo(from: GatewayRequest): ((params: JsonObject) => void) | undefined {
  const { progressToken } = from.request.envelope;
  if (progressToken === undefined) return undefined;
  return (params) => from.sink.notify('notifications/progress', { ...params, progressToken });
}
