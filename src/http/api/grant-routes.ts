import type { Authorizer } from '../../identity/authorizer.ts';
import type { AuthenticatedCaller } from '../../identity/caller.ts';
import { demand, lacks } from '../../identity/guards.ts';
import type { GrantRecord, Grants } from '../../oauth/grants.ts';
import type { Role } from '../../resources/bindings.ts';
import { type ApiContext, flag } from './responses.ts';
import { mayList, notThere, type Route } from './route.ts';
import { DRY_RUN, OF_PROJECT } from './route-doc.ts';

type Deps = { authorizer: Authorizer; grants: Grants };

/** What a user allowed an OAuth client. Times are ISO 8601. */
export type GrantView = {
  id: string;
  /** Left out: that user is gone. */
  user?: string | undefined;
  client: string;
  clientName: string;
  /** Left out: everything. */
  project?: string | undefined;
  scopes: string[];
  createdAt: string;
  updatedAt: string;
  /** When a token was last issued under it. */
  lastUsedAt: string | null;
};

/** `/grants`: whoever allowed something sees it and takes it back; for those of others there are bindings. */
export function grantRoutes(deps: Deps): Route[] {
  return [
    {
      method: 'GET',
      path: '/grants',
      need: 'credential',
      doc: { summary: 'List what users allowed to OAuth clients', query: OF_PROJECT, answer: 'GrantList' },
      handle: async (c) => c.json({ items: (await seenGrants(deps, c)).map(grantView) }),
    },
    {
      method: 'GET',
      path: '/grants/:id',
      need: 'credential',
      doc: { summary: 'Show one', answer: 'Grant' },
      handle: async (c) => c.json(grantView(await grantFor(deps, c, 'view'))),
    },
    {
      method: 'DELETE',
      path: '/grants/:id',
      need: 'credential',
      doc: { summary: 'Take it back, and end every token under it', query: DRY_RUN, answer: 'GrantChange' },
      handle: async (c) => {
        const grant = await grantFor(deps, c, 'delete');
        if (!flag(c, 'dryRun')) await deps.grants.withdraw(grant.id);
        return c.json({ action: 'deleted', object: grantView(grant) });
      },
    },
  ];
}

async function seenGrants(deps: Deps, c: ApiContext): Promise<GrantRecord[]> {
  const caller = c.get('caller');
  const project = c.req.query('project') ?? (caller.project === '*' ? undefined : caller.project);
  const wanted = { resource: 'grants', project } as const;
  if (!isPerson(caller) && !mayList(caller, wanted, deps.authorizer))
    demand(deps.authorizer.rights().layersOf(caller), askOf(undefined, 'view', project));
  return (await deps.grants.list())
    .filter((grant) => project === undefined || grant.project === project)
    .filter((grant) => maySee(deps, caller, grant));
}

/** @throws Refusal `not_found` also where the caller may not see it */
async function grantFor(deps: Deps, c: ApiContext, role: Role): Promise<GrantRecord> {
  const caller = c.get('caller');
  const id = c.req.param('id') ?? '';
  const grant = await deps.grants.find(id);
  if (grant && isOwn(caller, grant)) return grant;
  const decision = grant && deps.authorizer.decide(caller, askOf(id, role, grant.project));
  if (!grant || !decision) throw notThere({ resource: 'grants', name: id });
  if (decision.allowed) return grant;
  if (!maySee(deps, caller, grant)) throw notThere({ resource: 'grants', name: id });
  throw lacks(decision.missing);
}

function maySee({ authorizer }: Deps, caller: AuthenticatedCaller, grant: GrantRecord): boolean {
  return isOwn(caller, grant) || authorizer.decide(caller, askOf(grant.id, 'view', grant.project)).allowed;
}

/** A token of a project acts for somebody, and is not that person. */
function isPerson({ project, actor }: AuthenticatedCaller): boolean {
  return project === '*' && actor === undefined;
}

function isOwn(caller: AuthenticatedCaller, grant: GrantRecord): boolean {
  return isPerson(caller) && grant.user === caller.owner;
}

function askOf(name: string | undefined, role: Role, project: string | undefined) {
  return {
    role,
    resource: 'grants' as const,
    ...(name !== undefined && { name }),
    ...(project !== undefined && { project }),
  };
}

function grantView(grant: GrantRecord): GrantView {
  const time = (at: number) => new Date(at).toISOString();
  return {
    id: grant.id,
    user: grant.user,
    client: grant.clientId,
    clientName: grant.clientName,
    project: grant.project,
    scopes: grant.scopes,
    createdAt: time(grant.createdAt),
    updatedAt: time(grant.updatedAt),
    lastUsedAt: grant.lastUsedAt === null ? null : time(grant.lastUsedAt),
  };
}
