import type { IncomingMessage } from 'node:http';
import { createMiddleware } from 'hono/factory';
import type { AuthenticationError } from '../../identity/tokens.ts';
import type { CredentialCheck } from '../credential-check.ts';
import type { ApiAudit } from './api-audit.ts';
import { type ApiEnv, refuse } from './responses.ts';

const BEARER = /^bearer +([\x21-\x7e]{1,512})$/i;

const REASONS: Readonly<Record<AuthenticationError, string>> = {
  malformed: 'this is no credential of Castellan, or it has a typo',
  unknown: 'this credential is not known here',
  expired: 'this token has expired; create a new one',
  revoked: 'this token was revoked; create a new one',
};

/** Finds the caller of every request; without one it answers 401. */
export function authenticated(credentials: CredentialCheck, audit: ApiAudit) {
  return createMiddleware<ApiEnv>(async (c, next) => {
    const raw = BEARER.exec(c.req.header('authorization') ?? '')?.[1];
    if (raw === undefined) {
      audit.unknown(c, 'no credential');
      return refuse(c, 401, 'UNAUTHENTICATED', 'send a credential: Authorization: Bearer …');
    }
    const { incoming } = c.env as { incoming: IncomingMessage };
    const found = await credentials.check(incoming, raw);
    if (!found.ok) {
      audit.unknown(c, found.error);
      if (found.error !== 'too many') return refuse(c, 401, 'UNAUTHENTICATED', REASONS[found.error]);
      c.header('retry-after', String(found.retryAfterSeconds));
      const sentence = 'too many wrong credentials came from this address; wait and retry';
      return refuse(c, 429, 'RATE_LIMITED', sentence);
    }
    // Whoever may not act as another is refused under their own name.
    c.set('caller', found.value);
    c.set('caller', await credentials.acting(incoming, found.value));
    await next();
  });
}
