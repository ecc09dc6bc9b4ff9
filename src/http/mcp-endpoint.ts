import type { IncomingMessage, ServerResponse } from 'node:http';
import { Cancellation } from '../base/cancellation.ts';
import { messageOf, Refusal } from '../base/errors.ts';
import type { Logger } from '../base/logger.ts';
import type { Gateway } from '../gateway/gateway.ts';
import type { GatewayRequest } from '../gateway/scope.ts';
import type { LegacySession } from '../gateway/sessions.ts';
import type { GatewayOutcome } from '../gateway/tool-call.ts';
import { callerKey } from '../identity/caller.ts';
import type { HandshakeLimiter } from '../limits/handshake-limiter.ts';
import { type Classified, classify } from '../protocol/classify.ts';
import { relayedCapabilities } from '../protocol/input-requests.ts';
import { ErrorCode, isObject, type JsonObject, type JsonRpcRequest } from '../protocol/jsonrpc.ts';
import type { Implementation } from '../protocol/model.ts';
import type { Era } from '../protocol/revisions.ts';
import { codecs } from '../protocol/wire/table.ts';
import type { Surface } from '../resources/spec.ts';
import { Admission, type AdmissionDeps, type Admitted } from './admission.ts';
import { AnswerWriter } from './answer-writer.ts';
import { ClientSessions, type ClientSessionsDeps, SESSION_OVER, sessionIdOf } from './client-sessions.ts';
import { Dialogue } from './dialogue.ts';
import { bodyHeaderFault, parseBody, readBody } from './json-body.ts';
import { Listening } from './listening.ts';
import { accept, answerError, refuseBody, refuseHttp, refuseMethod } from './refused-requests.ts';
import { errorText, Reply } from './reply.ts';
import { RunningCalls } from './running-calls.ts';
import { SessionRequests } from './session-requests.ts';

export type McpEndpointDeps = AdmissionDeps &
  ClientSessionsDeps & {
    self: Implementation;
    gateway: Gateway;
    handshakes: HandshakeLimiter;
    /** The client of a legacy session has other roots now. */
    onRootsChanged(handle: string): void;
    logger: Logger;
    maxBodyBytes: number;
  };

/**
 * The MCP endpoint of every surface, both eras on one URL (2026-07-28 and 2025-11-25 basic/transports). The steps of
 * a request, in order: authenticate, admit to project and surface, read and parse once, classify, session, gateway.
 */
export class McpEndpoint {
  private readonly deps: McpEndpointDeps;
  private readonly writer: AnswerWriter;
  private readonly admission: Admission;
  private readonly dialogue: Dialogue;
  private readonly calls: RunningCalls;
  private readonly sessions: ClientSessions;
  private readonly sessionRequests: SessionRequests;
  private readonly listening: Listening;

  constructor(deps: McpEndpointDeps) {
    this.deps = deps;
    this.writer = new AnswerWriter(deps.self);
    this.admission = new Admission(deps);
    this.dialogue = new Dialogue(deps.gateway, this.admission);
    this.calls = new RunningCalls(deps.streams);
    this.sessions = new ClientSessions(deps);
    this.sessionRequests = new SessionRequests(deps.gateway, deps.sessions);
    this.listening = new Listening(deps);
  }

  /** Answers one request. */
  serve(req: IncomingMessage, res: ServerResponse, project: string, surface: Surface): void {
    this.attempt(res, () => {
      const found = this.admission.admit(req, res, project, surface);
      if (!(found instanceof Promise)) return found && this.enter(found);
      return found.then((admitted) => admitted && this.enter(admitted));
    });
  }

  /** A part of the way of one request. What goes wrong on it is answered; a promise is made only where one waits. */
  private attempt(res: ServerResponse, part: () => Promise<void> | void): void {
    try {
      part()?.catch((error) => this.fail(res, error));
    } catch (error) {
      this.fail(res, error);
    }
  }

  private fail(res: ServerResponse, error: unknown): void {
    if (!(error instanceof Refusal)) {
      this.deps.logger.error({ error: messageOf(error) }, 'a request failed unexpectedly');
      refuseHttp(res, 500, 'Internal error');
    } else if (error.kind === 'unavailable') {
      refuseHttp(res, 503, 'The database is not available; retry in a moment', { 'retry-after': '2' });
    } else refuseHttp(res, error.kind === 'forbidden' ? 403 : 400, error.message);
  }

  private enter(admitted: Admitted): Promise<void> | void {
    const { req, res } = admitted;
    if (req.method === 'GET' || req.method === 'DELETE') return this.onSession(admitted);
    if (req.method !== 'POST') return refuseMethod(res);
    const fault = bodyHeaderFault(req, this.deps.maxBodyBytes);
    if (fault) return refuseBody(req, res, fault);
    readBody(req, this.deps.maxBodyBytes, (body) => {
      if (Buffer.isBuffer(body)) this.attempt(res, () => this.post(admitted, body));
      else refuseBody(req, res, body);
    });
  }

  private post(admitted: Admitted, bytes: Buffer): Promise<void> | void {
    const { req, res } = admitted;
    const body = parseBody(bytes);
    if (!body.ok) return refuseBody(req, res, body.fault);
    if (this.deps.gateway.mayHold(admitted.scope)) admitted.written = bytes;
    const message = classify(body.value, req.headers);
    if (message.era === 'rejected') return answerError(res, message.status, message.id, message.error);
    return message.era === 'modern' ? this.modern(admitted, message) : this.legacy(admitted, message);
  }

  private modern(admitted: Admitted, message: Classified & { era: 'modern' }): Promise<void> | void {
    // The revision defines no notification from clients over HTTP; one that comes is taken and means nothing.
    if (message.kind === 'notification') return accept(admitted.res);
    if (message.message.method === 'subscriptions/listen')
      return this.listening.subscribe(admitted, message.message);
    const { caller } = admitted;
    return this.answer(admitted, 'modern', message.message, undefined, `principal:${callerKey(caller)}`);
  }

  private legacy(admitted: Admitted, classified: Classified & { era: 'legacy' }): Promise<void> | void {
    const { req, caller } = admitted;
    const initializing = classified.kind === 'request' && classified.message.method === 'initialize';
    const wait = initializing ? this.deps.handshakes.take(callerKey(caller)) : undefined;
    if (wait !== undefined) {
      const headers = { 'retry-after': String(Math.ceil(wait / 1_000)) };
      return refuseHttp(
        admitted.res,
        429,
        'This credential has begun too many sessions; wait and retry',
        headers,
      );
    }
    const id = req.headers['mcp-session-id'];
    if (id === undefined || initializing) return this.inSession(admitted, classified, undefined);
    const known = this.sessions.peek(admitted, id);
    if (known) return this.inSession(admitted, classified, known);
    return this.sessions
      .find(admitted, id)
      .then((session) => session && this.inSession(admitted, classified, session));
  }

  private inSession(
    admitted: Admitted,
    classified: Classified & { era: 'legacy' },
    session: LegacySession | undefined,
  ): Promise<void> | void {
    const { res, caller } = admitted;
    if (classified.kind === 'response') {
      if (session) this.dialogue.receive(session, classified.message);
      return accept(res);
    }
    if (classified.kind === 'notification') {
      if (session) this.notified(session, classified.message.method, classified.message.params);
      return accept(res);
    }
    const { message } = classified;
    return this.answer(
      admitted,
      'legacy',
      message,
      session,
      session?.handle ?? `principal:${callerKey(caller)}`,
    );
  }

  private async answer(
    admitted: Admitted,
    era: Era,
    message: JsonRpcRequest,
    session: LegacySession | undefined,
    circle: string,
  ): Promise<void> {
    const { req, res, caller, scope } = admitted;
    const codec = codecs[era];
    if (!codec.methods.has(message.method) && !codec.mayExtend(message.method)) {
      const error = {
        code: ErrorCode.methodNotFound,
        message: `Method not found: ${message.method.slice(0, 128)}`,
      };
      return answerError(res, codec.errorStatus(error.code), message.id, error);
    }
    const takesStream = req.headers.accept?.includes('text/event-stream') ?? false;
    const reply = new Reply(res, takesStream, caller, session, this.deps.streams.resumable);
    const cancellation = new Cancellation();
    const legacy = era === 'legacy' ? { session, id: message.id } : undefined;
    const release = this.calls.begin(reply, cancellation, legacy);
    if (!release) return refuseHttp(res, 429, 'Too many calls and streams are open', { 'retry-after': '1' });
    if (session && prefersStream(req.headers.accept)) reply.startStream();
    const request = codec.decodeRequest(message.method, message.params, session?.envelope);
    const from: GatewayRequest = {
      caller,
      scope,
      circle: {
        owner: caller.owner,
        principal: callerKey(caller),
        session: circle,
        relayed: relayedCapabilities(request.envelope.clientCapabilities),
      },
      session,
      request,
      mirrored: era === 'modern' ? req.headers : undefined,
      sink: reply,
      cancellation,
      traceparent: traceparentOf(req),
      host: req.headers.host,
      issuers: this.deps.issuers,
      onHold: admitted.written && {
        written: admitted.written,
        origin: this.deps.issuers.of(req.headers.host),
        canAsk: () => era === 'modern' || (session !== undefined && reply.canAsk),
      },
    };
    try {
      let outcome = await (this.sessionRequests.handle(from, session) ?? this.deps.gateway.handle(from));
      if (era === 'legacy') {
        const last = this.dialogue.conclude(admitted, from, reply, session, outcome);
        outcome = last instanceof Promise ? await last : last;
      }
      if (session && isFailure(outcome) && this.deps.sessions.isOver(session)) {
        return reply.finish(404, errorText(message.id, SESSION_OVER));
      }
      const started =
        message.method === 'initialize' && outcome.ok
          ? this.sessions.begin(req, from, outcome.result)
          : undefined;
      if (typeof started === 'string') {
        return reply.finish(400, errorText(message.id, { code: ErrorCode.invalidParams, message: started }));
      }
      const { status, text } = this.writer.write(era, message, outcome);
      reply.finish(status, text, started);
    } finally {
      release();
    }
  }

  private notified(session: LegacySession, method: string, params: JsonObject | undefined): void {
    const { handle, envelope } = session;
    if (method === 'notifications/cancelled') this.calls.cancel(session, params?.requestId);
    else if (method === 'notifications/roots/list_changed' && isObject(envelope.clientCapabilities.roots)) {
      this.deps.onRootsChanged(handle);
    }
  }

  /** GET and DELETE are about a legacy session, and about nothing without one. */
  private async onSession(admitted: Admitted): Promise<void> {
    const id = sessionIdOf(admitted.req);
    if (id === undefined) return refuseMethod(admitted.res);
    const session = await this.sessions.find(admitted, id);
    if (!session) return;
    if (admitted.req.method === 'GET') this.listening.listen(admitted, session);
    else await this.sessions.end(admitted, session);
  }
}

function isFailure(outcome: GatewayOutcome): boolean {
  return !outcome.ok || outcome.result.isError === true;
}

function traceparentOf({ headers }: IncomingMessage): string | undefined {
  return typeof headers.traceparent === 'string' ? headers.traceparent : undefined;
}

/** A client that names the stream before JSON wants what only a stream has: events that it can come back for. */
function prefersStream(accept: string | undefined): boolean {
  const stream = accept?.indexOf('text/event-stream') ?? -1;
  return stream >= 0 && stream < accept!.indexOf('application/json');
}
