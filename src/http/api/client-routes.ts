import type { Ask } from '../../identity/decide.ts';
import type { ManagedObjects } from '../../identity/managed-objects.ts';
import type { Role } from '../../resources/bindings.ts';
import type { Resources } from '../../resources/registry.ts';
import type { ApiContext } from './responses.ts';
import { notThere, type Route } from './route.ts';
import { overlapOf } from './token-routes.ts';

type ClientDeps = { resources: Resources; objects: ManagedObjects };

/** `/oauthclients/NAME/rotate`; OAuth clients themselves are objects like others. */
export function clientRoutes({ resources, objects }: ClientDeps): Route[] {
  const clientOf = (c: ApiContext) => resources.get('OAuthClient', c.req.param('name') ?? '');
  const asking =
    (role: Role) =>
    (c: ApiContext): Ask => {
      const name = clientOf(c)?.metadata.name ?? c.req.param('name') ?? '';
      return { role, resource: 'oauthclients', name };
    };
  return [
    {
      method: 'POST',
      path: '/oauthclients/:name/rotate',
      need: { ask: asking('edit') },
      doc: {
        summary: 'Give an OAuth client a new secret',
        query: { overlap: { description: 'How long the old secret goes on, such as 1h.' } },
        answer: 'OAuthClientChange',
        status: 201,
      },
      handle: async (c) => {
        const object = clientOf(c);
        if (!object) throw notThere({ resource: 'oauthclients', name: c.req.param('name') ?? '' });
        const secret = await objects.rotateClient(c.get('caller'), object.metadata.uid, overlapOf(c));
        return c.json({ action: 'rotated', object, secret }, 201);
      },
    },
  ];
}
