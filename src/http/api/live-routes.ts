import { Hono } from 'hono';
import { Refusal } from '../../base/errors.ts';
import type { Resources } from '../../resources/registry.ts';
import type { Surface } from '../../resources/spec.ts';
import { requireProject, requireUser } from './bearer.ts';
import type { LiveView } from './live.ts';
import { type ApiContext, type ApiEnv, flag } from './responses.ts';

export type LiveDeps = { resources: Resources; live: LiveView };

/** What runs now: tools as agents see them, upstream states, and the two acts on them. */
export function liveRoutes({ resources, live }: LiveDeps): Hono<ApiEnv> {
  return new Hono<ApiEnv>()
    .get('/projects/:name/tools', async (c) => {
      const name = c.req.param('name');
      const { projects } = resources.snapshot();
      const project = projects.get(name) ?? [...projects.values()].find((one) => one.uid === name);
      // To a token, a project that is not its own looks the same whether it exists or not.
      const caller = project ? requireProject(c, project) : requireUser(c);
      if (!project) throw new Refusal('not_found', `there is no project ${name}`);
      const surface = surfaceOf(c);
      const list = await live.tools(caller, project.name, surface);
      return c.json({ ...list, items: list.items.filter((tool) => caller.surfaces.has(tool.surface)) });
    })
    .get('/mcp/servers', (c) => {
      requireUser(c);
      return c.json({ items: serverList(resources, flag(c, 'resolve')) });
    })
    .get('/mcp/status', (c) => {
      requireUser(c);
      return c.json({ items: live.status() });
    })
    .get('/servers/:name/status', (c) => {
      requireUser(c);
      const status = live.serverStatus(serverName(resources, c));
      return c.json(status ?? {});
    })
    .post('/servers/:name/connect', async (c) => {
      const caller = requireUser(c);
      return c.json(await live.connect(caller, serverName(resources, c)));
    })
    .post('/reload', async (c) => {
      requireUser(c);
      const { ok, message } = await resources.reload();
      return c.json({ ok, message });
    });
}

function surfaceOf(c: ApiContext): Surface | undefined {
  const surface = c.req.query('surface');
  if (surface === undefined || surface === 'consumer' || surface === 'operator') return surface;
  throw new Refusal('invalid', 'surface: must be consumer or operator');
}

/** The name in the path, or the name behind the id in it. @throws Refusal `not_found` */
function serverName(resources: Resources, c: ApiContext): string {
  const name = c.req.param('name') ?? '';
  const { servers } = resources.snapshot();
  if (servers.has(name)) return name;
  const byId = [...servers.values()].find((server) => server.uid !== '' && server.uid === name);
  if (byId) return byId.name;
  throw new Refusal('not_found', `there is no server ${name}`);
}

type ListedServer = { name: string; spec: unknown; managedBy: string | undefined; error?: string };

/** Every server by name, a broken one with its reason. Placeholders stay as written unless `resolve`. */
function serverList(resources: Resources, resolve: boolean): ListedServer[] {
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
