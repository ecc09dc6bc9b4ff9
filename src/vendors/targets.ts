import { ok, type Result, refused } from '../base/result.ts';
import type { ServerEntry } from '../resources/spec.ts';
import type { CredentialTarget } from './credentials.ts';
import { EVERYBODY } from './grants.ts';

/**
 * What a user signs in to: for themselves where each has a grant of their own, else for everybody. Refused: the server
 * takes no tokens of an authorization server; the message is fit for a user.
 * @param user e-mail of whoever signs in or calls
 */
export function credentialTarget(entry: ServerEntry, user: string): Result<CredentialTarget, string> {
  const { name, uid, spec, error } = entry;
  if (!spec) return refused(`${name}: ${error ?? 'its configuration is invalid'}`);
  const { target, auth } = spec;
  if (!auth || target.type !== 'http')
    return refused(`server "${name}" needs no sign-in: its auth is not { type: oauth }`);
  if (auth.machine) return refused(`server "${name}" needs nobody to sign in: Castellan does so by itself`);
  return ok({ name, uid, owner: auth.perUser ? user : EVERYBODY, url: target.url, auth });
}
