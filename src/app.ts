import type { Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { CastellanOptions, RunningCastellan } from './app-options.ts';
import { Approvals } from './approvals/approvals.ts';
import { Audit } from './audit/audit.ts';
import { CountedEvents } from './audit/counted-events.ts';
import { Denials } from './audit/denials.ts';
import { AuditRetention } from './audit/retention.ts';
import { ToolSightings } from './audit/sightings.ts';
import { ChildProcesses } from './base/child-processes.ts';
import { messageOf } from './base/errors.ts';
import { lazily } from './base/lazily.ts';
import { createLogger, type Logger } from './base/logger.ts';
import { type Result, refused } from './base/result.ts';
import { Sealer } from './base/seal.ts';
import { Freezes } from './freezes/freezes.ts';
import { Gates } from './gateway/gates.ts';
import { Gateway } from './gateway/gateway.ts';
import { HealthCalls } from './gateway/health-calls.ts';
import { refuseNameClashes } from './gateway/name-clashes.ts';
import { LegacySessions } from './gateway/sessions.ts';
import { ToolNews } from './gateway/tool-news.ts';
import type { Toolsets } from './gateway/toolsets.ts';
import { hostInUrl, isLoopbackName, listen } from './http/bind.ts';
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
import { AbsentCallers } from './identity/absent-callers.ts';
import { Authenticator } from './identity/authenticator.ts';
import { Authorizer } from './identity/authorizer.ts';
import { BrowserSessions } from './identity/browser-sessions.ts';
import { makeFileTokens } from './identity/file-tokens.ts';
import { type LocalAdmin, openLocalAdmin } from './identity/local-admin.ts';
import { ManagedObjects } from './identity/managed-objects.ts';
import { Passwords } from './identity/passwords.ts';
import { RightsIndex } from './identity/rights.ts';
import { Tokens } from './identity/tokens.ts';
import { AddressLimiter } from './limits/address-limiter.ts';
import { CallLimiter } from './limits/call-limiter.ts';
import { ClientAddresses } from './limits/client-address.ts';
import { HandshakeLimiter } from './limits/handshake-limiter.ts';
import { GuardedClient } from './net/guarded-client.ts';
import { ServerClient } from './net/server-client.ts';
import { ClientDocuments } from './oauth/client-documents.ts';
import type { ClientSource } from './oauth/clients.ts';
import { DynamicClients } from './oauth/dynamic-clients.ts';
import { OAuth } from './oauth/oauth.ts';
import { FIRST_USER } from './resources/access-fields.ts';
import { KeyRotation } from './resources/key-rotation.ts';
import type { PlannedChange } from './resources/layer-edit.ts';
import { Resources } from './resources/registry.ts';
import { type DataDirectory, openDataDirectory } from './store/data-directory.ts';
import { openStore, type Store } from './store/database.ts';
import { openBuiltIn } from './toolsets/built-in.ts';
import type { Tickets } from './toolsets/tickets/tickets.ts';
import { transportsOver } from './upstream/configured-transports.ts';
import { Upstreams } from './upstream/upstreams.ts';
import { ownAddressesAt } from './vendors/registration.ts';
import { Vendors } from './vendors/vendors.ts';

const MAX_BODY_BYTES = 4 * 1024 * 1024;
const SESSION_PRUNE_MS = 600_000;
const DRAIN_POLL_MS = 25;

/** Builds the house, lowest room first, and opens its door. @throws Refusal with the reason and the fix */
export async function startCastellan(options: CastellanOptions): Promise<RunningCastellan> {
  const logger = createLogger({ level: options.logLevel });
  const stack = new AsyncDisposableStack();
  try {
    const data = await openDataDirectory(options.dataDir, {
      env: options.env,
      databaseUrl: options.databaseUrl,
    });
    stack.defer(() => data.close());
    const children = stack.use(new ChildProcesses({ marker: data.instanceId, logger }));
    // It reads the environment of every process, and nothing needs it before the first child.
    const swept = children.sweepOrphans();
    swept.catch(() => {});
    const store = await openStore({ dataDir: data, databaseUrl: options.databaseUrl, logger });
    stack.defer(() => store.close());
    const audit = await Audit.open({ store, masterKey: data.masterKey, version: options.version, logger });
    stack.defer(() => audit.close());
    const retention = new AuditRetention({ store, audit, keepMs: options.auditRetentionMs, logger });
    stack.defer(() => retention.close());
    const resources = await openResources(options, data, store, audit, logger);
    stack.defer(() => resources.close());
    const freezes = await Freezes.open({ store, logger });
    stack.defer(() => freezes.close());
    const vendors = new Vendors(store, resources, audit);
    const rotation = new KeyRotation({ store, resources, others: [vendors.vault], audit, logger });
    stack.defer(() => rotation.close());
    const authorizer = new Authorizer(() => resources.snapshot().access);
    const tokens = new Tokens({ store, resources, authorizer, logger });
    stack.defer(() => tokens.close());
    const passwords = new Passwords({ store, audit, authorizer });
    const localAdmin = await openLocalAdmin(data, logger);
    stack.defer(() => localAdmin.setUrl(undefined));
    const sessions = openSessions(stack, data, store, logger);
    await swept;
    const callers = new AbsentCallers({ tokens, authorizer, resources });
    // Of the master key itself: what it seals outlives the keys that rotate.
    const sealer = new Sealer(data.masterKey);
    const approvals: Approvals = await Approvals.open({
      ...{ store, audit, sealer, authorizer, logger },
      execute: (approval) => upstream.gateway.heldCalls.execute(approval),
    });
    const shared = { store, audit, resources, authorizer, logger };
    const { tickets, toolsets } = openBuiltIn(stack, { ...shared, approvals });
    const kept = { options, data, store, sessions, audit, resources, freezes, authorizer, logger };
    const upstream = openUpstreams(stack, { ...kept, vendors, approvals, callers, toolsets }, children);
    stack.defer(() => approvals.close());
    const door = openDoor(stack, {
      options,
      logger,
      store,
      audit,
      sessions,
      resources,
      freezes,
      rotation,
      authorizer,
      tokens,
      passwords,
      localAdmin,
      approvals,
      callers,
      tickets,
      ...upstream,
    });
    await listen(door.server, options);
    const url = `http://${hostInUrl(options.host)}:${(door.server.address() as AddressInfo).port}`;
    await localAdmin.setUrl(url);
    logger.info({ routes: door.routes }, `listening on ${url}`);
    tellRoutes(door, logger);
    tellOfLife(stack, audit, resources, options.version);
    const fileTokens = await makeFileTokens(tokens, resources.fileTokens(), resources.snapshot(), logger);
    return {
      url: options.publicUrl ?? url,
      projects: [...resources.snapshot().projects.keys()].sort(),
      fileTokens,
      firstLink: peopleSignIn(options) ? await passwords.firstLink(FIRST_USER) : undefined,
      reload: async () => {
        const { ok, message } = await resources.reload();
        audit.record({
          event: 'config.reloaded',
          outcome: ok ? 'ok' : 'error',
          actor: { kind: 'castellan' },
          detail: { message },
        });
      },
      stop: (graceMs) => stop(stack, door, graceMs),
    };
  } catch (error) {
    await stack.disposeAsync();
    throw error;
  }
}

function tellOfLife(stack: AsyncDisposableStack, audit: Audit, resources: Resources, version: string): void {
  const { servers, projects } = resources.snapshot();
  const about = { outcome: 'ok', actor: { kind: 'castellan' } } as const;
  const detail = { version, node: process.version, projects: projects.size, servers: servers.size };
  audit.record({ event: 'server.started', ...about, detail });
  stack.defer(() => audit.record({ event: 'server.stopped', ...about }));
}

type Door = {
  server: Server;
  routes: string[];
  /** Made on first use. */
  api: RouterDeps['api'];
  streams: OpenStreams;
  approvals: Approvals;
  drain(): void;
};

/** The API is not loaded before the server listens, so its routes are told of a moment later. */
function tellRoutes(door: Door, logger: Logger): void {
  door.api().then(
    ({ routes }) => {
      const own = routes.filter(({ method }) => method !== 'ALL');
      const named = new Set(own.map(({ method, path }) => `${method} /api/v1${path}`));
      logger.info({ routes: [...named] }, 'routes of the API');
    },
    (error) => logger.error({ error: messageOf(error) }, 'the API cannot be loaded'),
  );
}

function openResources(
  options: CastellanOptions,
  data: DataDirectory,
  store: Store,
  audit: Audit,
  logger: Logger,
) {
  return Resources.open({
    store,
    audit,
    files: options.configFiles,
    env: options.env,
    logger,
    dataDir: data.path,
    nodePath: process.execPath,
  });
}

function openSessions(stack: AsyncDisposableStack, data: DataDirectory, store: Store, logger: Logger) {
  const sessions = new LegacySessions(data.sealer, store);
  const pruning = setInterval(() => {
    sessions
      .prune()
      .catch((error: Error) => logger.warn({ error: error.message }, 'old sessions were not pruned'));
  }, SESSION_PRUNE_MS).unref();
  stack.defer(() => clearInterval(pruning));
  return sessions;
}

function openUpstreams(
  stack: AsyncDisposableStack,
  deps: Pick<
    DoorDeps,
    | 'options'
    | 'store'
    | 'sessions'
    | 'audit'
    | 'resources'
    | 'freezes'
    | 'authorizer'
    | 'logger'
    | 'approvals'
    | 'callers'
  > & { data: DataDirectory; toolsets: Toolsets; vendors: Vendors },
  children: ChildProcesses,
): { gateway: Gateway; upstreams: Upstreams; vendors: Vendors } {
  const { options, data, store, sessions, audit, resources, freezes, authorizer, logger } = deps;
  const { approvals, callers, toolsets, vendors } = deps;
  const client = stack.use(new ServerClient());
  const self = { name: 'castellan', title: 'Castellan', version: options.version };
  const healthCalls = new HealthCalls({ audit, freezes, snapshot: () => resources.snapshot() });
  const upstreams: Upstreams = stack.use(
    new Upstreams({
      self,
      transports: transportsOver(children, client, ({ name, spec }) => {
        const { command, args } = spec.target;
        const detail = { command, arguments: args.length };
        audit.record({
          event: 'process.started',
          outcome: 'allowed',
          ...audit.origin(),
          server: name,
          detail,
        });
      }),
      toolset: (name) => toolsets.offer(name),
      credential: (target) => vendors.credential(target),
      maxHttpServers: options.maxHttpServers,
      maxStdioServers: options.maxStdioServers,
      onCatalogueChange: (server) => {
        gateway.changed(server);
        news.changed(server);
      },
      onSessionNotice: (session, method, params) => gateway.sessionNotices.tell(session, method, params),
      holdSession: (session) => sessions.hold(session),
      onSessionLost: (session) => {
        sessions
          .end(session)
          .catch((error: Error) => logger.warn({ error: error.message }, 'a lost session was not marked'));
        gateway.sessionNotices.end(session);
        upstreams.abandonSession(session);
      },
      beginHealthCall: (server, tool) => healthCalls.begin(server, tool),
      onFault: (server, message) => logger.warn({ server }, message),
    }),
  );
  const news = stack.use(new ToolNews(new ToolSightings(store, audit), upstreams, logger));
  const limiter = new CallLimiter(() => performance.now());
  const gates = new Gates({ freezes, limiter, policies: () => resources.snapshot().policies });
  const holding = { approvals, callers, snapshot: () => resources.snapshot() };
  const gateway = new Gateway(self, upstreams, data.sealer, authorizer, audit, gates, toolsets, holding);
  stack.defer(() => gateway.changes.close());
  upstreams.reconcile(resources.snapshot());
  resources.onChange((now, before) => {
    const sameServers = now.servers === before.servers && now.projects === before.projects;
    if (sameServers && now.policies === before.policies) return;
    if (!sameServers) {
      upstreams.reconcile(now);
      gateway.stats.retain((server) => now.servers.has(server));
    }
    gateway.changed();
  });
  return { gateway, upstreams, vendors };
}

type DoorDeps = {
  options: CastellanOptions;
  logger: Logger;
  store: Store;
  audit: Audit;
  sessions: LegacySessions;
  resources: Resources;
  freezes: Freezes;
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

function openDoor(stack: AsyncDisposableStack, deps: DoorDeps): Door {
  const { options, logger, store, sessions, audit, resources, authorizer, tokens, localAdmin } = deps;
  const { freezes, rotation, gateway, upstreams, passwords, approvals, callers, vendors } = deps;
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
  const logins = vendors.logins({ own: ownAddresses, onChange: (name) => upstreams.credentialChanged(name) });
  const api = lazily(async () => {
    const { createApi } = await import('./http/api/api.ts');
    const live = new GatewayLiveView(gateway, upstreams, authorizer, () => resources.snapshot());
    const refuse = (change: PlannedChange) => refuseNameClashes(change, upstreams);
    const objects = new ManagedObjects(resources, tokens, refuse);
    const { version, publicUrl } = options;
    const { grants, issuers } = oauth;
    const known = { credentials, addresses, authorizer, audit, store, denials, version, publicUrl };
    const people = { passwords, signIn: peopleSignIn(options) };
    const kept = { resources, rotation, freezes, objects, tokens, approvals, tickets: deps.tickets, logins };
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
      const people = { ...shared, passwords, store, resources, oauth };
      return createPeoplePages({ ...people, publicUrl, provider, open });
    }),
    oauth,
    registration: options.clientRegistration ? { clients: dynamicClients, addresses, logger } : undefined,
    origins: () => {
      origins ??= originsOf(options, server);
      return origins;
    },
    ready: () => readiness(store, resources),
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
  return { server, routes, api, streams, approvals, drain };
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

async function readiness(store: Store, resources: Resources): Promise<Result<void, string>> {
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

async function stop(
  stack: AsyncDisposableStack,
  { server, streams, approvals, drain }: Door,
  graceMs: number,
): Promise<void> {
  drain();
  streams.endLasting();
  const deadline = Date.now() + graceMs;
  while (streams.size + approvals.executing > 0 && Date.now() < deadline) {
    await new Promise((resolve) => setTimeout(resolve, DRAIN_POLL_MS));
    server.closeIdleConnections();
  }
  await stack.disposeAsync();
}

/** Nobody types a password where others on the network read it. */
function peopleSignIn({ host, publicUrl }: CastellanOptions): boolean {
  return isLoopbackName(host) || publicUrl?.startsWith('https:') === true;
}
