import type { Audit } from '../../audit/audit.ts';
import { Refusal } from '../../base/errors.ts';
import type { Freezes } from '../../freezes/freezes.ts';
import type { Authorizer } from '../../identity/authorizer.ts';
import { demand } from '../../identity/guards.ts';
import type { Resources } from '../../resources/registry.ts';
import { EVERYBODY, type LoginUnderWay } from '../../vendors/grants.ts';
import type { VendorLogins } from '../../vendors/logins.ts';
import { seenFreezes } from './freeze-routes.ts';
import type { LiveView, ServerStatus } from './live.ts';
import { type ApiContext, flag } from './responses.ts';
import { notThere, type Route } from './route.ts';

type LiveDeps = { authorizer: Authorizer; resources: Resources; live: LiveView };
type ActDeps = LiveDeps & { audit: Audit; freezes: Freezes; logins: VendorLogins };

/** What runs now: upstream states, and the two acts on them. */
export function liveRoutes(deps: ActDeps): Route[] {
  const { authorizer, resources, live, freezes, logins } = deps;
  const sees = (c: ApiContext, name: string) =>
    authorizer.decide(c.get('caller'), { role: 'view', resource: 'servers', name }).allowed;
  const serverList = { list: () => ({ resource: 'servers' as const }) };
  return [
    {
      method: 'GET',
      path: '/mcp/servers',
      need: serverList,
      doc: {
        summary: 'List the configured servers, a broken one with its reason',
        query: { resolve: { description: 'With variables replaced.', type: 'boolean' } },
        answer: 'ConfiguredServerList',
      },
      handle: (c) => {
        const resolve = flag(c, 'resolve');
        if (resolve) refuseValues(authorizer, c);
        return c.json({ items: listedServers(resources, resolve).filter(({ name }) => sees(c, name)) });
      },
    },
    {
      method: 'GET',
      path: '/mcp/status',
      need: serverList,
      doc: { summary: 'List the states of the servers, from memory', answer: 'ServerStatusList' },
      handle: async (c) =>
        c.json({
          items: withLogins(
            live.status().filter(({ name }) => sees(c, name)),
            resources,
            await logins.underWay(),
            c.get('caller').owner,
          ),
          frozen: seenFreezes({ authorizer, freezes }, c.get('caller')),
        }),
    },
    {
      method: 'GET',
      path: '/servers/:name/status',
      need: { ask: (c) => ({ role: 'view', resource: 'servers', name: nameIn(resources, c) }) },
      doc: { summary: 'Show the state of a server, its connections and its log', answer: 'ServerDetail' },
      handle: (c) => {
        const status = live.serverStatus(knownServer(resources, c));
        // What a process writes there may be anything.
        const logs = authorizer.decide(c.get('caller'), { action: 'logs' }).allowed;
        return c.json(status && !logs ? { ...status, stderr: [] } : (status ?? {}));
      },
    },
    ...actRoutes(deps),
  ];
}

/** Each with the sign-in that was begun last for everybody, or for this user. */
function withLogins(
  items: readonly ServerStatus[],
  resources: Resources,
  underWay: readonly LoginUnderWay[],
  user: string,
): ServerStatus[] {
  const { servers } = resources.snapshot();
  const own = underWay.filter(({ owner }) => owner === EVERYBODY || owner === user);
  return items.map((item) => {
    const uid = servers.get(item.name)?.uid;
    const login = own.findLast(({ server }) => server === uid);
    if (!login) return item;
    const command = `castellan mcp login ${item.name} --resume`;
    return {
      ...item,
      login: { flow: login.flow, expiresAt: new Date(login.expiresAt).toISOString(), command },
    };
  });
}

function actRoutes({ authorizer, resources, live, audit }: ActDeps): Route[] {
  return [
    {
      method: 'POST',
      path: '/servers/:name/connect',
      need: { ask: (c) => ({ role: 'edit', resource: 'servers', name: nameIn(resources, c) }) },
      doc: { summary: 'Connect to a server now', answer: 'ServerStatus' },
      handle: async (c) => {
        const server = knownServer(resources, c);
        if (resources.snapshot().servers.get(server)?.spec?.target.type === 'stdio') {
          const layers = authorizer.rights().layersOf(c.get('caller'));
          demand(layers, { action: 'spawn' }, ', which starting a process needs');
        }
        const tell = (outcome: 'ok' | 'error', state?: string) =>
          audit.record({ event: 'server.connected', outcome, ...audit.origin(), server, detail: { state } });
        try {
          const status = await live.connect(c.get('caller'), server);
          tell('ok', status.state);
          return c.json(status);
        } catch (error) {
          tell('error');
          throw error;
        }
      },
    },
    {
      method: 'POST',
      path: '/reload',
      need: { ask: () => ({ role: 'admin', resource: '*' }) },
      doc: { summary: 'Read the configuration files again', answer: 'Reloaded' },
      handle: async (c) => {
        const { ok, message } = await resources.reload();
        const outcome = ok ? 'ok' : 'error';
        audit.record({ event: 'config.reloaded', outcome, ...audit.origin(), detail: { message } });
        return c.json({ ok, message });
      },
    },
  ];
}

/** Values of variables may be secrets. @throws Refusal `forbidden` */
function refuseValues(authorizer: Authorizer, c: ApiContext): void {
  if (authorizer.decide(c.get('caller'), { role: 'admin', resource: 'servers' }).allowed) return;
  throw new Refusal('forbidden', 'resolve: values of variables are shown to role:admin,resource:servers');
}

/** The server's name, or what stands in the path where there is none. */
function nameIn(resources: Resources, c: ApiContext): string {
  return serverName(resources, c) ?? c.req.param('name') ?? '';
}

/** @throws Refusal `not_found` */
function knownServer(resources: Resources, c: ApiContext): string {
  const name = serverName(resources, c);
  if (name === undefined) throw notThere({ resource: 'servers', name: c.req.param('name') ?? '' });
  return name;
}

/** The name in the path, or the name behind the id in it; undefined when there is no such server. */
function serverName(resources: Resources, c: ApiContext): string | undefined {
  const name = c.req.param('name') ?? '';
  const { servers } = resources.snapshot();
  if (servers.has(name)) return name;
  return [...servers.values()].find((server) => server.uid !== '' && server.uid === name)?.name;
}

type ListedServer = { name: string; spec: unknown; managedBy: string | undefined; error?: string };

/** Every server by name, a broken one with its reason. Placeholders stay as written unless `resolve`. */
function listedServers(resources: Resources, resolve: boolean): ListedServer[] {
  const written = new Map(resources.list('Server').map((object) => [object.metadata.name, object]));
  return [...resources.snapshot().servers.values()]
    .sort((a, b) => (a.name < b.name ? -1 : 1))
    .map(({ name, error }) => {
      const object = written.get(name);
      return {
        name,
        spec: (resolve ? resources.resolved(name)?.spec : object?.spec) ?? null,
        managedBy: object?.metadata.managedBy,
        ...(error === undefined ? {} : { error }),
      };
    });
}
