import { createMiddleware } from 'hono/factory';
import { Refusal } from '../../base/errors.ts';
import type { Authenticator } from '../../identity/authenticator.ts';
import type { AuthenticatedCaller } from '../../identity/caller.ts';
import type { AuthenticationError } from '../../identity/tokens.ts';
import { type ApiContext, type ApiEnv, refuse } from './responses.ts';

const BEARER = /^bearer +([\x21-\x7e]{1,512})$/i;

const REASONS: Readonly<Record<AuthenticationError, string>> = {
  malformed: 'this is no credential of Castellan, or it has a typo',
  unknown: 'this credential is not known here',
  expired: 'this token has expired; create a new one',
  revoked: 'this token was revoked; create a new one',
};

/** Finds the caller of every request; without one it answers 401. */
export function authenticated(authenticator: Authenticator) {
  return createMiddleware<ApiEnv>(async (c, next) => {
    const raw = BEARER.exec(c.req.header('authorization') ?? '')?.[1];
    if (raw === undefined) {
      return refuse(c, 401, 'UNAUTHENTICATED', 'send a credential: Authorization: Bearer …');
    }
    const found = await authenticator.authenticate(raw);
    if (!found.ok) return refuse(c, 401, 'UNAUTHENTICATED', REASONS[found.error]);
    c.set('caller', found.value);
    await next();
  });
}

/** Only users manage resources: a token opens its project's tools and the page about itself. */
export function requireUser(c: ApiContext): AuthenticatedCaller {
  const caller = c.get('caller');
  if (!caller.principal.startsWith('User:')) {
    throw new Refusal('forbidden', 'a token cannot use this path; use the credential of a user');
  }
  return caller;
}

/** A user, or a token of this very project. */
export function requireProject(c: ApiContext, project: { name: string; uid: string }): AuthenticatedCaller {
  const caller = c.get('caller');
  const own = caller.project === project.name && caller.projectUid === project.uid;
  if (caller.project !== '*' && !own) {
    throw new Refusal('forbidden', `this token belongs to project ${caller.project}, not to ${project.name}`);
  }
  return caller;
}
