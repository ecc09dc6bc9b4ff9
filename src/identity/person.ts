import { type AuthenticatedCaller, authenticatedCaller } from './caller.ts';

/** Somebody who is signed in at a browser. Only what has found their session makes one. */
export function personAtBrowser({ email }: { email: string }): AuthenticatedCaller {
  return authenticatedCaller({
    principal: `User:${email}`,
    owner: email,
    ceilings: [],
    project: '*',
    surfaces: new Set(['consumer', 'operator'] as const),
  });
}
