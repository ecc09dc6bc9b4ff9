import type { Freezes } from '../../freezes/freezes.ts';
import type { ResourceObject } from '../../resources/objects.ts';
import type { Snapshot } from '../../resources/spec.ts';
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
