import { createHash } from 'node:crypto';

/** Path of the page on which this user, and nobody else, signs in for a server. */
export function signInPath(server: string, user: string): string {
  return `/connect/${encodeURIComponent(server)}?for=${userMark(server, user)}`;
}

/** Tells whose link it is without naming them. */
export function userMark(server: string, user: string): string {
  return createHash('sha256').update(`${server}\n${user}`).digest('base64url').slice(0, 22);
}
