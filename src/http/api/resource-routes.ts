import { Refusal } from '../../base/errors.ts';
import type { Freezes } from '../../freezes/freezes.ts';
import type { Authorizer } from '../../identity/authorizer.ts';
import type { Ask } from '../../identity/decide.ts';
import { resourceOf } from '../../identity/guards.ts';
import type { ManagedObjects } from '../../identity/managed-objects.ts';
import type { Role } from '../../resources/bindings.ts';
import { kindOf } from '../../resources/kinds.ts';
import type { ResourceKind } from '../../resources/known-objects.ts';
import type { ResourceObject } from '../../resources/objects.ts';
import type { Resources } from '../../resources/registry.ts';
import { isSelected } from '../../resources/selectors.ts';
import type { Store } from '../../store/database.ts';
import type { OpenStreams } from '../open-streams.ts';
import { CONDITIONS, expectedVersion, underConditions } from './conditions.ts';
import { clientStatus, withStatus } from './object-status.ts';
import { ObjectWatch, type WatchDeps } from './object-watch.ts';
import { type ApiContext, flag, jsonObject, refuse } from './responses.ts';
import { mayList, notThere, type Route } from './route.ts';
import { DRY_RUN, SELECTION } from './route-doc.ts';
import { selectorOf } from './selection.ts';

type Deps = {
  authorizer: Authorizer;
  freezes: Freezes;
  resources: Resources;
  objects: ManagedObjects;
  streams: OpenStreams;
  store: Pick<Store, 'db'>;
};

const WATCH = {
  watch: { description: 'Streams changes, an event a line, instead of the list.', type: 'boolean' },
  resourceVersion: {
    description:
      'With watch: begin after this place, as a list or an event named it; without it, with what there is.',
  },
} as const;

/** The objects of every kind but tokens, by plural, singular or alias. */
export function resourceRoutes(deps: Deps): Route[] {
  return [listRoute(deps), ...objectRoutes(deps)];
}

function listRoute({ authorizer, freezes, resources, streams }: Deps): Route {
  return {
    method: 'GET',
    path: '/:kind',
    need: { list: (c) => ({ resource: resourceOf(kindOfPath(c)) }) },
    doc: {
      summary: 'List objects of kind KIND, or watch their changes',
      query: { ...SELECTION, ...WATCH },
      answer: 'KindList',
      streamed: 'KindEvent',
    },
    handle: async (c) => {
      const kind = kindOfPath(c);
      const selector = await selectorOf(c, kind);
      const visible = (object: ResourceObject | undefined) => {
        if (object?.kind !== kind || !isSeen(authorizer, c, object)) return undefined;
        const whole = withStatus(object, resources.snapshot(), freezes);
        return isSelected(whole, selector) ? whole : undefined;
      };
      if (flag(c, 'watch')) return watch(c, { resources, streams, authorizer }, visible);
      if (c.req.query('resourceVersion') !== undefined)
        throw new Refusal('invalid', 'resourceVersion: means something beside watch=true alone');
      const items = resources
        .list(kind)
        .map(visible)
        .filter((object) => object !== undefined);
      return c.json({ items, metadata: { resourceVersion: resources.feed.version } });
    },
  };
}

function objectRoutes({ authorizer, freezes, resources, objects, store }: Deps): Route[] {
  const asking = (role: Role) => (c: ApiContext) => askOf(resources, c, role);
  return [
    {
      method: 'GET',
      path: '/:kind/:name',
      need: { ask: asking('view') },
      doc: { summary: 'Show one KIND', answer: 'Kind' },
      handle: async (c) => {
        const object = find(resources, authorizer, c);
        c.header('etag', `"${object.metadata.resourceVersion}"`);
        if (object.kind === 'OAuthClient') return c.json(await clientStatus(object, store.db, authorizer));
        return c.json(withStatus(object, resources.snapshot(), freezes));
      },
    },
    putRoute({ authorizer, resources, objects }),
    {
      method: 'DELETE',
      path: '/:kind/:name',
      need: { ask: asking('delete') },
      doc: {
        summary: 'Delete a KIND',
        query: { ...DRY_RUN, resourceVersion: { description: 'The version that has to be there.' } },
        headers: { 'if-match': CONDITIONS['if-match'] },
        answer: 'KindChange',
      },
      handle: async (c) => {
        const object = find(resources, authorizer, c);
        const expected = expectedVersion(c, c.req.query('resourceVersion'));
        const how = { dryRun: flag(c, 'dryRun'), expected };
        return underConditions(c, async () => {
          await objects.remove(c.get('caller'), kindOfPath(c), object, how);
          return c.json({ action: 'deleted', object });
        });
      },
    },
  ];
}

function putRoute({
  authorizer,
  resources,
  objects,
}: Pick<Deps, 'authorizer' | 'resources' | 'objects'>): Route {
  return {
    method: 'PUT',
    path: '/:kind/:name',
    // What the caller may not see is not there, to be created. The change asks once more, when nothing comes between.
    need: {
      ask: (c) => {
        const object = objectOf(resources, c);
        return askOf(resources, c, object && isSeen(authorizer, c, object) ? 'edit' : 'create');
      },
    },
    doc: {
      summary: 'Create or replace a KIND',
      query: {
        ...DRY_RUN,
        createOnly: { description: 'Replaces nothing that is there already.', type: 'boolean' },
      },
      headers: CONDITIONS,
      body: 'Kind',
      answer: 'KindChange',
    },
    // An OAuthClient that is new comes with its secret, this once.
    handle: async (c) => {
      const body = await bodyFor(c);
      const { resourceVersion } = body.metadata as { resourceVersion?: unknown };
      const given = typeof resourceVersion === 'string' ? resourceVersion : undefined;
      const expected = flag(c, 'createOnly') ? 'none' : expectedVersion(c, given);
      const how = { dryRun: flag(c, 'dryRun'), expected };
      return underConditions(c, async () => c.json(await objects.put(c.get('caller'), body, how)));
    },
  };
}

/** Whether the caller may know of the object. */
function isSeen(authorizer: Authorizer, c: ApiContext, { kind, metadata }: ResourceObject): boolean {
  return authorizer.decide(c.get('caller'), objectAsk('view', kind as ResourceKind, metadata.name)).allowed;
}

function watch(
  c: ApiContext,
  { resources, streams, authorizer }: Pick<Deps, 'resources' | 'streams' | 'authorizer'>,
  visible: WatchDeps['visible'],
): Response {
  const { feed } = resources;
  const from = c.req.query('resourceVersion');
  const there = () =>
    resources.list(kindOfPath(c)).map((now) => ({ before: undefined, now, version: feed.version }));
  const first = from === undefined ? there() : feed.since(from);
  if (!first)
    return refuse(c, 410, 'EXPIRED', 'resourceVersion: is too old or of another process: list, then watch');
  const caller = c.get('caller');
  const wanted = { resource: resourceOf(kindOfPath(c)) };
  const isAdmitted = () => mayList(caller, wanted, authorizer);
  const stream = new ObjectWatch({ feed, streams, caller, visible, isAdmitted }, first);
  if (!streams.add(stream)) {
    stream.end();
    c.header('retry-after', '5');
    return refuse(c, 429, 'RATE_LIMITED', 'you have too many streams open already: end one');
  }
  return c.body(stream.body, 200, { 'content-type': 'application/x-ndjson', 'x-accel-buffering': 'no' });
}

function askOf(resources: Resources, c: ApiContext, role: Role): Ask {
  const name = objectOf(resources, c)?.metadata.name ?? c.req.param('name') ?? '';
  return objectAsk(role, kindOfPath(c), name);
}

/** A project is what its own token may reach. */
function objectAsk(role: Role, kind: ResourceKind, name: string): Ask {
  const project = kind === 'Project' ? { project: name } : {};
  return { role, resource: resourceOf(kind), name, ...project };
}

async function bodyFor(c: ApiContext): Promise<Record<string, unknown>> {
  const kind = kindOfPath(c);
  const body = await jsonObject(c);
  const name = c.req.param('name');
  const metadata = body.metadata as { name?: unknown } | undefined;
  if (metadata?.name !== name) {
    throw new Refusal('invalid', `metadata.name: must be ${name}, the name in the path`);
  }
  if (typeof body.kind !== 'string' || kindOf(body.kind).kind !== kind) {
    throw new Refusal('invalid', `kind: must be ${kind}, the kind in the path`);
  }
  return body;
}

function kindOfPath(c: ApiContext): ResourceKind {
  const word = c.req.param('kind') ?? '';
  try {
    const { kind } = kindOf(word);
    if (kind !== 'McpToken') return kind;
    throw new Refusal('not_found', 'the path of tokens is /api/v1/mcptokens');
  } catch (error) {
    if (error instanceof Refusal && error.kind === 'invalid') throw new Refusal('not_found', error.message);
    throw error;
  }
}

/** By name, else by id. */
function objectOf(resources: Resources, c: ApiContext): ResourceObject | undefined {
  return resources.get(kindOfPath(c), c.req.param('name') ?? '');
}

/** @throws Refusal `not_found`; the names that there are go to those who may see them all */
function find(resources: Resources, authorizer: Authorizer, c: ApiContext): ResourceObject {
  const found = objectOf(resources, c);
  if (found) return found;
  const kind = kindOfPath(c);
  const name = c.req.param('name') ?? '';
  const resource = resourceOf(kind);
  if (!authorizer.decide(c.get('caller'), { role: 'view', resource }).allowed)
    throw notThere({ resource, name });
  const few = resources
    .list(kind)
    .slice(0, 20)
    .map((one) => one.metadata.name)
    .join(', ');
  throw new Refusal(
    'not_found',
    `there is no ${kind.toLowerCase()} ${name}${few ? `; there are ${few}` : ''}`,
  );
}
