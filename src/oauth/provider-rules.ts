import { type Client, errors, interactionPolicy, type KoaContextWithOIDC } from 'oidc-provider';
import { canBeClaimed } from './client-metadata.ts';
import type { ClientRecord } from './clients.ts';
import { isSameServer } from './issuers.ts';
import { type ProviderDeps, recordOf } from './provider-deps.ts';

/** What a token for this indicator may hold. Also where a request that names no scope gets the one that it means. */
export function resourceServer(
  ctx: KoaContextWithOIDC,
  indicator: string,
  client: Client,
  deps: ProviderDeps,
) {
  const { params, route } = ctx.oidc;
  const target = deps.targetOf(indicator);
  if (Array.isArray(params?.resource)) throw new errors.InvalidTarget('ask for one resource');
  if (!target) throw new errors.InvalidTarget('resource is no MCP URL of a project here');
  const open = deps.openTo(recordOf(client), target);
  if (!open) throw new errors.InvalidTarget('resource is of a project that is closed to this client');
  const asks = route !== 'token' || params?.grant_type === 'client_credentials';
  if (asks && !isSameServer(new URL(indicator).origin, ctx.oidc.issuer))
    throw new errors.InvalidTarget('resource is at another server than this one');
  if (params && asks) {
    params.scope ||= target.defaultScope;
    const known = String(params.scope)
      .split(' ')
      .some((scope) => open.includes(scope));
    if (!known)
      throw new errors.InvalidScope(`scope: ${open.join(' ')} can be had here`, String(params.scope));
  }
  if (route === 'token') boundIssuing(ctx, deps);
  if (route === 'token' && params?.grant_type === 'client_credentials') {
    const { user } = recordOf(client);
    if (user === undefined || deps.userUid(user) === undefined)
      throw new errors.UnauthorizedClient('the client is bound to no user that is active');
  }
  return { scope: open.join(' '), audience: indicator, accessTokenFormat: 'opaque' as const };
}

/** A client that asks for token after token would fill the tables and the audit. */
function boundIssuing(ctx: KoaContextWithOIDC, { issuing }: ProviderDeps): void {
  const { client, entities } = ctx.oidc;
  const waitMs = issuing.take(`${client?.clientId} ${entities.Grant?.jti ?? ''}`);
  if (waitMs === undefined) return;
  ctx.set('retry-after', String(Math.ceil(waitMs / 1_000)));
  throw Object.assign(
    new errors.CustomOIDCProviderError('temporarily_unavailable', 'too many tokens: wait'),
    {
      status: 429,
      statusCode: 429,
      expose: true,
    },
  );
}

/** A token is shown to the client that has it, and to one that is bound to the project that it opens. */
export function mayIntrospect(
  record: ClientRecord,
  token: { clientId?: string; aud?: unknown; accountId?: unknown; extra?: { sub?: unknown } },
  deps: ProviderDeps,
) {
  if (!deps.isActiveUser(String(token.accountId ?? token.extra?.sub))) return false;
  if (record.tokenEndpointAuthMethod === 'none') return false;
  if (token.clientId === record.clientId) return true;
  const target = typeof token.aud === 'string' ? deps.targetOf(token.aud) : undefined;
  return target?.project !== undefined && target.project === record.project;
}

export function policy(deps: ProviderDeps) {
  const { Prompt, Check } = interactionPolicy;
  const login = new Prompt(
    { name: 'login', requestable: true },
    // Whoever signed in a moment ago may have signed out since.
    new Check('no_user', 'nobody is signed in', async ({ req, oidc }) => {
      const user = oidc.client && (await deps.userOf(req, recordOf(oidc.client)));
      return user === undefined || user.uid !== oidc.session?.accountId;
    }),
  );
  const consent = new Prompt(
    { name: 'consent', requestable: true },
    // An authorization is made when everything is decided; until then there is none.
    new Check('no_consent', 'the user has not decided', ({ oidc }) => oidc.entities.Grant?.jti === undefined),
  );
  return [login, consent];
}

/** The authorization that a request which needs nobody any more goes on with; undefined where somebody is needed. */
export async function authorizationFor({ req, oidc }: KoaContextWithOIDC, deps: ProviderDeps) {
  const { client, account, params } = oidc;
  if (!client || !account || oidc.promptPending('login') || oidc.promptPending('consent')) return undefined;
  const [indicator] = Object.keys(oidc.resourceServers ?? {});
  const target = indicator === undefined ? undefined : deps.targetOf(indicator);
  if (indicator === undefined || !target) return undefined;
  const record = recordOf(client);
  const open = deps.openTo(record, target) ?? [];
  const scopes = String(params?.scope ?? '')
    .split(' ')
    .filter((scope) => open.includes(scope));
  const party = { userUid: account.accountId, clientId: client.clientId, projectUid: target.projectUid };
  const decided =
    oidc.result?.consent !== undefined || (await deps.userOf(req, record))?.by === 'administrator';
  const remembered =
    decided ||
    (!canBeClaimed(record, String(params?.redirect_uri)) && (await deps.grants.covers({ ...party, scopes })));
  if (!remembered) return undefined;
  const { Grant } = oidc.provider;
  const grant = new Grant({ accountId: account.accountId, clientId: client.clientId });
  grant.addResourceScope(indicator, scopes.join(' '));
  await grant.save();
  return grant;
}
