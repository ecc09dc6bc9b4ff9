import type { IncomingMessage, ServerResponse } from 'node:http';
import { type KoaContextWithOIDC, Provider } from 'oidc-provider';
import type { Audit } from '../audit/audit.ts';
import type { AuditActor } from '../audit/event.ts';
import { boundedCache } from '../base/bounded-cache.ts';
import { messageOf, Refusal } from '../base/errors.ts';
import type { Logger } from '../base/logger.ts';
import { userOfUid } from '../identity/token-record.ts';
import type { Tokens } from '../identity/tokens.ts';
import { KeyedRate } from '../limits/keyed-rate.ts';
import type { Rate } from '../limits/rate.ts';
import type { Resources } from '../resources/registry.ts';
import type { Store } from '../store/database.ts';
import type { Artifacts } from './artifacts.ts';
import type { ClientRecord, ClientSource } from './clients.ts';
import { Devices } from './devices.ts';
import { type Grants, projectOfUid } from './grants.ts';
import { Interactions } from './interactions.ts';
import type { Issuers } from './issuers.ts';
import { makeProvider } from './provider.ts';
import { type ProviderDeps, recordOf } from './provider-deps.ts';
import { defaultIndicator, openTo, targetOf } from './requested-access.ts';
import { scopeOfSurface } from './scopes.ts';
import type { SessionUser } from './session-view.ts';

/** Who is signed in at a browser. */
export type BrowserUser = {
  email: string;
  /** Names the sign-in without being its secret; it changes when somebody signs in anew. */
  sessionId: string;
  /** ms since 1970. */
  provenAt: number;
};

export type AuthorizationServerOptions = {
  store: Pick<Store, 'keys'>;
  resources: Pick<Resources, 'snapshot' | 'refresh'>;
  audit: Audit;
  artifacts: Artifacts;
  grants: Grants;
  tokens: Pick<Tokens, 'ofRaw' | 'callerOf'>;
  clients: ClientSource;
  issuers: Issuers;
  accessTokenTtlMs: number;
  browserUser(req: IncomingMessage): Promise<BrowserUser | undefined>;
  /** Whose request it is, as the audit names them. */
  addressOf(req: IncomingMessage): string;
  errorPage(sentence: string): Promise<string>;
  logger: Logger;
};

/** Names that a server on loopback is asked by are few; somebody who makes up others gains nothing. */
const MAX_ISSUERS = 8;
/** Many at once for a client that begins in many places, then one each second. */
const ISSUED: Rate = { calls: 600, perMs: 600_000 };

/** The OAuth endpoints, and what the pages need of them. Loaded when somebody first asks for it. */
export class AuthorizationServer {
  readonly interactions: Interactions;
  readonly devices: Devices;
  readonly #options: AuthorizationServerOptions;
  readonly #providers = boundedCache<string, Provider>(MAX_ISSUERS);
  readonly #deps: ProviderDeps;
  /** A request is asked for its user more than once. */
  readonly #users = new WeakMap<IncomingMessage, Promise<SessionUser | undefined>>();

  constructor(options: AuthorizationServerOptions) {
    this.#options = options;
    this.#deps = this.#providerDeps();
    const { artifacts, grants, clients } = options;
    const shared = {
      grants,
      client: (id: string) => clients.find(id, { mayFetch: false }),
      target: (indicator: string) => this.#targetOf(indicator),
      openTo,
      userUid: (email: string) => this.#userUid(email),
    };
    this.interactions = new Interactions({
      ...shared,
      providerOf: (req) => this.#providerOf(req),
      userEmail: (uid) => this.#user(uid)?.name,
      browserUser: async (req) => (await options.browserUser(req))?.email,
    });
    this.devices = new Devices({
      ...shared,
      artifacts,
      // Which name it has makes no difference to what is kept.
      provider: () => this.#provider('http://localhost'),
    });
  }

  /** Answers a request to one of the endpoints; false, and no answer, where nobody signs in. */
  async handle(req: IncomingMessage, res: ServerResponse): Promise<boolean> {
    const provider = this.#providerOf(req);
    if (!provider) return false;
    await provider.callback()(req, res);
    return true;
  }

  #providerOf({ headers }: IncomingMessage): Provider | undefined {
    const issuer = this.#options.issuers.of(headers.host);
    return issuer === undefined ? undefined : this.#provider(issuer);
  }

  #provider(issuer: string): Provider {
    let provider = this.#providers.get(issuer);
    if (!provider) {
      provider = makeProvider(issuer, this.#deps);
      this.#listenTo(provider);
      this.#providers.set(issuer, provider);
    }
    return provider;
  }

  #providerDeps(): ProviderDeps {
    const { store, artifacts, grants, clients, resources, accessTokenTtlMs, errorPage } = this.#options;
    return {
      artifacts,
      grants,
      clients,
      errorPage,
      issuing: new KeyedRate(ISSUED, () => performance.now()),
      keys: store.keys,
      accessTokenTtlSeconds: Math.max(1, Math.floor(accessTokenTtlMs / 1_000)),
      projectUidOf: (indicator) => this.#targetOf(indicator)?.projectUid,
      isProject: (uid) => projectOfUid(resources.snapshot(), uid) !== undefined,
      isActiveUser: (uid) => this.#user(uid)?.disabled === false,
      userUid: (email) => this.#userUid(email),
      userEmail: (uid) => this.#user(uid)?.name,
      targetOf: (indicator) => this.#targetOf(indicator),
      openTo,
      defaultIndicator: (client, issuer) => defaultIndicator(client, issuer, resources.snapshot()),
      introspectToken: (raw, client) => this.#introspectToken(raw, client),
      userOf: (req, client) => {
        const user = this.#users.get(req) ?? this.#userOf(req, client);
        this.#users.set(req, user);
        return user;
      },
    };
  }

  async #userOf(req: IncomingMessage, client: ClientRecord | undefined): Promise<SessionUser | undefined> {
    const { browserUser } = this.#options;
    if (client?.autoApprove && client.user !== undefined) {
      const uid = this.#userUid(client.user);
      if (uid !== undefined) {
        return { uid, sessionId: `client:${client.clientId}`, provenAt: 0, by: 'administrator' };
      }
    }
    const user = await browserUser(req);
    const uid = user && this.#userUid(user.email);
    return user && uid !== undefined
      ? { uid, sessionId: user.sessionId, provenAt: user.provenAt, by: 'browser' }
      : undefined;
  }

  /** A project token as RFC 7662 has it, for a client that is bound to its project; undefined for everything else. */
  async #introspectToken(raw: string, client: ClientRecord) {
    const record = await this.#options.tokens.ofRaw(raw);
    if (!record || client.project === undefined || record.project.name !== client.project) return undefined;
    const caller = await this.#options.tokens.callerOf(record.hash);
    return (
      caller && {
        active: true,
        username: caller.owner,
        scope: record.surfaces.map(scopeOfSurface).join(' '),
        token_type: 'Bearer',
        iat: Math.floor(record.createdAt / 1_000),
        ...(record.expiresAt !== null && { exp: Math.floor(record.expiresAt / 1_000) }),
      }
    );
  }

  #targetOf(indicator: string) {
    return targetOf(indicator, this.#options.issuers, this.#options.resources.snapshot());
  }

  #user(uid: string) {
    return userOfUid(this.#options.resources.snapshot().access, uid);
  }

  #userUid(email: string): string | undefined {
    const user = this.#options.resources.snapshot().access.users.get(email);
    return user && !user.disabled ? user.uid : undefined;
  }

  #listenTo(provider: Provider): void {
    const { logger, audit } = this.#options;
    provider.on('server_error', (ctx, error) => {
      if (error instanceof Refusal && error.kind === 'unavailable') {
        ctx.status = 503;
        ctx.set('retry-after', '2');
        ctx.body = { error: 'temporarily_unavailable', error_description: error.message };
      } else logger.error({ error: messageOf(error) }, 'a request to the authorization server failed');
    });
    provider.on('authorization.success', (ctx) => {
      const { client, account, params, route } = ctx.oidc;
      if (!client || route !== 'authorization' || !recordOf(client).autoApprove) return;
      audit.record({
        event: 'client.approved',
        outcome: 'allowed',
        actor: this.#actor(account?.accountId, client.clientId),
        address: this.#options.addressOf(ctx.req),
        target: `OAuthClient/${client.clientId}`,
        detail: { client: client.clientId, scopes: String(params?.scope ?? '').split(' ') },
      });
    });
    provider.on('grant.success', (ctx) => {
      this.#issued(ctx).catch((error) =>
        logger.warn({ error: messageOf(error) }, 'the last use of a grant was not written'),
      );
    });
    const revoked = (what: string) => (token: { accountId?: string; clientId?: string }) => {
      // A replay ends tokens too, and is told of as one.
      if (Provider.ctx?.oidc.route !== 'revocation') return;
      audit.record({
        event: 'access.revoked',
        outcome: 'ok',
        actor: this.#actor(token.accountId, token.clientId),
        target: `OAuthClient/${token.clientId}`,
        detail: { client: token.clientId, what },
      });
    };
    provider.on('access_token.destroyed', revoked('access token'));
    provider.on('client_credentials.destroyed', revoked('access token'));
    provider.on('refresh_token.destroyed', revoked('refresh token'));
    provider.on('grant.revoked', (ctx) => {
      if (ctx.oidc.route !== 'token') return;
      const what = ctx.oidc.params?.refresh_token === undefined ? 'code' : 'refresh token';
      const accountId = ctx.oidc.entities.Grant?.accountId;
      const client = ctx.oidc.client?.clientId;
      audit.record({
        event: 'grant.replayed',
        outcome: 'refused',
        actor: this.#actor(accountId, client),
        address: this.#options.addressOf(ctx.req),
        target: `OAuthClient/${client}`,
        detail: { client, what },
      });
    });
  }

  async #issued(ctx: KoaContextWithOIDC): Promise<void> {
    const { client, entities, params } = ctx.oidc;
    const token = entities.AccessToken ?? entities.ClientCredentials;
    if (!client || !token) return;
    const userUid = entities.AccessToken?.accountId ?? this.#userUid(recordOf(client).user ?? '');
    const target = typeof token.aud === 'string' ? this.#targetOf(token.aud) : undefined;
    this.#options.audit.record({
      event: 'access.issued',
      outcome: 'ok',
      actor: this.#actor(userUid, client.clientId),
      address: this.#options.addressOf(ctx.req),
      ...(target?.project !== undefined && { project: target.project }),
      target: `OAuthClient/${client.clientId}`,
      detail: {
        client: client.clientId,
        by: params?.grant_type,
        scopes: token.scope?.split(' '),
        expiresAt: token.exp === undefined ? undefined : new Date(token.exp * 1_000).toISOString(),
      },
    });
    if (entities.AccessToken && userUid !== undefined && target) {
      const { projectUid } = target;
      await this.#options.grants.used({ userUid, clientId: client.clientId, projectUid });
    }
  }

  #actor(userUid: string | undefined, clientId: string | undefined): AuditActor {
    const user = userUid === undefined ? undefined : this.#user(userUid)?.name;
    return user === undefined
      ? { kind: 'stranger' }
      : { kind: 'user', user, behind: `OAuthClient:${clientId}` };
  }
}
