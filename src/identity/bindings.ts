import { Refusal } from '../base/errors.ts';

export const ROLES = [
  'view',
  'create',
  'edit',
  'delete',
  'run',
  'use',
  'handle',
  'approve',
  'admin',
] as const;
export const ACTIONS = [
  'logs',
  'impersonate',
  'escalate',
  'bind',
  'spawn',
  'introspect',
  'backup',
  'freeze',
] as const;
export const BOUND_RESOURCES = [
  'servers',
  'projects',
  'mcptokens',
  'rbac',
  'users',
  'groups',
  'secrets',
  'policies',
  'oauthclients',
  'repositories',
  'tools',
  'approvals',
  'tickets',
  'worlds',
  'audit',
  'sessions',
  'grants',
  '*',
] as const;

export type Role = (typeof ROLES)[number];
export type Action = (typeof ACTIONS)[number];
export type BoundResource = (typeof BOUND_RESOURCES)[number];

/** One right: a role on a resource, of one name or glob when given, or an action. */
export type Binding = { role: Role; resource: BoundResource; name?: string } | { action: Action };

/** What nobody passes on by `--rbac clone`. */
const NEVER_CLONED: ReadonlySet<string> = new Set(['approve', 'impersonate', 'escalate', 'bind', 'spawn']);

/** All that a local administrator may do: every role and every action. */
export const ADMINISTRATOR: readonly Binding[] = [
  { role: 'admin', resource: '*' },
  ...ACTIONS.map((action): Binding => ({ action })),
];

/**
 * Reads `role:run,resource:tools[,name:GLOB]` or `action:logs`.
 * @param field names the place in messages, such as `--bind`
 * @throws Refusal `invalid` naming the key that is unknown, repeated, empty or missing
 */
export function parseBinding(text: string, field: string): Binding {
  const pairs = new Map<string, string>();
  for (const part of text.split(',')) {
    const colon = part.indexOf(':');
    const key = part.slice(0, colon < 0 ? undefined : colon).trim();
    if (!['role', 'resource', 'name', 'action'].includes(key)) {
      throw new Refusal(
        'invalid',
        `${field}: unknown key ${JSON.stringify(key)} in ${JSON.stringify(text)}; use role, resource, name or action`,
      );
    }
    if (pairs.has(key))
      throw new Refusal('invalid', `${field}: ${key} is given twice in ${JSON.stringify(text)}`);
    const value = colon < 0 ? '' : part.slice(colon + 1).trim();
    if (value === '')
      throw new Refusal('invalid', `${field}: ${key} has no value in ${JSON.stringify(text)}`);
    pairs.set(key, value);
  }
  return checkBinding(Object.fromEntries(pairs), field);
}

/** The same from an object, as it stands in YAML or a request body. */
export function checkBinding(value: unknown, field: string): Binding {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw new Refusal('invalid', `${field}: a binding is {role, resource, name?} or {action}`);
  }
  const { role, resource, name, action, ...unknown } = value as Record<string, unknown>;
  const extra = Object.keys(unknown)[0];
  if (extra !== undefined) {
    throw new Refusal(
      'invalid',
      `${field}: unknown key ${JSON.stringify(extra)}; use role, resource, name or action`,
    );
  }
  if (action !== undefined) {
    if (role !== undefined || resource !== undefined || name !== undefined) {
      throw new Refusal('invalid', `${field}: action stands alone, without role, resource and name`);
    }
    return { action: oneOf(ACTIONS, action, `${field}: action`) };
  }
  if (role === undefined) throw new Refusal('invalid', `${field}: role is missing (or action)`);
  if (resource === undefined) throw new Refusal('invalid', `${field}: resource is missing`);
  if (name !== undefined && (typeof name !== 'string' || name === '' || name.length > 256)) {
    throw new Refusal('invalid', `${field}: name is a name or glob of at most 256 characters`);
  }
  return {
    role: oneOf(ROLES, role, `${field}: role`),
    resource: oneOf(BOUND_RESOURCES, resource, `${field}: resource`),
    ...(name === undefined ? {} : { name }),
  };
}

/** As it is written on the command line. */
export function bindingText(binding: Binding): string {
  if ('action' in binding) return `action:${binding.action}`;
  const name = binding.name === undefined ? '' : `,name:${binding.name}`;
  return `role:${binding.role},resource:${binding.resource}${name}`;
}

/**
 * Whether whoever holds `held` may pass `wanted` on. Never too generous: a named right is covered by the same name or
 * by one without a name; two globs are not compared.
 */
export function covers(held: readonly Binding[], wanted: Binding): boolean {
  return held.some((right) => {
    if ('action' in wanted) return 'action' in right && right.action === wanted.action;
    if ('action' in right) return false;
    const role =
      right.role === wanted.role ||
      right.role === 'admin' ||
      (right.role === 'edit' && wanted.role === 'view');
    const resource = right.resource === '*' || right.resource === wanted.resource;
    const name = right.name === undefined || right.name === '*' || right.name === wanted.name;
    return role && resource && name;
  });
}

/** The rights of a creator that a clone takes over. */
export function clonedBindings(held: readonly Binding[]): Binding[] {
  return held.filter((right) => !NEVER_CLONED.has('action' in right ? right.action : right.role));
}

function oneOf<const T extends string>(allowed: readonly T[], value: unknown, field: string): T {
  if (allowed.includes(value as T)) return value as T;
  throw new Refusal(
    'invalid',
    `${field} ${JSON.stringify(value)} is unknown; use one of ${allowed.join(', ')}`,
  );
}
