import type { IncomingMessage } from 'node:http';
import { createMiddleware } from 'hono/factory';
import type { Audit } from '../../audit/audit.ts';
import type { Denials } from '../../audit/denials.ts';
import { Refusal } from '../../base/errors.ts';
import { traceOf } from '../../gateway/trace.ts';
import { auditActor } from '../../identity/audit-actor.ts';
import type { RequestAddresses } from '../request-addresses.ts';
import type { ApiContext, ApiEnv } from './responses.ts';

/** What the API decides, as the audit tells it. */
export class ApiAudit {
  readonly #audit: Audit;
  readonly #denials: Denials;
  readonly #addresses: RequestAddresses;

  constructor(audit: Audit, denials: Denials, addresses: RequestAddresses) {
    this.#audit = audit;
    this.#denials = denials;
    this.#addresses = addresses;
  }

  /** Whatever a request changes is its caller's doing. */
  acting() {
    return createMiddleware<ApiEnv>((c, next) => {
      const actor = auditActor(c.get('caller'));
      const trace = traceOf(undefined, c.req.header('traceparent'));
      return this.#audit.acting({ actor, trace, address: this.#addresses.exact(requestOf(c)) }, next);
    });
  }

  /** Nobody was proven. */
  unknown(c: ApiContext, reason: string): void {
    const address = this.#addresses.network(requestOf(c));
    this.#denials.note({ event: 'auth.failed', actor: { kind: 'stranger' }, address, reason });
  }

  /** Somebody lacks the right to what they asked for, or a ticket is not where it can be done. */
  refused(c: ApiContext, error: unknown): void {
    const caller = c.get('caller');
    if (!caller || !(error instanceof Refusal) || !isDecision(c, error)) return;
    this.#denials.note({
      event: 'api.refused',
      actor: auditActor(caller),
      address: this.#addresses.exact(requestOf(c)),
      trace: traceOf(undefined, c.req.header('traceparent')),
      reason: error.message.slice(0, 200),
      about: { method: c.req.method, path: c.req.path.slice(0, 200) },
    });
  }
}

function isDecision(c: ApiContext, { kind }: Refusal): boolean {
  return kind === 'forbidden' || (kind === 'conflict' && /\/tickets\/[^/]+\//.test(c.req.path));
}

function requestOf(c: ApiContext): IncomingMessage {
  return (c.env as unknown as { incoming: IncomingMessage }).incoming;
}
