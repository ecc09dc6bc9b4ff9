import type { IncomingMessage, ServerResponse } from 'node:http';
import { Cancellation } from '../base/cancellation.ts';
import { messageOf, Refusal } from '../base/errors.ts';
import type { Logger } from '../base/logger.ts';
import type { Gateway } from '../gateway/gateway.ts';
import type { GatewayRequest, Scope } from '../gateway/scope.ts';
import type { LegacySession, LegacySessions } from '../gateway/sessions.ts';
import type { GatewayOutcome } from '../gateway/tool-call.ts';
import type { Authorizer } from '../identity/authorizer.ts';
import { type AuthenticatedCaller, callerKey } from '../identity/caller.ts';
import type { HandshakeLimiter } from '../limits/handshake-limiter.ts';
import type { Issuers } from '../oauth/issuers.ts';
import { challenge, resourceMetadataUrl } from '../oauth/metadata.ts';
import { resourceAt } from '../oauth/protected-resources.ts';
import { scopeOfSurface } from '../oauth/scopes.ts';
import { type Classified, classify } from '../protocol/classify.ts';
import { asInputRequests, relayedCapabilities } from '../protocol/input-requests.ts';
import { ErrorCode, isObject, type JsonObject, type JsonRpcRequest } from '../protocol/jsonrpc.ts';
import type { Implementation } from '../protocol/model.ts';
import { type Era, MODERN_REVISION } from '../protocol/revisions.ts';
import { codecs } from '../protocol/wire/table.ts';
import type { Snapshot, Surface } from '../resources/spec.ts';
import { AnswerWriter } from './answer-writer.ts';
import { ClientQuestions } from './client-questions.ts';
import type { CredentialCheck } from './credential-check.ts';
import type { EndpointAudit } from './endpoint-audit.ts';
import { bodyHeaderFault, parseBody, readBody } from './json-body.ts';
import { Listening } from './listening.ts';
import type { OpenStreams } from './open-streams.ts';
import { accept, answerError, refuseBody, refuseHttp, refuseMethod } from './refused-requests.ts';
import { errorText, Reply } from './reply.ts';
import { SessionRequests } from './session-requests.ts';

export type McpEndpointDeps = {
  self: Implementation;
  gateway: Gateway;
  sessions: LegacySessions;
  streams: OpenStreams;
  credentials: CredentialCheck;
  audit: EndpointAudit;
  authorizer: Authorizer;
  handshakes: HandshakeLimiter;
  issuers: Issuers;
  snapshot(): Snapshot;
  /** A legacy session is over: what only it used can go. */
  onSessionEnded(handle: string): void;
  /** The client of a legacy session has other roots now. */
  onRootsChanged(handle: string): void;
  logger: Logger;
  maxBodyBytes: number;
};

/** One POST, GET or DELETE with a proven caller on a surface that is open to it. */
export type Admitted = {
  req: IncomingMessage;
  res: ServerResponse;
  caller: AuthenticatedCaller;
  scope: Scope;
};

const BEARER = /^Bearer +([\x21-\x7e]+) *$/i;
const SESSION_OVER = { code: -32001, message: 'Session not found: send initialize again' };
/** A server that keeps asking is told no in the end. */
const MAX_ROUNDS = 10;
const CREDENTIAL_ENDED = 'This credential has ended since the call began';
const CLIENT_LEFT = 'the client closed the stream';

/**
 * The MCP endpoint of every surface, both eras on one URL (2026-07-28 and 2025-11-25 basic/transports). The steps of
 * a request, in order: authenticate, admit to project and surface, read and parse once, classify, session, gateway.
 */
export class McpEndpoint {
  private readonly deps: McpEndpointDeps;
  private readonly writer: AnswerWriter;
  /** Calls of legacy sessions that `notifications/cancelled` may name. */
  private readonly cancellable = new Map<string, Cancellation>();
  private readonly questions = new ClientQuestions();
  private readonly sessionRequests: SessionRequests;
  private readonly listening: Listening;

  constructor(deps: McpEndpointDeps) {
    this.deps = deps;
    this.writer = new AnswerWriter(deps.self);
    this.sessionRequests = new SessionRequests(deps.gateway, deps.sessions);
    this.listening = new Listening(deps);
  }

  /** Answers one request. Never rejects. */
  async serve(req: IncomingMessage, res: ServerResponse, project: string, surface: Surface): Promise<void> {
    try {
      const caller = this.known(req) ?? (await this.authenticate(req, res, surface));
      if (!caller) return;
      const scope = this.admit(caller, project, surface);
      if (typeof scope === 'string') {
        this.deps.audit.closed(req, caller, project, scope);
        const lacksScope = caller.principal.startsWith('OAuthClient:') && !caller.surfaces.has(surface);
        const challenge = lacksScope && this.challenge(req, surface, 'insufficient_scope');
        return refuseHttp(res, 403, scope, challenge ? { 'www-authenticate': challenge } : {});
      }
      const admitted = { req, res, caller, scope };
      if (req.method === 'POST') await this.post(admitted);
      else if (req.method === 'GET') await this.listen(admitted);
      else if (req.method === 'DELETE') await this.endSession(admitted);
      else refuseMethod(res);
    } catch (error) {
      if (error instanceof Refusal && error.kind === 'unavailable') {
        return refuseHttp(res, 503, 'The database is not available; retry in a moment', {
          'retry-after': '2',
        });
      }
      if (error instanceof Refusal)
        return refuseHttp(res, error.kind === 'forbidden' ? 403 : 400, error.message);
      this.deps.logger.error({ error: messageOf(error) }, 'a request failed unexpectedly');
      refuseHttp(res, 500, 'Internal error');
    }
  }

  /** Who was proven a moment ago. */
  private known(req: IncomingMessage): AuthenticatedCaller | undefined {
    const raw = bearerOf(req);
    return raw === undefined ? undefined : this.deps.credentials.known(req, raw);
  }

  private async authenticate(
    req: IncomingMessage,
    res: ServerResponse,
    surface: Surface,
  ): Promise<AuthenticatedCaller | undefined> {
    const header = req.headers.authorization;
    const raw = bearerOf(req);
    let reason = header === undefined ? 'no credential' : 'no bearer token';
    if (raw !== undefined) {
      const proven = await this.deps.credentials.check(req, raw);
      if (proven.ok) return this.deps.credentials.acting(req, proven.value);
      if (proven.error === 'too many') {
        this.deps.audit.unknown(req, proven.error);
        const wait = { 'retry-after': String(proven.retryAfterSeconds) };
        refuseHttp(res, 429, 'Too many wrong credentials came from this address; wait and retry', wait);
        return undefined;
      }
      reason = proven.error;
    }
    this.deps.audit.unknown(req, reason);
    const sentence =
      header === undefined
        ? 'A bearer token is required'
        : 'The bearer token is unknown, expired or revoked, or was cut when it was copied';
    const fault = header === undefined ? undefined : 'invalid_token';
    refuseHttp(res, 401, sentence, { 'www-authenticate': this.challenge(req, surface, fault) });
    return undefined;
  }

  /** Where to get what the request lacks; the metadata is of the very URL that was asked. */
  private challenge(req: IncomingMessage, surface: Surface, error?: Parameters<typeof challenge>[2]): string {
    const issuer = this.deps.issuers.of(req.headers.host);
    const [path = ''] = (req.url ?? '').split('?', 1);
    const named = issuer !== undefined && resourceAt(path) !== undefined;
    const metadata = named ? resourceMetadataUrl(issuer, path) : undefined;
    return challenge(metadata, scopeOfSurface(surface), error);
  }

  /** Another project and one that does not exist are refused alike. */
  private admit(caller: AuthenticatedCaller, name: string, surface: Surface): Scope | string {
    const project = this.deps.snapshot().projects.get(name);
    const own = project !== undefined && (caller.project === '*' || caller.projectUid === project.uid);
    if (!own) return 'This credential does not open this project';
    return caller.surfaces.has(surface)
      ? { project, surface, rights: this.deps.authorizer.toolRights(caller, name) }
      : `This credential does not open the ${surface} surface`;
  }

  private async post(admitted: Admitted): Promise<void> {
    const { req, res } = admitted;
    const fault = bodyHeaderFault(req, this.deps.maxBodyBytes);
    if (fault) return refuseBody(req, res, fault);
    const bytes = await readBody(req, this.deps.maxBodyBytes);
    if (bytes === undefined) return;
    if (!Buffer.isBuffer(bytes)) return refuseBody(req, res, bytes);
    const body = parseBody(bytes);
    if (!body.ok) return refuseBody(req, res, body.fault);
    const message = classify(body.value, req.headers);
    if (message.era === 'rejected') return answerError(res, message.status, message.id, message.error);
    await (message.era === 'modern' ? this.modern(admitted, message) : this.legacy(admitted, message));
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
    const { req, caller, scope } = admitted;
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
    const known = typeof id === 'string' && this.deps.sessions.peek(id, caller, scope);
    if (known) return this.inSession(admitted, classified, known);
    return this.sessionOf(admitted, id).then(
      (session) => session && this.inSession(admitted, classified, session),
    );
  }

  private inSession(
    admitted: Admitted,
    classified: Classified & { era: 'legacy' },
    session: LegacySession | undefined,
  ): Promise<void> | void {
    const { res, caller } = admitted;
    if (classified.kind === 'response') {
      if (session) this.questions.receive(session.handle, classified.message);
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
    const release = this.follow(
      reply,
      cancellation,
      era,
      session && `${session.handle} ${JSON.stringify(message.id)}`,
    );
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
      request,
      mirrored: era === 'modern' ? req.headers : undefined,
      sink: reply,
      cancellation,
      traceparent: traceparentOf(req),
    };
    try {
      let outcome = await (this.sessionRequests.handle(from, session) ?? this.deps.gateway.handle(from));
      if (era === 'legacy') {
        if (asksForInput(outcome)) outcome = await this.ask(admitted, from, reply, outcome, session);
        outcome = withoutCapability(from, outcome);
      }
      if (session && isFailure(outcome) && this.deps.sessions.isOver(session)) {
        return reply.finish(404, errorText(message.id, SESSION_OVER));
      }
      const started =
        message.method === 'initialize' && outcome.ok ? this.begin(req, from, outcome.result) : undefined;
      if (typeof started === 'string') {
        return reply.finish(400, errorText(message.id, { code: ErrorCode.invalidParams, message: started }));
      }
      const { status, text } = this.writer.write(era, message, outcome);
      reply.finish(status, text, started);
    } finally {
      release();
    }
  }

  /** Asks a legacy client what the server wants to know, by pushed requests, until there is an answer. */
  private async ask(
    admitted: Admitted,
    from: GatewayRequest,
    reply: Reply,
    first: InputRequired,
    session: LegacySession | undefined,
  ): Promise<GatewayOutcome> {
    const { params } = from.request;
    let outcome: GatewayOutcome = first;
    for (let round = 0; asksForInput(outcome); round += 1) {
      const { inputRequests, requestState } = outcome.result;
      if (!session || !reply.canAsk || round >= MAX_ROUNDS) return cannotBeAsked(from, round);
      const requests = asInputRequests(inputRequests) ?? {};
      const answers = await this.questions.ask(reply, session.handle, requests, from.cancellation);
      const request = {
        ...from.request,
        params: { ...params, inputResponses: answers.results, requestState },
      };
      const now = await this.admittedAgain(admitted);
      if (typeof now === 'string') return cannotBeAsked(from, 0, now);
      outcome = await this.deps.gateway.handle({ ...from, ...now, request, inputErrors: answers.errors });
    }
    return outcome;
  }

  /** Who asks and what is open to them, as it is now: a question may have been open for minutes. */
  private async admittedAgain({
    req,
    scope,
  }: Admitted): Promise<{ caller: AuthenticatedCaller; scope: Scope } | string> {
    try {
      const caller = await this.deps.credentials.again(req, bearerOf(req) ?? '');
      if (!caller) return CREDENTIAL_ENDED;
      const open = this.admit(caller, scope.project.name, scope.surface);
      return typeof open === 'string' ? open : { caller, scope: open };
    } catch (error) {
      if (error instanceof Refusal) return error.message;
      throw error;
    }
  }

  /** Watches over a call: its stream, and what cancels it. Undefined when the client has too much open. */
  private follow(
    reply: Reply,
    cancellation: Cancellation,
    era: Era,
    key: string | undefined,
  ): (() => void) | undefined {
    if (!this.deps.streams.add(reply)) return undefined;
    // In the legacy era a lost connection is no wish to stop (2025-11-25 basic/transports#sending-messages).
    if (era === 'modern') reply.onLost(() => cancellation.cancel(CLIENT_LEFT));
    const registered = key !== undefined && !this.cancellable.has(key);
    if (registered) this.cancellable.set(key, cancellation);
    return () => {
      this.deps.streams.delete(reply);
      if (registered) this.cancellable.delete(key);
    };
  }

  /** Starts the legacy session that an answered handshake opens; the headers that name it, or why there is none. */
  private begin(
    req: IncomingMessage,
    from: GatewayRequest,
    result: JsonObject,
  ): Record<string, string> | string {
    const { capabilities, clientInfo } = from.request.params;
    const session = this.deps.sessions.begin(from.caller, from.scope, {
      revision: String(result.protocolVersion),
      capabilities: isObject(capabilities) ? capabilities : {},
      clientInfo: isObject(clientInfo) ? clientInfo : undefined,
    });
    if (!session) return 'params.capabilities and params.clientInfo are too long: 3 KB together at most';
    this.deps.audit.sessionStarted(req, from.caller, from.scope, session);
    return { 'mcp-session-id': session.id };
  }

  private notified(session: LegacySession, method: string, params: JsonObject | undefined): void {
    const { handle, envelope } = session;
    if (method === 'notifications/cancelled') {
      this.cancellable
        .get(`${handle} ${JSON.stringify(params?.requestId)}`)
        ?.cancel('cancelled by the client');
    } else if (method === 'notifications/roots/list_changed' && isObject(envelope.clientCapabilities.roots)) {
      this.deps.onRootsChanged(handle);
    }
  }

  /** The caller's own open session; everything else is 404 and tells the client to begin anew. */
  private async sessionOf(
    { res, caller, scope }: Admitted,
    id: string | string[],
  ): Promise<LegacySession | undefined> {
    const one = typeof id === 'string' ? id : '';
    const session =
      this.deps.sessions.peek(one, caller, scope) ?? (await this.deps.sessions.find(one, caller, scope));
    if (!session) {
      answerError(res, 404, null, SESSION_OVER);
    }
    return session;
  }

  private async listen(admitted: Admitted): Promise<void> {
    const id = sessionIdOf(admitted.req);
    if (id === undefined) return refuseMethod(admitted.res);
    const session = await this.sessionOf(admitted, id);
    if (session) this.listening.listen(admitted, session);
  }

  private async endSession(admitted: Admitted): Promise<void> {
    const id = sessionIdOf(admitted.req);
    if (id === undefined) return refuseMethod(admitted.res);
    const session = await this.sessionOf(admitted, id);
    if (!session) return;
    await this.deps.sessions.end(session.handle);
    this.deps.audit.sessionEnded(admitted.req, admitted.caller, admitted.scope, session);
    this.deps.streams.endSession(session.handle);
    this.deps.onSessionEnded(session.handle);
    admitted.res.writeHead(204).end();
  }
}

type InputRequired = GatewayOutcome & { ok: true };

function asksForInput(outcome: GatewayOutcome): outcome is InputRequired {
  return outcome.ok && outcome.result.resultType === 'input_required';
}

/** A legacy client is told in its own way that it lacks what the server needs. */
function withoutCapability(from: GatewayRequest, outcome: GatewayOutcome): GatewayOutcome {
  return outcome.ok || outcome.error.code !== ErrorCode.missingClientCapability
    ? outcome
    : cannotBeAsked(from, 0, outcome.error.message);
}

/** A server needs an answer that this client cannot give. */
function cannotBeAsked(from: GatewayRequest, rounds: number, reason?: string): GatewayOutcome {
  const message =
    reason ??
    (rounds > 0
      ? `The server asked ${rounds} times and still wants to know more`
      : 'The server needs to ask something, and this client has opened no session and stream on which it could');
  return from.request.method === 'tools/call'
    ? { ok: true, result: { content: [{ type: 'text', text: message }], isError: true } }
    : { ok: false, error: { code: ErrorCode.internal, message } };
}

function isFailure(outcome: GatewayOutcome): boolean {
  return !outcome.ok || outcome.result.isError === true;
}

function bearerOf({ headers }: IncomingMessage): string | undefined {
  const header = headers.authorization;
  return header === undefined ? undefined : BEARER.exec(header)?.[1];
}

function traceparentOf({ headers }: IncomingMessage): string | undefined {
  return typeof headers.traceparent === 'string' ? headers.traceparent : undefined;
}

/** The later revision knows no sessions: a GET or DELETE that claims it is a method that is none here. */
function sessionIdOf(req: IncomingMessage): string | string[] | undefined {
  const modern = req.headers['mcp-protocol-version'] === MODERN_REVISION;
  return modern ? undefined : req.headers['mcp-session-id'];
}

/** A client that names the stream before JSON wants what only a stream has: events that it can come back for. */
function prefersStream(accept: string | undefined): boolean {
  const stream = accept?.indexOf('text/event-stream') ?? -1;
  return stream >= 0 && stream < accept!.indexOf('application/json');
}
