import type { Audit } from '../../audit/audit.ts';
import { Refusal } from '../../base/errors.ts';
import { EVERYTHING, type Freeze, type Freezes } from '../../freezes/freezes.ts';
import { auditActor } from '../../identity/audit-actor.ts';
import type { Authorizer } from '../../identity/authorizer.ts';
import type { AuthenticatedCaller } from '../../identity/caller.ts';
import type { Ask } from '../../identity/decide.ts';
import type { Resources } from '../../resources/registry.ts';
import { type ApiContext, jsonObject } from './responses.ts';
import type { Route } from './route.ts';

type Deps = { audit: Audit; authorizer: Authorizer; freezes: Freezes; resources: Resources };

export type FreezeObject = {
  /** Left out: every project. */
  project?: string;
  reason: string;
  by: string;
  /** ISO 8601. */
  since: string;
};

const MAX_REASON = 500;

/** Stops calls, of one project or of all, and lets them go on. */
export function freezeRoutes({ audit, authorizer, freezes, resources }: Deps): Route[] {
  return [
    {
      method: 'GET',
      path: '/freezes',
      need: { list: (c) => ({ resource: 'projects', project: ownProject(c) }) },
      doc: { summary: 'List what is frozen', answer: 'FreezeList' },
      handle: (c) => c.json({ items: seenFreezes({ authorizer, freezes }, c.get('caller')) }),
    },
    {
      method: 'PUT',
      path: '/freezes/:scope',
      need: { ask: askOf },
      doc: { summary: 'Stop the calls of a project, or of * for all', body: 'FreezeWish', answer: 'Freeze' },
      handle: async (c) => {
        const scope = scopeOf(c);
        const { projects } = resources.snapshot();
        if (scope !== EVERYTHING && !projects.has(scope))
          throw new Refusal('not_found', `there is no project ${scope}`);
        const caller = c.get('caller');
        const reason = reasonOf(await jsonObject(c));
        const freeze = { scope, reason, by: caller.principal, at: Date.now() };
        const row = { event: 'calls.frozen', outcome: 'ok', actor: auditActor(caller) } as const;
        await freezes.freeze(freeze, (transaction) =>
          audit.append(transaction, { ...row, ...about(scope), detail: { reason } }),
        );
        return c.json(freezeObject(freeze));
      },
    },
    {
      method: 'DELETE',
      path: '/freezes/:scope',
      need: { ask: askOf },
      doc: { summary: 'Let calls go on', answer: 'Freeze' },
      handle: async (c) => {
        const scope = scopeOf(c);
        const frozen = freezes.list().find((one) => one.scope === scope);
        if (!frozen) throw new Refusal('not_found', `${nameOf(scope)} not frozen`);
        const row = { event: 'calls.thawed', outcome: 'ok', actor: auditActor(c.get('caller')) } as const;
        await freezes.thaw(scope, (transaction) => audit.append(transaction, { ...row, ...about(scope) }));
        return c.json(freezeObject(frozen));
      },
    },
  ];
}

/** What is frozen and concerns somebody who may see these projects alone. */
export function seenFreezes(
  { authorizer, freezes }: Pick<Deps, 'authorizer' | 'freezes'>,
  caller: AuthenticatedCaller,
): FreezeObject[] {
  const sees = (scope: string) =>
    scope === EVERYTHING ||
    authorizer.decide(caller, { role: 'view', resource: 'projects', name: scope, project: scope }).allowed;
  return freezes
    .list()
    .filter(({ scope }) => sees(scope))
    .map(freezeObject);
}

export function freezeObject({ scope, reason, by, at }: Freeze): FreezeObject {
  const project = scope === EVERYTHING ? {} : { project: scope };
  return { ...project, reason, by, since: new Date(at).toISOString() };
}

/** Whoever may freeze one project alone may not freeze all. */
function askOf(c: ApiContext): Ask {
  const scope = scopeOf(c);
  return scope === EVERYTHING ? { action: 'freeze' } : { action: 'freeze', project: scope };
}

function scopeOf(c: ApiContext): string {
  return c.req.param('scope') ?? '';
}

function ownProject(c: ApiContext): string | undefined {
  const { project } = c.get('caller');
  return project === EVERYTHING ? undefined : project;
}

function about(scope: string): { project?: string } {
  return scope === EVERYTHING ? {} : { project: scope };
}

function nameOf(scope: string): string {
  return scope === EVERYTHING ? 'everything together is' : `project ${scope} is`;
}

function reasonOf({ reason = '' }: Record<string, unknown>): string {
  if (typeof reason === 'string' && reason.includes('\0'))
    throw new Refusal('invalid', 'reason: contains a NUL character: remove it');
  if (typeof reason === 'string' && reason.length <= MAX_REASON) return reason;
  throw new Refusal('invalid', `reason: must be text of at most ${MAX_REASON} characters`);
}
