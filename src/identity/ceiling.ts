import { ACTIONS, type Binding, bindingText, type Role } from '../resources/bindings.ts';
import { covers, isAdministrator } from './decide.ts';

/** What nobody passes on by `--rbac clone`. */
const NEVER_CLONED: ReadonlySet<string> = new Set(['approve', 'impersonate', 'escalate', 'bind', 'spawn']);
/** What `admin` stands for in a clone; `edit` brings `view` along. */
const CLONED_ADMIN_ROLES: readonly Role[] = ['create', 'edit', 'delete', 'run', 'use', 'handle'];

/** Whether whoever holds `held` may pass `wanted` on. */
export function mayGive(held: readonly Binding[], wanted: Binding): boolean {
  return held.some((right) => covers(right, wanted));
}

/** The rights of a creator that a clone takes over: `admin` becomes the roles in it that may be passed on. */
export function clonedBindings(held: readonly Binding[]): Binding[] {
  const cloned = held.flatMap((right): Binding[] => {
    if ('action' in right) return [right];
    if (right.role !== 'admin') return [right];
    const roles = CLONED_ADMIN_ROLES.map((role): Binding => ({ ...right, role }));
    return isAdministrator(right) ? [...roles, ...ACTIONS.map((action): Binding => ({ action }))] : roles;
  });
  return distinct(cloned.filter((right) => !NEVER_CLONED.has('action' in right ? right.action : right.role)));
}

/** Each binding once. */
export function distinct(bindings: readonly Binding[]): Binding[] {
  return [...new Map(bindings.map((binding) => [bindingText(binding), binding])).values()];
}
