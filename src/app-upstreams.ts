import type { CastellanOptions } from './app-options.ts';
import type { Approvals } from './approvals/approvals.ts';
import type { Audit } from './audit/audit.ts';
import { ToolSightings } from './audit/sightings.ts';
import type { ChildProcesses } from './base/child-processes.ts';
import type { Logger } from './base/logger.ts';
import type { Freezes } from './freezes/freezes.ts';
import { Gates } from './gateway/gates.ts';
import { Gateway, type GatewayRooms } from './gateway/gateway.ts';
import { HealthCalls } from './gateway/health-calls.ts';
import type { LongResults } from './gateway/long-results.ts';
import type { LegacySessions } from './gateway/sessions.ts';
import { ToolNews } from './gateway/tool-news.ts';
import type { Toolsets } from './gateway/toolsets.ts';
import type { AbsentCallers } from './identity/absent-callers.ts';
import type { Authorizer } from './identity/authorizer.ts';
import { CallLimiter } from './limits/call-limiter.ts';
import { ServerClient } from './net/server-client.ts';
import type { ToolPins } from './pins/tool-pins.ts';
import type { Resources } from './resources/registry.ts';
import type { DataDirectory } from './store/data-directory.ts';
import type { Store } from './store/database.ts';
import { transportsOver } from './upstream/configured-transports.ts';
import { Upstreams } from './upstream/upstreams.ts';
import { usersGone, type Vendors } from './vendors/vendors.ts';

export type UpstreamDeps = {
  options: CastellanOptions;
  data: DataDirectory;
  store: Store;
  sessions: LegacySessions;
  audit: Audit;
  resources: Resources;
  freezes: Freezes;
  pins: ToolPins;
  authorizer: Authorizer;
  approvals: Approvals;
  callers: AbsentCallers;
  toolsets: Toolsets;
  vendors: Vendors;
  /** Asked for when somebody signs in, and not before the door is open. */
  logins: GatewayRooms['logins'];
  children: ChildProcesses;
  results: LongResults;
  logger: Logger;
};

/** The way of a call behind the door: the servers, what may stop a call, the gateway in front of both. */
export function openUpstreams(
  stack: AsyncDisposableStack,
  deps: UpstreamDeps,
): { gateway: Gateway; upstreams: Upstreams } {
  const { options, data, store, sessions, audit, resources, freezes, authorizer, logger } = deps;
  const { approvals, callers, toolsets, vendors, logins, children, results, pins } = deps;
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
  const rooms = { approvals, callers, sessions, results, pins, snapshot: () => resources.snapshot(), logins };
  const gateway = new Gateway(self, upstreams, data.sealer, authorizer, audit, gates, toolsets, rooms);
  pins.onChange((server) => gateway.changed(server));
  stack.defer(() => gateway.changes.close());
  upstreams.reconcile(resources.snapshot());
  resources.onChange((now, before) => {
    const left = usersGone(now, before);
    const forget = () => upstreams.usersGone(left);
    forget();
    vendors
      .changed(now, before)
      .then(forget)
      .catch((error: Error) => logger.error({ error: error.message }, 'grants of what is gone were kept'));
    const sameServers = now.servers === before.servers && now.projects === before.projects;
    if (sameServers && now.policies === before.policies) return;
    if (!sameServers) {
      upstreams.reconcile(now);
      pins.retain(now, before);
      gateway.stats.retain((server) => now.servers.has(server));
    }
    gateway.changed();
  });
  return { gateway, upstreams };
}
