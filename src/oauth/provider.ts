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
import { type Client, type Configuration, errors, Provider } from 'oidc-provider';
import type { KeyRing } from '../store/key-ring.ts';
import { isSecretOf } from './client-metadata.ts';
import { interactionPath } from './interaction-paths.ts';
import { adapterFor } from './provider-adapter.ts';
import { type ProviderDeps, recordOf } from './provider-deps.ts';
import { authorizationFor, mayIntrospect, policy, resourceServer } from './provider-rules.ts';
import { introspectBothKinds, nameTokens, slowDevicesDown } from './provider-tokens.ts';
import { viewSessions } from './session-view.ts';

const CODE_SECONDS = 60;
const WAITING_SECONDS = 600;
/** A client that does not come back for this long has to ask again. */
const REFRESH_SECONDS = 30 * 86_400;
/** However often it comes back. */
const AUTHORIZATION_SECONDS = 365 * 86_400;

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
    interactions: { policy: policy(deps), url: (_, { prompt, uid }) => interactionPath(prompt.name, uid) },
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

/** What has to be settled before the provider reads a request. */
function prepare(provider: Provider, issuer: string): void {
  const { origin, protocol } = new URL(issuer);
  provider.silent = true;
  provider.use(async (ctx, next) => {
    // Behind a proxy the request itself does not know by which URL it came.
    Object.defineProperty(ctx.request, 'origin', { value: origin });
    Object.defineProperty(ctx.request, 'protocol', { value: protocol.slice(0, -1) });
    ctx.cookies.secure = protocol === 'https:';
    // Programs ask everywhere else, whatever they accept.
    if (!ctx.path.startsWith('/authorize')) ctx.req.headers.accept = 'application/json';
    const { response_mode: mode } = ctx.query;
    // The others would answer with a page that holds a script.
    if (mode !== undefined && mode !== 'query') ctx.query = { ...ctx.query, response_mode: 'none' };
    await next();
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
