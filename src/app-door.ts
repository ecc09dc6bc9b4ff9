import type { Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { CastellanOptions } from './app-options.ts';
import type { Approvals } from './approvals/approvals.ts';
import type { Audit } from './audit/audit.ts';
import { CountedEvents } from './audit/counted-events.ts';
import { Denials } from './audit/denials.ts';
import { messageOf } from './base/errors.ts';
import { lazily } from './base/lazily.ts';
import type { Logger } from './base/logger.ts';
import { type Result, refused } from './base/result.ts';
import type { Freezes } from './freezes/freezes.ts';
import type { Gateway } from './gateway/gateway.ts';
import { refuseNameClashes } from './gateway/name-clashes.ts';
import type { LegacySessions } from './gateway/sessions.ts';
import { isLoopbackName } from './http/bind.ts';
import { CredentialCheck } from './http/credential-check.ts';
import { EndpointAudit } from './http/endpoint-audit.ts';
import { GatewayLiveView } from './http/live-view.ts';
import { McpEndpoint } from './http/mcp-endpoint.ts';
import { metricsText } from './http/metrics.ts';
import { OpenStreams } from './http/open-streams.ts';
import { OriginPolicy } from './http/origin-policy.ts';
import { BrowserCookies } from './http/pages/browser-cookies.ts';
import { messagePage } from './http/pages/layout.ts';
import { RequestAddresses } from './http/request-addresses.ts';
import { createHttpServer, type RouterDeps } from './http/router.ts';
import type { AbsentCallers } from './identity/absent-callers.ts';
import { Authenticator } from './identity/authenticator.ts';
import type { Authorizer } from './identity/authorizer.ts';
import { BrowserSessions } from './identity/browser-sessions.ts';
import type { LocalAdmin } from './identity/local-admin.ts';
import { ManagedObjects } from './identity/managed-objects.ts';
import type { Passwords } from './identity/passwords.ts';
import { RightsIndex } from './identity/rights.ts';
import type { Tokens } from './identity/tokens.ts';
import { AddressLimiter } from './limits/address-limiter.ts';
import { ClientAddresses } from './limits/client-address.ts';
import { HandshakeLimiter } from './limits/handshake-limiter.ts';
import { GuardedClient } from './net/guarded-client.ts';
import { ClientDocuments } from './oauth/client-documents.ts';
import type { ClientSource } from './oauth/clients.ts';
import { DynamicClients } from './oauth/dynamic-clients.ts';
import { OAuth } from './oauth/oauth.ts';
import type { ToolPins } from './pins/tool-pins.ts';
import type { KeyRotation } from './resources/key-rotation.ts';
import type { PlannedChange } from './resources/layer-edit.ts';
import type { Resources } from './resources/registry.ts';
import type { Store } from './store/database.ts';
import type { Tickets } from './toolsets/tickets/tickets.ts';
import type { Upstreams } from './upstream/upstreams.ts';
import type { VendorLogins } from './vendors/logins.ts';
import { ownAddressesAt } from './vendors/registration.ts';
import type { Vendors } from './vendors/vendors.ts';

const MAX_BODY_BYTES = 4 * 1024 * 1024;

export type Door = {
  server: Server;
  routes: string[];
  /** Made on first use. */
  api: RouterDeps['api'];
  streams: OpenStreams;
  approvals: Approvals;
  logins: VendorLogins;
  drain(): void;
};

type DoorDeps = {
  options: CastellanOptions;
  logger: Logger;
  store: Store;
  audit: Audit;
  sessions: LegacySessions;
  resources: Resources;
  freezes: Freezes;
  pins: ToolPins;
  rotation: KeyRotation;
  authorizer: Authorizer;
  tokens: Tokens;
  passwords: Passwords;
  localAdmin: LocalAdmin;
  approvals: Approvals;
  callers: AbsentCallers;
  tickets: Tickets;
  gateway: Gateway;
  upstreams: Upstreams;
  vendors: Vendors;
};

/** Everything that listens: the MCP endpoint, the API, the pages, the authorization server. */
export function openDoor(stack: AsyncDisposableStack, deps: DoorDeps): Door {
  const { options, logger, store, sessions, audit, resources, authorizer, tokens, localAdmin } = deps;
  const { freezes, rotation, gateway, upstreams, passwords, approvals, callers, vendors, pins } = deps;
  const counted = new CountedEvents(audit);
  stack.defer(() => counted.close());
  const denials = new Denials(counted);
  const browserSessions = new BrowserSessions({ store, audit, authorizer });
  const dynamicClients = new DynamicClients({ store, audit });
  const addresses = new RequestAddresses(new ClientAddresses(options.trustedProxies));
  const oauth = openOAuth(stack, deps, addresses, browserSessions, dynamicClients);
  const { accessTokens } = oauth;
  callers.clients = (kept) => oauth.stillActs(kept);
  const streams = new OpenStreams((id) => (id.startsWith('mct_') ? tokens : accessTokens).hold(id));
  stack.defer(() => streams.endAll());
  tokens.onEnded((tokenId) => streams.endToken(tokenId));
  accessTokens.onEnded((id) => streams.endToken(id));
  resources.onChange((now, before) => {
    if (now.access === before.access) return;
    tokens.usersChanged();
    accessTokens.forget();
    const [is, was] = [authorizer.rights(), new RightsIndex(before.access)];
    streams.endThose((caller) => was.opens(caller) && !is.opens(caller));
    gateway.rightsChanged();
  });
  const authenticator = new Authenticator(tokens, accessTokens, localAdmin, authorizer, resources);
  const limiter = new AddressLimiter(() => performance.now());
  const credentials = new CredentialCheck(authenticator, addresses, limiter);
  const endpoint = new McpEndpoint({
    self: { name: 'castellan', title: 'Castellan', version: options.version },
    gateway,
    sessions,
    streams,
    credentials,
    audit: new EndpointAudit(counted, denials, addresses),
    authorizer,
    handshakes: new HandshakeLimiter(() => performance.now()),
    issuers: oauth.issuers,
    snapshot: () => resources.snapshot(),
    onSessionEnded: (handle) => void upstreams.endSession(handle),
    onRootsChanged: (handle) => upstreams.rootsChanged(handle),
    logger,
    maxBodyBytes: MAX_BODY_BYTES,
  });
  let origins: OriginPolicy | undefined;
  const ownAddresses = () => ownAddressesAt(options.publicUrl, (server.address() as AddressInfo).port);
  const logins = vendors.logins({
    own: ownAddresses,
    onChange: ({ name, owner }) => upstreams.credentialChanged(name, owner),
  });
  const api = lazily(async () => {
    const { createApi } = await import('./http/api/api.ts');
    const live = new GatewayLiveView(gateway, upstreams, authorizer, () => resources.snapshot());
    const refuse = (change: PlannedChange) => refuseNameClashes(change, upstreams);
    const objects = new ManagedObjects(resources, tokens, refuse);
    const { version, publicUrl } = options;
    const { grants, issuers } = oauth;
    const known = { credentials, addresses, authorizer, audit, store, denials, version, publicUrl };
    const people = { passwords, signIn: peopleSignIn(options) };
    const kept = {
      resources,
      rotation,
      freezes,
      pins,
      objects,
      tokens,
      approvals,
      tickets: deps.tickets,
      logins,
    };
    return createApi({ ...known, ...people, ...kept, live, streams, sessions, grants, issuers, logger });
  });
  const { server, routes, drain } = createHttpServer({
    endpoint,
    api,
    people: lazily(async () => {
      const { createPeoplePages } = await import('./http/pages/people-pages.ts');
      const { publicUrl, signInProvider: provider } = options;
      const shared = { approvals, sessions: browserSessions, addresses, audit, denials, logger };
      const open = peopleSignIn(options);
      const people = { ...shared, passwords, store, resources, oauth, logins, authorizer };
      return createPeoplePages({ ...people, publicUrl, provider, open });
    }),
    oauth,
    registration: options.clientRegistration ? { clients: dynamicClients, addresses, logger } : undefined,
    origins: () => {
      origins ??= originsOf(options, server);
      return origins;
    },
    ready: () => readiness(store, resources, localAdmin),
    metrics: () =>
      metricsText(gateway.stats, {
        upstreams: upstreams.status(),
        openStreams: streams.size,
        audit: audit.status,
      }),
    mayReadMetrics: async (bearer) => {
      const found = await authenticator.authenticate(bearer).catch(() => undefined);
      return found?.ok === true && authorizer.decide(found.value, { action: 'logs' }).allowed;
    },
    ownAddresses,
    publicUrl: options.publicUrl,
    version: options.version,
    logger,
  });
  stack.defer(async () => {
    server.close();
    server.closeAllConnections();
  });
  return { server, routes, api, streams, approvals, logins, drain };
}

function openOAuth(
  stack: AsyncDisposableStack,
  deps: DoorDeps,
  addresses: RequestAddresses,
  sessions: BrowserSessions,
  dynamicClients: DynamicClients,
): OAuth {
  const { options, store, resources, authorizer, tokens, audit, logger } = deps;
  const { publicUrl, host, accessTokenTtlMs, documentHosts: hosts } = options;
  const otherClients: ClientSource[] = [dynamicClients];
  if (hosts) otherClients.push(new ClientDocuments({ store, client: new GuardedClient(), hosts, logger }));
  const cookies = new BrowserCookies(publicUrl);
  const oauth = new OAuth({
    ...{ store, resources, authorizer, tokens, audit, logger, publicUrl, accessTokenTtlMs },
    loopback: isLoopbackName(host),
    otherClients,
    ways: { dynamic: options.clientRegistration, metadataDocuments: hosts !== undefined },
    browserUser: async (req) => {
      const cookie = cookies.sessionOf(req);
      const session = cookie === undefined ? undefined : await sessions.find(cookie);
      return session && { email: session.email, sessionId: session.id, provenAt: session.provenAt };
    },
    addressOf: (req) => addresses.exact(req),
    networkOf: (req) => addresses.network(req),
    errorPage: async (sentence) => String(await messagePage('This does not work', sentence)),
  });
  stack.defer(() => oauth.close());
  oauth
    .endLostClients()
    .catch((error: Error) => logger.error({ error: error.message }, 'tokens of lost clients were not ended'));
  return oauth;
}

async function readiness(
  store: Store,
  resources: Resources,
  { published }: LocalAdmin,
): Promise<Result<void, string>> {
  // Whoever waited for this expects the command line to work, which reads there where the server is.
  if (!published) return refused('it is starting or stopping');
  const answers = await store.ready();
  if (!answers.ok) return answers;
  try {
    await resources.current();
    return answers;
  } catch (error) {
    return refused(messageOf(error));
  }
}

function originsOf(options: CastellanOptions, server: Server): OriginPolicy {
  const { port } = server.address() as AddressInfo;
  const loopback = isLoopbackName(options.host);
  return new OriginPolicy({ loopback, port, publicUrl: options.publicUrl, allowed: options.allowedOrigins });
}

/** Nobody types a password where others on the network read it. */
export function peopleSignIn({ host, publicUrl }: CastellanOptions): boolean {
  return isLoopbackName(host) || publicUrl?.startsWith('https:') === true;
}
