import { Refusal } from '../../base/errors.ts';
import type { Authorizer } from '../../identity/authorizer.ts';
import type { Place } from '../../pins/pin-tables.ts';
import { findingsIn } from '../../pins/suspicious-text.ts';
import type { PinnedDefinition, ToolPins } from '../../pins/tool-pins.ts';
import { canonicalName } from '../../protocol/names.ts';
import type { Resources } from '../../resources/registry.ts';
import type { ProjectEntry, Surface } from '../../resources/spec.ts';
import type { LiveView, ShownTool, ToolDetail, ToolList } from './live.ts';
import { type ApiContext, jsonObject } from './responses.ts';
import { notThere, type Route } from './route.ts';

type Deps = { authorizer: Authorizer; resources: Resources; live: LiveView; pins: ToolPins };

/** `/projects/NAME/tools`: what agents see, what waits for somebody to accept it, and accepting it. */
export function toolRoutes(deps: Deps): Route[] {
  const { resources } = deps;
  const seen = {
    list: (c: ApiContext) => ({ resource: 'tools' as const, project: projectName(resources, c) }),
  };
  return [
    {
      method: 'GET',
      path: '/projects/:name/tools',
      need: seen,
      doc: {
        summary: 'List the tools of a project as agents see them, and those that wait to be accepted',
        query: { surface: { description: 'consumer or operator; both without it.' } },
        answer: 'ToolList',
      },
      handle: async (c) => {
        const { items, ...rest } = await seenTools(deps, c, surfaceOf(c));
        return c.json({ ...rest, items: items.map(({ definition: _, ...tool }) => tool) });
      },
    },
    {
      method: 'GET',
      path: '/projects/:name/tools/:tool',
      need: seen,
      doc: {
        summary:
          'Show a tool, by its canonical or its exposed name, with every definition that was seen of it',
        answer: 'ToolDetail',
      },
      handle: async (c) => {
        const name = c.req.param('tool') ?? '';
        const { items } = await seenTools(deps, c, undefined);
        const tool = items.find((one) => one.canonical === name) ?? items.find((one) => one.name === name);
        if (!tool) throw notThere({ resource: 'tools', name });
        return c.json(await detailOf(deps, c, tool));
      },
    },
    {
      method: 'POST',
      path: '/projects/:name/tools/:tool/accept',
      need: {
        ask: (c) => ({
          role: 'edit',
          resource: 'tools',
          name: c.req.param('tool') ?? '',
          project: projectName(resources, c),
        }),
      },
      doc: {
        summary: 'Accept this very definition of a tool, by its canonical name',
        body: 'ToolAcceptance',
        answer: 'ToolAccepted',
      },
      handle: (c) => accept(deps, c),
    },
  ];
}

async function accept(deps: Deps, c: ApiContext): Promise<Response> {
  const canonical = c.req.param('tool') ?? '';
  const fingerprint = fingerprintIn(await jsonObject(c));
  const place = placeOf(deps.resources, projectIn(deps.resources, c), canonical);
  if (!place) throw notThere({ resource: 'tools', name: canonical });
  const { items } = await seenTools(deps, c, undefined);
  const now = items.find((one) => one.canonical === canonical);
  if (now && now.state !== 'accepted' && now.fingerprint !== fingerprint)
    throw new Refusal(
      'conflict',
      `the definition of ${canonical} has changed again, to ${now.fingerprint.slice(0, 12)}: look at that one first`,
    );
  const tool = canonical.slice(canonicalName(place.server.name, '').length);
  const by = c.get('caller').principal;
  const outcome = await deps.pins.accept(place, { tool, fingerprint, by });
  if (outcome === 'unknown')
    throw new Refusal('conflict', `no definition of ${canonical} with this fingerprint waits any more`);
  return c.json({ canonical, fingerprint, state: 'accepted' });
}

/** The tools that the caller may know of. */
async function seenTools(
  { authorizer, resources, live }: Omit<Deps, 'pins'>,
  c: ApiContext,
  surface: Surface | undefined,
): Promise<ToolList> {
  const caller = c.get('caller');
  const project = projectIn(resources, c);
  const list = await live.tools(caller, project.name, surface);
  const mayKnow = (name: string) =>
    (['run', 'view'] as const).some(
      (role) => authorizer.decide(caller, { role, resource: 'tools', name, project: project.name }).allowed,
    );
  const items = list.items.filter((tool) => caller.surfaces.has(tool.surface) && mayKnow(tool.canonical));
  return { ...list, items };
}

async function detailOf(deps: Deps, c: ApiContext, tool: ShownTool): Promise<ToolDetail> {
  const project = projectIn(deps.resources, c);
  const place = placeOf(deps.resources, project, tool.canonical);
  const upstreamName = tool.canonical.slice(canonicalName(tool.server, '').length);
  const seen = place ? await deps.pins.definitions(place, upstreamName) : [];
  // What a server tells one user need not be for another, who may only run the tool.
  const ask = { role: 'view', resource: 'tools', name: tool.canonical, project: project.name } as const;
  const seesAll = deps.authorizer.decide(c.get('caller'), ask).allowed;
  const shown = seen.filter(({ fingerprint }) => seesAll || fingerprint === tool.fingerprint);
  return { ...tool, findings: findingsIn(tool.definition), definitions: shown.map(shownDefinition) };
}

function shownDefinition(one: PinnedDefinition): ToolDetail['definitions'][number] {
  const { fingerprint, definition, acceptedBy } = one;
  const acceptedAt = one.acceptedAt === undefined ? undefined : new Date(one.acceptedAt).toISOString();
  return { fingerprint, definition, seenAt: new Date(one.seenAt).toISOString(), acceptedAt, acceptedBy };
}

/** The server of the project that a canonical name belongs to. */
function placeOf(resources: Resources, project: ProjectEntry, canonical: string): Place | undefined {
  const { servers } = resources.snapshot();
  const name = [...project.spec.servers, ...project.spec.operatorServers].find((one) =>
    canonical.startsWith(canonicalName(one, '')),
  );
  const server = name === undefined ? undefined : servers.get(name);
  return server && { project, server };
}

function fingerprintIn({ fingerprint }: Record<string, unknown>): string {
  if (typeof fingerprint === 'string' && /^[0-9a-f]{64}$/.test(fingerprint)) return fingerprint;
  throw new Refusal(
    'invalid',
    'fingerprint: must be the SHA-256 of the definition that is accepted, 64 hexadecimal digits',
  );
}

/** @throws Refusal `not_found` where there is none that the caller may see */
function projectIn(resources: Resources, c: ApiContext): ProjectEntry {
  const name = c.req.param('name') ?? '';
  const { projectUid } = c.get('caller');
  const project = projectOf(resources, name);
  if (project && (projectUid === undefined || projectUid === project.uid)) return project;
  throw notThere({ resource: 'projects', name });
}

function projectOf(resources: Resources, nameOrUid: string): ProjectEntry | undefined {
  const { projects } = resources.snapshot();
  return projects.get(nameOrUid) ?? [...projects.values()].find((one) => one.uid === nameOrUid);
}

function projectName(resources: Resources, c: ApiContext): string {
  const name = c.req.param('name') ?? '';
  return projectOf(resources, name)?.name ?? name;
}

function surfaceOf(c: ApiContext): Surface | undefined {
  const surface = c.req.query('surface');
  if (surface === undefined || surface === 'consumer' || surface === 'operator') return surface;
  throw new Refusal('invalid', 'surface: must be consumer or operator');
}
