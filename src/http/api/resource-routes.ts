import { Hono } from 'hono';
import { Refusal } from '../../base/errors.ts';
import { kindOf } from '../../resources/kinds.ts';
import type { ResourceKind } from '../../resources/known-objects.ts';
import type { ResourceObject } from '../../resources/objects.ts';
import type { Resources } from '../../resources/registry.ts';
import { requireUser } from './bearer.ts';
import { type ApiContext, type ApiEnv, flag, jsonObject } from './responses.ts';

/** Called with the uid of a project that is gone, to end what belongs to it. */
export type OnProjectRemoved = (projectUid: string) => Promise<void>;

/** `/servers` and `/projects`, by plural, singular or alias. */
export function resourceRoutes(resources: Resources, onProjectRemoved: OnProjectRemoved): Hono<ApiEnv> {
  return new Hono<ApiEnv>()
    .get('/:kind', (c) => {
      requireUser(c);
      return c.json({ items: resources.list(kindOfPath(c)) });
    })
    .get('/:kind/:name', (c) => {
      requireUser(c);
      return c.json(find(resources, c));
    })
    .put('/:kind/:name', async (c) => {
      requireUser(c);
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
      return c.json(await resources.put(body, { dryRun: flag(c, 'dryRun') }));
    })
    .delete('/:kind/:name', async (c) => {
      requireUser(c);
      const kind = kindOfPath(c);
      const object = find(resources, c);
      if (!flag(c, 'dryRun')) {
        await resources.remove(kind, object.metadata.name);
        if (kind === 'Project') await onProjectRemoved(object.metadata.uid);
      }
      return c.json({ action: 'deleted', object });
    });
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

/** By name, else by id. @throws Refusal `not_found` */
function find(resources: Resources, c: ApiContext): ResourceObject {
  const kind = kindOfPath(c);
  const name = c.req.param('name') ?? '';
  const found = resources.get(kind, name);
  if (found) return found;
  const known = resources.list(kind).map((one) => one.metadata.name);
  const few = known.slice(0, 20).join(', ');
  throw new Refusal(
    'not_found',
    `there is no ${kind.toLowerCase()} ${name}${few ? `; there are ${few}` : ''}`,
  );
}
