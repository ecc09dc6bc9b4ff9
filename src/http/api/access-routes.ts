import { Refusal } from '../../base/errors.ts';
import type { Authorizer } from '../../identity/authorizer.ts';
import type { Ask } from '../../identity/decide.ts';
import { ownRights } from '../../identity/rights.ts';
import { bindingText, checkBinding } from '../../resources/bindings.ts';
import { type ApiContext, jsonObject } from './responses.ts';
import type { Route } from './route.ts';

type Deps = { authorizer: Authorizer };

/** What callers may know about themselves: who they are and what they may do. */
export function accessRoutes({ authorizer }: Deps): Route[] {
  return [
    {
      method: 'GET',
      path: '/whoami',
      need: 'credential',
      doc: { summary: 'Who you are and what you may do', answer: 'Whoami' },
      handle: (c) => {
        const { principal, owner, actor, project, surfaces, tokenName } = c.get('caller');
        const own = ownRights(authorizer.rights().layersOf(c.get('caller')), { principal, owner });
        return c.json({
          principal,
          owner,
          ...(actor === undefined ? {} : { actor }),
          ...(tokenName === undefined ? {} : { token: tokenName }),
          project,
          surfaces: [...surfaces].sort(),
          groups: [...(authorizer.rights().access.users.get(owner)?.groups ?? [])],
          bindings: [...new Set(own.map(({ binding }) => bindingText(binding)))],
        });
      },
    },
    {
      method: 'POST',
      path: '/auth/can-i',
      need: 'credential',
      doc: { summary: 'Whether you have a right', body: 'Ask', answer: 'Decision' },
      handle: async (c) => {
        const ask = askOf(c, await jsonObject(c));
        const decision = authorizer.decide(c.get('caller'), ask);
        if (!decision.allowed) return c.json(decision);
        const { rbac, subject, binding } = decision.by;
        return c.json({ allowed: true, by: { rbac, subject, binding: bindingText(binding) } });
      },
    },
  ];
}

/** The same words as a binding; a token asks about its own project unless it names one. */
function askOf(c: ApiContext, { project, ...binding }: Record<string, unknown>): Ask {
  if (project !== undefined && typeof project !== 'string')
    throw new Refusal('invalid', 'project: must be text');
  const { project: own } = c.get('caller');
  const within = project ?? (own === '*' ? undefined : own);
  return { ...checkBinding(binding, 'ask'), ...(within === undefined ? {} : { project: within }) };
}
