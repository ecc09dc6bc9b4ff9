import type { Gateway } from '../gateway/gateway.ts';
import type { GatewayRequest } from '../gateway/scope.ts';
import type { LegacySession, LegacySessions } from '../gateway/sessions.ts';
import type { GatewayOutcome } from '../gateway/tool-call.ts';
import { ErrorCode } from '../protocol/jsonrpc.ts';
import { isLogLevel, LOG_LEVELS } from '../protocol/log-levels.ts';
import { MAX_SUBSCRIPTIONS, MAX_URI } from './resource-feed.ts';

const DONE: GatewayOutcome = { ok: true, result: {} };

/** The requests by which a legacy client sets up its session; the later revision has none of them. */
export class SessionRequests {
  private readonly gateway: Gateway;
  private readonly sessions: LegacySessions;

  constructor(gateway: Gateway, sessions: LegacySessions) {
    this.gateway = gateway;
    this.sessions = sessions;
  }

  /** Undefined: it is another request. */
  handle(from: GatewayRequest, session: LegacySession | undefined): Promise<GatewayOutcome> | undefined {
    const { method } = from.request;
    if (method === 'logging/setLevel') return this.setLevel(from, session);
    if (method === 'resources/subscribe') return this.subscribe(from, session);
    if (method === 'resources/unsubscribe') return this.unsubscribe(from, session);
    return undefined;
  }

  private async setLevel({ request }: GatewayRequest, session: LegacySession | undefined) {
    const { level } = request.params;
    if (!isLogLevel(level)) return refused(`params.level must be one of ${LOG_LEVELS.join(', ')}`);
    if (!session) return needsSession();
    await this.sessions.remember(session, { logLevel: level });
    await this.gateway.sessionNotices.changed(session);
    return DONE;
  }

  private async subscribe(from: GatewayRequest, session: LegacySession | undefined) {
    const { uri } = from.request.params;
    if (typeof uri !== 'string' || uri === '' || uri.length > MAX_URI) {
      return refused(`params.uri must be the URI of a resource, ${MAX_URI} characters at most`);
    }
    if (!session) return needsSession();
    if (session.subscriptions.includes(uri)) return DONE;
    const servers = await this.gateway.watches.candidates(from.scope, from.circle, uri);
    if (servers.length === 0) return refused('No server of this surface tells of changes of this resource');
    if (session.subscriptions.includes(uri)) return DONE;
    if (session.subscriptions.length >= MAX_SUBSCRIPTIONS) {
      return refused(`A session may subscribe to ${MAX_SUBSCRIPTIONS} resources`);
    }
    await this.sessions.remember(session, { subscriptions: [...session.subscriptions, uri] });
    await this.gateway.sessionNotices.changed(session);
    return DONE;
  }

  private async unsubscribe(from: GatewayRequest, session: LegacySession | undefined) {
    const { uri } = from.request.params;
    if (typeof uri !== 'string') return refused('params.uri must be the URI of a resource');
    if (!session) return needsSession();
    if (!session.subscriptions.includes(uri)) return DONE;
    const subscriptions = session.subscriptions.filter((one) => one !== uri);
    await this.sessions.remember(session, { subscriptions });
    await this.gateway.sessionNotices.changed(session);
    return DONE;
  }
}

function needsSession(): GatewayOutcome {
  return refused('This needs a session: send initialize first and its Mcp-Session-Id with every request');
}

function refused(message: string): GatewayOutcome {
  return { ok: false, error: { code: ErrorCode.invalidParams, message } };
}
