import type { IncomingMessage } from 'node:http';
import type { GatewayRequest } from '../gateway/scope.ts';
import type { LegacySession, LegacySessions } from '../gateway/sessions.ts';
import { isObject, type JsonObject } from '../protocol/jsonrpc.ts';
import { MODERN_REVISION } from '../protocol/revisions.ts';
import type { Admitted } from './admission.ts';
import type { EndpointAudit } from './endpoint-audit.ts';
import type { OpenStreams } from './open-streams.ts';
import { answerError } from './refused-requests.ts';

export type ClientSessionsDeps = {
  sessions: LegacySessions;
  streams: OpenStreams;
  audit: EndpointAudit;
  /** A legacy session is over: what only it used can go. */
  onSessionEnded(handle: string): void;
};

/** Tells the client to begin anew. */
export const SESSION_OVER = { code: -32001, message: 'Session not found: send initialize again' };

/** Legacy sessions as they come over HTTP: begun by a handshake, named by a header, ended by DELETE. */
export class ClientSessions {
  private readonly deps: ClientSessionsDeps;

  constructor(deps: ClientSessionsDeps) {
    this.deps = deps;
  }

  /** The session that an answered handshake opens: the headers that name it, or why there is none. */
  begin(req: IncomingMessage, from: GatewayRequest, result: JsonObject): Record<string, string> | string {
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

  /** The caller's own open session, without waiting when that was looked at a moment ago. */
  peek({ caller, scope }: Admitted, id: string | string[]): LegacySession | undefined {
    return typeof id === 'string' ? this.deps.sessions.peek(id, caller, scope) : undefined;
  }

  /** The caller's own open session; everything else is answered with 404. */
  async find(admitted: Admitted, id: string | string[]): Promise<LegacySession | undefined> {
    const { res, caller, scope } = admitted;
    const known = this.peek(admitted, id);
    const session = known ?? (await this.deps.sessions.find(typeof id === 'string' ? id : '', caller, scope));
    if (!session) answerError(res, 404, null, SESSION_OVER);
    return session;
  }

  async end({ req, res, caller, scope }: Admitted, session: LegacySession): Promise<void> {
    await this.deps.sessions.end(session.handle);
    this.deps.audit.sessionEnded(req, caller, scope, session);
    this.deps.streams.endSession(session.handle);
    this.deps.onSessionEnded(session.handle);
    res.writeHead(204).end();
  }
}

/** The later revision knows no sessions: a GET or DELETE that claims it is a method that is none here. */
export function sessionIdOf(req: IncomingMessage): string | string[] | undefined {
  const modern = req.headers['mcp-protocol-version'] === MODERN_REVISION;
  return modern ? undefined : req.headers['mcp-session-id'];
}
