import type { IncomingMessage } from 'node:http';
import type { CountedEvents } from '../audit/counted-events.ts';
import type { Denials } from '../audit/denials.ts';
import type { Scope } from '../gateway/scope.ts';
import type { LegacySession } from '../gateway/sessions.ts';
import { auditActor } from '../identity/audit-actor.ts';
import { type AuthenticatedCaller, callerKey } from '../identity/caller.ts';
import type { RequestAddresses } from './request-addresses.ts';

/** Sessions of a principal that are told of one by one, in a minute. */
const SESSION_ROWS = 20;

/** What the MCP endpoint itself decides, as the audit tells it. */
export class EndpointAudit {
  readonly #counted: CountedEvents;
  readonly #denials: Denials;
  readonly #addresses: RequestAddresses;

  constructor(counted: CountedEvents, denials: Denials, addresses: RequestAddresses) {
    this.#counted = counted;
    this.#denials = denials;
    this.#addresses = addresses;
  }

  /** Nobody was proven. */
  unknown(req: IncomingMessage, reason: string): void {
    this.#denials.note({
      event: 'auth.failed',
      actor: { kind: 'stranger' },
      address: this.#addresses.network(req),
      reason,
    });
  }

  /** Somebody was proven, and this project or surface is not open to them. */
  closed(req: IncomingMessage, caller: AuthenticatedCaller, project: string, reason: string): void {
    const actor = auditActor(caller);
    const address = this.#addresses.network(req);
    this.#denials.note({ event: 'auth.refused', actor, address, project, reason });
  }

  sessionStarted(
    req: IncomingMessage,
    caller: AuthenticatedCaller,
    scope: Scope,
    session: LegacySession,
  ): void {
    const { revision, clientInfo } = session.envelope;
    this.#session('session.started', req, caller, scope, {
      session: session.handle,
      revision,
      client: typeof clientInfo?.name === 'string' ? clientInfo.name.slice(0, 128) : undefined,
    });
  }

  sessionEnded(
    req: IncomingMessage,
    caller: AuthenticatedCaller,
    scope: Scope,
    session: LegacySession,
  ): void {
    this.#session('session.ended', req, caller, scope, { session: session.handle });
  }

  #session(
    event: 'session.started' | 'session.ended',
    req: IncomingMessage,
    caller: AuthenticatedCaller,
    { project, surface }: Scope,
    detail: Record<string, unknown>,
  ): void {
    const { name } = project;
    this.#counted.note({
      event: {
        event,
        outcome: 'ok',
        actor: auditActor(caller),
        address: this.#addresses.exact(req),
        project: name,
        surface,
        detail,
      },
      kind: JSON.stringify([event, callerKey(caller), name, surface]),
      source: callerKey(caller),
      rows: SESSION_ROWS,
    });
  }
}
