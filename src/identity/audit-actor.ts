import type { AuditActor } from '../audit/event.ts';
import type { AuthenticatedCaller } from './caller.ts';

/** The caller as the audit names it. */
export function auditActor({ principal, owner, tokenName, actor: behind }: AuthenticatedCaller): AuditActor {
  if (principal.startsWith('OAuthClient:')) return { kind: 'user', user: owner, behind: behind ?? principal };
  if (!principal.startsWith('McpToken:')) return { kind: 'user', user: owner, behind };
  return {
    kind: 'token',
    user: owner,
    token: tokenName ?? '',
    sha: principal.slice('McpToken:'.length),
    behind,
  };
}
