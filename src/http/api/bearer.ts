import type { IncomingMessage } from 'node:http';
import type { Context } from 'hono';
import { createMiddleware } from 'hono/factory';
import type { AuthenticationError } from '../../identity/tokens.ts';
import type { Issuers } from '../../oauth/issuers.ts';
import { challenge, resourceMetadataUrl } from '../../oauth/metadata.ts';
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
export function authenticated(credentials: CredentialCheck, audit: ApiAudit, issuers: Issuers) {
  return createMiddleware<ApiEnv>(async (c, next) => {
    const raw = BEARER.exec(c.req.header('authorization') ?? '')?.[1];
    if (raw === undefined) {
      audit.unknown(c, 'no credential');
      c.header('www-authenticate', challengeFor(c, issuers));
      return refuse(c, 401, 'UNAUTHENTICATED', 'send a credential: Authorization: Bearer …');
    }
    const { incoming } = c.env as { incoming: IncomingMessage };
    const found = await credentials.check(incoming, raw);
    if (!found.ok) {
      audit.unknown(c, found.error);
      c.header('www-authenticate', challengeFor(c, issuers, 'invalid_token'));
      if (found.error !== 'too many') return refuse(c, 401, 'UNAUTHENTICATED', REASONS[found.error]);
      c.header('retry-after', String(found.retryAfterSeconds));
      const sentence = 'too many wrong credentials came from this address; wait and retry';
      return refuse(c, 429, 'RATE_LIMITED', sentence);
    }
    const { principal, project } = found.value;
    if (principal.startsWith('OAuthClient:') && project !== '*') {
      c.header('www-authenticate', challengeFor(c, issuers, 'insufficient_scope'));
      return refuse(
        c,
        403,
        'FORBIDDEN',
        'this access token is for the MCP URLs of its project: ask for scope api',
      );
    }
    // Whoever may not act as another is refused under their own name.
    c.set('caller', found.value);
    c.set('caller', await credentials.acting(incoming, found.value));
    await next();
  });
}

/** Where to get a token for the API. */
function challengeFor(c: Context, issuers: Issuers, error?: Parameters<typeof challenge>[2]): string {
  const issuer = issuers.of(c.req.header('host'));
  const metadata = issuer === undefined ? undefined : resourceMetadataUrl(issuer, '/api/v1');
  return challenge(metadata, 'api', error);
}
