import { Hono } from 'hono';
import { Refusal } from '../../base/errors.ts';
import type { Authorizer } from '../../identity/authorizer.ts';
import type { AuthenticatedCaller } from '../../identity/caller.ts';
import { type Ask, askText, mayAny, type RoleAsk } from '../../identity/decide.ts';
import { lacks } from '../../identity/guards.ts';
import type { BoundResource, Role } from '../../resources/bindings.ts';
import { KINDS } from '../../resources/kinds.ts';
import { nearest, printable } from '../../resources/names.ts';
import type { ApiContext, ApiEnv } from './responses.ts';
import type { RouteDoc } from './route-doc.ts';

/** What a caller needs for a route. */
export type Need =
  /** Not even a credential. */
  | 'nobody'
  /** Any valid credential: what is answered concerns the caller itself, or the route asks more exactly by itself. */
  | 'credential'
  /** This right, unless `or` holds. Whoever may not even see the object is told that there is none. */
  | { ask: (c: ApiContext) => Ask | Promise<Ask>; or?: (c: ApiContext) => boolean }
  /** To see something of the resource; the answer holds what the caller may see. */
  | { list: (c: ApiContext) => { resource: BoundResource; project?: string | undefined } };

/** One way into the API. Every route is a value of this type, so that none can be without its need. */
export type Route = {
  method: 'GET' | 'POST' | 'PUT' | 'DELETE';
  /** Below `/api/v1`. */
  path: string;
  need: Need;
  /** What the OpenAPI document says of it. */
  doc: RouteDoc;
  handle(c: ApiContext): Response | Promise<Response>;
};

/** Mounts routes, each behind its need: the one place where the API lets anybody in. */
export function mounted(routes: readonly Route[], authorizer: Authorizer): Hono<ApiEnv> {
  const app = new Hono<ApiEnv>();
  for (const { method, path, need, doc, handle } of routes) {
    app.on(method, path, async (c) => {
      refuseUnknownQuery(c, doc);
      await admit(c, need, authorizer);
      return handle(c);
    });
  }
  return app;
}

/** A mistyped `dryRun` must not be a change. */
function refuseUnknownQuery(c: ApiContext, { query = {} }: RouteDoc): void {
  const unknown = Object.keys(c.req.queries()).find((name) => !Object.hasOwn(query, name));
  if (unknown === undefined) return;
  const known = Object.keys(query);
  const meant = nearest(unknown, known);
  const fix = meant
    ? `did you mean ${meant}?`
    : known.length > 0
      ? `use ${known.join(', ')}`
      : 'this path takes none';
  throw new Refusal('invalid', `${printable(unknown)}: unknown query parameter: ${fix}`);
}

async function admit(c: ApiContext, need: Need, authorizer: Authorizer): Promise<void> {
  const caller = c.get('caller');
  if (need === 'credential' || need === 'nobody') return;
  if ('list' in need) return admitToList(caller, need.list(c), authorizer);
  if (need.or?.(c)) return;
  const ask = await need.ask(c);
  refuseOutside(caller, ask.project);
  const decision = authorizer.decide(caller, ask);
  if (decision.allowed) return;
  if (isHidden(caller, ask, authorizer)) throw notThere(ask);
  throw lacks(decision.missing);
}

function admitToList(
  caller: AuthenticatedCaller,
  { resource, project }: { resource: BoundResource; project?: string | undefined },
  authorizer: Authorizer,
): void {
  refuseOutside(caller, project);
  if (mayList(caller, { resource, project }, authorizer)) return;
  throw lacks(askText(viewOf({ resource, project })));
}

/** Whether the caller may see anything of the resource. */
export function mayList(
  caller: AuthenticatedCaller,
  wanted: { resource: BoundResource; project?: string | undefined },
  authorizer: Authorizer,
): boolean {
  const layers = authorizer.rights().layersOf(caller);
  return rolesThatSee(wanted.resource).some((role) => mayAny(layers, { ...viewOf(wanted), role }));
}

/** Whoever may run a tool or handle a ticket sees it, too. */
function rolesThatSee(resource: BoundResource): readonly Role[] {
  if (resource === 'tools') return ['view', 'run'];
  return resource === 'tickets' ? ['view', 'handle'] : ['view'];
}

function viewOf({ resource, project }: { resource: BoundResource; project?: string | undefined }): RoleAsk {
  return { role: 'view', resource, ...(project === undefined ? {} : { project }) };
}

/** A token reaches the paths of its own project and no others, whatever it was given. */
export function refuseOutside(caller: AuthenticatedCaller, project: string | undefined): void {
  if (caller.project === '*' || caller.project === project) return;
  throw new Refusal('forbidden', `a token reaches only the paths of its own project, ${caller.project}`);
}

/** An object that the caller may not see looks like one that does not exist; who may create it is not told either. */
function isHidden(
  caller: AuthenticatedCaller,
  ask: Ask,
  authorizer: Authorizer,
): ask is RoleAsk & { name: string } {
  if ('action' in ask || ask.name === undefined || ask.role === 'create') return false;
  return ask.role === 'view' || !authorizer.decide(caller, { ...ask, role: 'view' }).allowed;
}

/** The answer about an object that is not there for this caller. */
export function notThere({ resource, name }: { resource: BoundResource; name: string }): Refusal {
  const kind = KINDS.find((one) => one.plural === resource)?.singular ?? resource.replace(/s$/, '');
  return new Refusal('not_found', `there is no ${kind} ${name} that you may see`);
}
