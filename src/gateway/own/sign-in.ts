import type { Audit } from '../../audit/audit.ts';
import { Refusal, type RefusalKind } from '../../base/errors.ts';
import { auditActor } from '../../identity/audit-actor.ts';
import type { Authorizer } from '../../identity/authorizer.ts';
import { decide } from '../../identity/decide.ts';
import type { Snapshot } from '../../resources/spec.ts';
import type { CredentialTarget } from '../../vendors/credentials.ts';
import type { VendorLogins } from '../../vendors/logins.ts';
import { credentialTarget } from '../../vendors/targets.ts';
import type { ToolRefusalCode } from '../refusals.ts';
import { type GatewayRequest, serversOf } from '../scope.ts';
import type { ToolsetAnswer } from '../toolset.ts';
import { noServer } from './listing.ts';

export type SignInDeps = {
  authorizer: Authorizer;
  audit: Pick<Audit, 'acting'>;
  snapshot: () => Snapshot;
  logins: () => Pick<VendorLogins, 'begin' | 'pending' | 'goOn'>;
};

const CODES: { readonly [kind in RefusalKind]?: ToolRefusalCode } = {
  invalid: 'INVALID_ARGUMENT',
  conflict: 'CONFLICT',
};

/** Begins to sign in for a server: says where a person has to go. */
export function login(
  deps: SignInDeps,
  from: GatewayRequest,
  server: string,
  wanted: 'device' | 'paste' | undefined,
): Promise<ToolsetAnswer> {
  return signingIn(deps, from, server, async (target, logins) => {
    const { flow, url, userCode, redirectUri, expiresAt } = await logins.begin(target, wanted);
    const then =
      flow === 'device'
        ? 'Then use complete_login, as often as it is pending.'
        : 'Their browser then goes to an address that may not load: give that address, as it is, to complete_login in url.';
    const message = `Somebody has to open the address in url${userCode === undefined ? '' : `, and see the code ${userCode} there,`} and agree. ${then}`;
    const step = { flow, url, user_code: userCode, redirect_uri: redirectUri, expires_at: expiresAt };
    return { ok: true, structured: { message, ...step } };
  });
}

/** Goes on with the sign-in that is under way. */
export function completeLogin(
  deps: SignInDeps,
  from: GatewayRequest,
  server: string,
  cameBack: string | undefined,
): Promise<ToolsetAnswer> {
  return signingIn(deps, from, server, async (target, logins) => {
    const flow = (await logins.pending(target))?.flow;
    const progress = await logins.goOn(target, cameBack);
    if (progress.state === 'signed_in')
      return {
        ok: true,
        structured: { message: `Signed in for ${server}: its tools can be called.`, flow, ...progress },
      };
    const { retryAfterMs, state } = progress;
    const message = `Nobody has agreed yet: use complete_login again in ${Math.ceil(retryAfterMs / 1_000)} s.`;
    return { ok: true, structured: { message, flow, state, retry_after_ms: retryAfterMs } };
  });
}

async function signingIn(
  { authorizer, audit, snapshot, logins }: SignInDeps,
  { caller, scope }: GatewayRequest,
  server: string,
  work: (target: CredentialTarget, logins: ReturnType<SignInDeps['logins']>) => Promise<ToolsetAnswer>,
): Promise<ToolsetAnswer> {
  const entry = serversOf(scope).includes(server) ? snapshot().servers.get(server) : undefined;
  if (!entry) return noServer(server, serversOf(scope));
  // Servers belong to no project: whoever stands behind a credential of this one needs the right everywhere.
  const needed = { role: 'edit', resource: 'servers', name: server } as const;
  const layers = authorizer.rights().layersOf(caller);
  const lacking = layers.find(
    ({ project, ...layer }) =>
      !decide([layer], { ...needed, ...(project !== undefined && { project }) }).allowed,
  );
  if (lacking || layers.length === 0) {
    const message = `Signing in for ${server} needs role:edit,resource:servers,name:${server}, which this credential lacks. Ask whoever runs this project to sign in; retrying does not help.`;
    return { ok: false, code: 'NOT_PERMITTED', message, field: 'server' };
  }
  try {
    const target = credentialTarget(entry, caller.owner);
    if (!target.ok) return { ok: false, code: 'CONFLICT', message: `${target.error}.`, field: 'server' };
    return await audit.acting({ actor: auditActor(caller) }, () => work(target.value, logins()));
  } catch (error) {
    const code = error instanceof Refusal ? CODES[error.kind] : undefined;
    if (code === undefined) throw error;
    const field = code === 'INVALID_ARGUMENT' ? 'url' : 'server';
    return { ok: false, code, message: `${(error as Refusal).message}.`, field };
  }
}
