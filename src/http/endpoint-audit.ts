import type { IncomingMessage } from 'node:http';
import type { Audit } from '../audit/audit.ts';
import type { Denials } from '../audit/denials.ts';
import type { Scope } from '../gateway/scope.ts';
import type { LegacySession } from '../gateway/sessions.ts';
import { auditActor } from '../identity/audit-actor.ts';
import type { AuthenticatedCaller } from '../identity/caller.ts';
import type { RequestAddresses } from './request-addresses.ts';

/** What the MCP endpoint itself decides, as the audit tells it. */
export class EndpointAudit {
  readonly #audit: Audit;
  readonly #denials: Denials;
  readonly #addresses: RequestAddresses;

  constructor(audit: Audit, denials: Denials, addresses: RequestAddresses) {
    this.#audit = audit;
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
    this.#audit.record({
      event,
      outcome: 'ok',
      actor: auditActor(caller),
      address: this.#addresses.exact(req),
      project: project.name,
      surface,
      detail,
    });
  }
}
