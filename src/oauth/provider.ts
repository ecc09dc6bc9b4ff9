/**
 * oidc-provider (https://github.com/panva/node-oidc-provider) as the authorization server that MCP asks for: OAuth 2.1
 * codes with PKCE S256, rotating refresh tokens, the device grant and client credentials; no OpenID Connect.
 *
 * - It keeps no session: whoever is signed in at the browser is (`session-view.ts`).
 * - Every authorization has a `Grant` of its own here, so that a replayed refresh token ends that one and no other;
 *   what users allowed is remembered apart from it (`grants.ts`).
 * - It never fetches: clients, their documents and keys come from `ClientSource`; its own dynamic registration and its
 *   own metadata documents stay off.
 * - Its issuer is fixed, so there is one for each name that the server is known by, all over one set of tables.
 */
import { createPrivateKey } from 'node:crypto';
import type { IncomingMessage } from 'node:http';
import {
  type Client,
  type Configuration,
  errors,
  interactionPolicy,
  type KoaContextWithOIDC,
  Provider,
} from 'oidc-provider';
import { mintCredential } from '../base/ids.ts';
import type { KeyedRate } from '../limits/keyed-rate.ts';
import type { KeyRing } from '../store/key-ring.ts';
import { DEVICE_GRANT } from './built-in-clients.ts';
import { canBeClaimed, isSecretOf } from './client-metadata.ts';
import type { ClientRecord } from './clients.ts';
import type { Grants } from './grants.ts';
import { interactionPath } from './interaction-paths.ts';
import { type AdapterDeps, adapterFor } from './provider-adapter.ts';
import type { Target } from './requested-access.ts';
import { type SessionUser, viewSessions } from './session-view.ts';

export type ProviderDeps = AdapterDeps & {
  keys: Pick<KeyRing, 'mac'>;
  grants: Grants;
  accessTokenTtlSeconds: number;
  /** Tokens of one authorization, and of one client by itself. */
  issuing: KeyedRate;
  /** Who is at the browser, or whom an administrator lets this client act for without one. */
  userOf(req: IncomingMessage, client: ClientRecord | undefined): Promise<SessionUser | undefined>;
  /** What is told of a token that is none of this server's own. */
  introspectToken(raw: string, client: ClientRecord): Promise<object | undefined>;
  /** A page for a request that cannot be sent back to its client. */
  errorPage(sentence: string): Promise<string>;
  /** Whether a user of that uid may still act. */
  isActiveUser(uid: string): boolean;
  userUid(email: string): string | undefined;
  userEmail(uid: string): string | undefined;
  targetOf(indicator: string): Target | undefined;
  /** The scopes of the target that are open to the client. */
  openTo(client: ClientRecord, target: Target): readonly string[] | undefined;
  defaultIndicator(client: ClientRecord, issuer: string): string | undefined;
};

const CODE_SECONDS = 60;
const WAITING_SECONDS = 600;
/** A client that does not come back for this long has to ask again. */
const REFRESH_SECONDS = 30 * 86_400;
/** However often it comes back. */
const AUTHORIZATION_SECONDS = 365 * 86_400;
const POLL_INTERVAL_MS = 5_000;

export function recordOf(client: Client): ClientRecord {
  return client.record as ClientRecord;
}

export function makeProvider(issuer: string, deps: ProviderDeps): Provider {
  const provider = new Provider(issuer, configuration(issuer, deps));
  viewSessions(provider, async (ctx) => {
    const clientId = ctx.oidc?.route === 'authorization' ? ctx.query.client_id : undefined;
    const client =
      typeof clientId === 'string' ? await deps.clients.find(clientId, { mayFetch: false }) : undefined;
    return deps.userOf(ctx.req, client);
  });
  nameTokens(provider, deps.keys);
  const { Client: ClientModel } = provider;
  ClientModel.prototype.compareClientSecret = function (this: Client, presented: string) {
    return isSecretOf(recordOf(this), presented, Date.now());
  };
  slowDevicesDown(provider, deps);
  prepare(provider, issuer);
  introspectBothKinds(provider, deps);
  return provider;
}

function configuration(issuer: string, deps: ProviderDeps): Configuration {
  const secure = issuer.startsWith('https:');
  const prefix = secure ? '__Secure-castellan' : 'castellan';
  const cookie = { httpOnly: true, sameSite: 'lax', secure, signed: true, overwrite: true } as const;
  return {
    adapter: (kind: string) => adapterFor(kind, deps),
    cookies: {
      names: {
        session: `${prefix}-no-session`,
        interaction: `${prefix}-request`,
        resume: `${prefix}-resume`,
      },
      short: cookie,
      long: cookie,
      keys: [deps.keys.mac('oauth/cookies', 'signed')],
    },
    jwks: { keys: [signingKey(deps.keys)] },
    clientDefaults: { id_token_signed_response_alg: 'EdDSA' },
    extraClientMetadata: { properties: ['record'] },
    clientAuthMethods: ['none', 'client_secret_basic', 'client_secret_post', 'private_key_jwt'],
    clientBasedCORS: () => true,
    scopes: [],
    responseTypes: ['code'],
    pkce: { required: () => true },
    features: features(issuer, deps),
    interactions: { policy: policy(), url: (_, { prompt, uid }) => interactionPath(prompt.name, uid) },
    routes: {
      authorization: '/authorize',
      token: '/token',
      revocation: '/revoke',
      introspection: '/introspect',
      jwks: '/jwks',
      device_authorization: '/device_authorization',
      code_verification: '/device',
    },
    findAccount: (_, uid) =>
      deps.isActiveUser(uid) ? { accountId: uid, claims: () => ({ sub: uid }) } : undefined,
    loadExistingGrant: (ctx) => authorizationFor(ctx, deps),
    issueRefreshToken: (_, client) => client.grantTypeAllowed('refresh_token'),
    rotateRefreshToken: true,
    revokeGrantPolicy: ({ oidc }) => oidc.route !== 'revocation' || oidc.entities.AccessToken === undefined,
    expiresWithSession: () => false,
    extraTokenClaims: ({ oidc: { client } }, { kind }) => {
      const user = kind === 'ClientCredentials' && client ? recordOf(client).user : undefined;
      const sub = user === undefined ? undefined : deps.userUid(user);
      return sub === undefined ? undefined : { sub };
    },
    fetch: () => Promise.reject(new Error('the authorization server fetches nothing')),
    renderError: async (ctx, { error, error_description: description }) => {
      ctx.type = 'html';
      ctx.body = await deps.errorPage(
        `The program that sent you here asked for something that cannot be: ${description ?? error}.`,
      );
    },
    ttl: {
      AccessToken: deps.accessTokenTtlSeconds,
      ClientCredentials: deps.accessTokenTtlSeconds,
      AuthorizationCode: CODE_SECONDS,
      DeviceCode: WAITING_SECONDS,
      Interaction: WAITING_SECONDS,
      RefreshToken: REFRESH_SECONDS,
      Grant: AUTHORIZATION_SECONDS,
      Session: WAITING_SECONDS,
      IdToken: CODE_SECONDS,
    },
  };
}

function features(issuer: string, deps: ProviderDeps): NonNullable<Configuration['features']> {
  return {
    devInteractions: { enabled: false },
    userinfo: { enabled: false },
    rpInitiatedLogout: { enabled: false },
    dPoP: { enabled: false },
    pushedAuthorizationRequests: { enabled: false },
    clientCredentials: { enabled: true },
    deviceFlow: { enabled: true, charset: 'base-20', mask: '****-****', deviceInfo: () => ({}) },
    introspection: {
      enabled: true,
      allowedPolicy: (_, client, token) => mayIntrospect(recordOf(client), token, deps),
    },
    revocation: { enabled: true, allowedPolicy: (_, client, token) => token.clientId === client.clientId },
    resourceIndicators: {
      enabled: true,
      defaultResource: (_, client, several) => {
        if (several !== undefined) throw new errors.InvalidTarget('ask for one resource');
        const indicator = deps.defaultIndicator(recordOf(client), issuer);
        if (indicator === undefined)
          throw new errors.InvalidTarget('resource is missing: name the MCP URL of a project');
        return indicator;
      },
      useGrantedResource: () => true,
      getResourceServerInfo: (ctx, indicator, client) => resourceServer(ctx, indicator, client, deps),
    },
  };
}

/** What a token for this indicator may hold. Also where a request that names no scope gets the one that it means. */
function resourceServer(ctx: KoaContextWithOIDC, indicator: string, client: Client, deps: ProviderDeps) {
  const { params, route } = ctx.oidc;
  const target = deps.targetOf(indicator);
  if (Array.isArray(params?.resource)) throw new errors.InvalidTarget('ask for one resource');
  if (!target) throw new errors.InvalidTarget('resource is no MCP URL of a project here');
  const open = deps.openTo(recordOf(client), target);
  if (!open) throw new errors.InvalidTarget('resource is of a project that is closed to this client');
  const asks = route !== 'token' || params?.grant_type === 'client_credentials';
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
function mayIntrospect(
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

function policy() {
  const { Prompt, Check } = interactionPolicy;
  const login = new Prompt(
    { name: 'login', requestable: true },
    new Check('no_user', 'nobody is signed in', ({ oidc }) => oidc.session?.accountId === undefined),
  );
  const consent = new Prompt(
    { name: 'consent', requestable: true },
    // An authorization is made when everything is decided; until then there is none.
    new Check('no_consent', 'the user has not decided', ({ oidc }) => oidc.entities.Grant?.jti === undefined),
  );
  return [login, consent];
}

/** The authorization that a request which needs nobody any more goes on with; undefined where somebody is needed. */
async function authorizationFor({ req, oidc }: KoaContextWithOIDC, deps: ProviderDeps) {
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

/** Tokens in our own format. A refresh token names its successor, so that parallel refreshes all get the same one. */
function nameTokens(provider: Provider, keys: Pick<KeyRing, 'mac'>): void {
  const accessToken = {
    // The provider settles the format of an access token where it settles its id.
    generateTokenId(this: { format?: string }) {
      this.format = 'opaque';
      return mintCredential('at');
    },
  };
  Object.assign(provider.AccessToken.prototype, accessToken);
  Object.assign(provider.ClientCredentials.prototype, accessToken);
  Object.assign(provider.RefreshToken.prototype, {
    generateTokenId: () => {
      const before = Provider.ctx?.oidc.entities.RotatedRefreshToken?.jti;
      return before === undefined
        ? mintCredential('rt')
        : mintCredential('rt', Buffer.from(keys.mac('oauth/successor', before), 'hex'));
    },
  });
}

/** A device that asks more often than every five seconds is told to slow down (RFC 8628 section 3.5). */
function slowDevicesDown({ DeviceCode }: Provider, { artifacts }: ProviderDeps): void {
  type Find = (value: string, options?: object) => Promise<InstanceType<typeof DeviceCode> | undefined>;
  const model = DeviceCode as unknown as { find: Find };
  const find = model.find.bind(DeviceCode);
  model.find = async (value, options) => {
    const code = await find(value, options);
    const oidc = Provider.ctx?.oidc;
    const polls = oidc?.route === 'token' && oidc.params?.grant_type === DEVICE_GRANT;
    if (code && polls && !code.accountId && !code.error && code.clientId === oidc.client?.clientId) {
      if (await artifacts.polledTooSoon(value, POLL_INTERVAL_MS)) throw new errors.SlowDown();
    }
    return code;
  };
}

/** What has to be settled before the provider reads a request. */
function prepare(provider: Provider, issuer: string): void {
  const { origin, protocol } = new URL(issuer);
  provider.silent = true;
  provider.use(async (ctx, next) => {
    // Behind a proxy the request itself does not know by which URL it came.
    Object.defineProperty(ctx.request, 'origin', { value: origin });
    Object.defineProperty(ctx.request, 'protocol', { value: protocol.slice(0, -1) });
    ctx.cookies.secure = protocol === 'https:';
    const { response_mode: mode } = ctx.query;
    // The others would answer with a page that holds a script.
    if (mode !== undefined && mode !== 'query') ctx.query = { ...ctx.query, response_mode: 'none' };
    await next();
  });
}

/** `/introspect` is for clients that prove themselves, and tells them of project tokens too. */
function introspectBothKinds(provider: Provider, deps: ProviderDeps): void {
  provider.use(async (ctx, next) => {
    await next();
    const { oidc } = ctx as KoaContextWithOIDC;
    if (ctx.path !== '/introspect' || ctx.status !== 200 || !oidc?.client) return;
    const record = recordOf(oidc.client);
    if (record.tokenEndpointAuthMethod === 'none') {
      ctx.status = 401;
      ctx.body = { error: 'invalid_client', error_description: 'only a client that proves itself may ask' };
      return;
    }
    const told = ctx.body as { active?: boolean; sub?: string };
    ctx.body = told.active
      ? { ...told, username: deps.userEmail(String(told.sub)) }
      : ((await deps.introspectToken(String(oidc.params?.token), record)) ?? told);
  });
}

/** Signs nothing today, since tokens are opaque; the same on every replica without being kept anywhere. */
function signingKey(keys: Pick<KeyRing, 'mac'>) {
  const seed = Buffer.from(keys.mac('oauth/signing-key', 'ed25519'), 'hex');
  const pkcs8 = Buffer.concat([Buffer.from('302e020100300506032b657004220420', 'hex'), seed]);
  const key = createPrivateKey({ key: pkcs8, format: 'der', type: 'pkcs8' });
  return { ...key.export({ format: 'jwk' }), alg: 'EdDSA', use: 'sig' } as {
    kty: 'OKP';
    crv: 'Ed25519';
    x: string;
    d: string;
  };
}
