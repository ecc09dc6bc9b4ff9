import {
  groupProblems,
  type RbacFields,
  rbacProblems,
  type UserFields,
  userProblems,
} from './access-fields.ts';
import type { KindName } from './kinds.ts';
import type { Access, RbacEntry, UserEntry } from './spec.ts';

/** What this needs of an object, whichever layer it is from. */
type AccessObject = { kind: KindName; name: string; uid: string; spec: Record<string, unknown> | undefined };

export const NO_ACCESS: Access = { users: new Map(), groups: new Set(), rbacs: new Map() };

/** Users, groups and what is granted. What another version wrote and this one cannot read grants nothing. */
export function buildAccess(objects: Iterable<AccessObject>): Access {
  const users = new Map<string, UserEntry>();
  const groups = new Set<string>();
  const rbacs = new Map<string, RbacEntry>();
  const userObjects: AccessObject[] = [];
  for (const object of objects) {
    if (object.kind === 'Group' && groupProblems(object.spec).length === 0) groups.add(object.name);
    if (object.kind === 'User') userObjects.push(object);
    if (object.kind === 'Rbac') rbacs.set(object.name, rbacEntry(object));
  }
  for (const object of userObjects) users.set(object.name, userEntry(object, groups));
  return { users, groups, rbacs };
}

function userEntry({ name, uid, spec }: AccessObject, groups: ReadonlySet<string>): UserEntry {
  if (userProblems(spec).length > 0) return { name, uid, disabled: true, groups: [] };
  const { disabled = false, groups: named = [] } = spec as UserFields;
  return { name, uid, disabled, groups: named.filter((group) => groups.has(group)) };
}

function rbacEntry({ name, uid, spec }: AccessObject): RbacEntry {
  if (rbacProblems(spec).length > 0) return { name, uid, subjects: [], bindings: [] };
  const { subjects = [], roleBindings = [] } = spec as RbacFields;
  return { name, uid, subjects, bindings: roleBindings };
}
