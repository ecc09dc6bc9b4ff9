import type { Freezes } from '../../freezes/freezes.ts';
import type { Authorizer } from '../../identity/authorizer.ts';
import { clientSecrets } from '../../identity/client-secrets.ts';
import { actsForUser } from '../../identity/client-sponsors.ts';
import type { ClientFields } from '../../resources/client-fields.ts';
import type { ResourceObject } from '../../resources/objects.ts';
import type { Snapshot } from '../../resources/spec.ts';
import type { Store } from '../../store/database.ts';
import { freezeObject } from './freeze-routes.ts';

/** The object with what is known of it now: whether a policy can be read, whether a project is frozen. */
export function withStatus(object: ResourceObject, snapshot: Snapshot, freezes: Freezes): ResourceObject {
  const { name } = object.metadata;
  if (object.kind === 'Policy') {
    const error = snapshot.policies.entries.get(name)?.error;
    const status = error === undefined ? { state: 'ready' } : { state: 'unreadable', error };
    return { ...object, status };
  }
  if (object.kind !== 'Project') return object;
  const freeze = freezes.of(name);
  const status = freeze ? { state: 'frozen', freeze: freezeObject(freeze) } : { state: 'active' };
  return { ...object, status };
}

/** The same of an OAuth client alone: whether it may act for its user, and its secrets by what may be shown of them. */
export async function clientStatus(
  object: ResourceObject,
  db: Store['db'],
  authorizer: Authorizer,
): Promise<ResourceObject> {
  const { user } = object.spec as ClientFields;
  const idle = user !== undefined && !(await actsForUser(db, authorizer.rights(), object));
  const error = `it acts for nobody: ${user} is disabled, or nobody who may answers for it; whoever may changes it anew`;
  const time = (ms: number) => new Date(ms).toISOString();
  const secrets = await clientSecrets(db, object.metadata.uid, Date.now());
  const status = {
    ...(idle ? { state: 'idle', error } : { state: 'ready' }),
    secrets: secrets.map(({ prefix, created_at: made, expires_at: end }) => {
      return { prefix, createdAt: time(made), expiresAt: end === null ? null : time(end) };
    }),
  };
  return { ...object, status };
}
