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

/** Those that lie in projects; everything else is out of a token's reach. */
export const IN_PROJECTS: readonly BoundResource[] = [
  'projects',
  'mcptokens',
  'repositories',
  'tools',
  'approvals',
  'tickets',
  'worlds',
  'audit',
  'sessions',
  'grants',
  '*',
];

export type Role = (typeof ROLES)[number];
export type Action = (typeof ACTIONS)[number];
export type BoundResource = (typeof BOUND_RESOURCES)[number];

/** One right: a role on a resource, of one name or glob and in one project where given, or an action. */
export type Binding =
  | { role: Role; resource: BoundResource; name?: string; project?: string }
  | { action: Action };

const KEYS = ['role', 'resource', 'name', 'project', 'action'];
const KEYS_TEXT = 'role, resource, name, project or action';
const MAX_LENGTH = 256;

/** All that a local administrator may do: every role and every action. */
export const ADMINISTRATOR: readonly Binding[] = [
  { role: 'admin', resource: '*' },
  ...ACTIONS.map((action): Binding => ({ action })),
];

/**
 * Reads `role:run,resource:tools[,name:GLOB][,project:NAME]` or `action:logs`.
 * @param field names the place in messages, such as `--bind`
 * @throws Refusal `invalid` naming the key that is unknown, repeated, empty or missing
 */
export function parseBinding(text: string, field: string): Binding {
  const pairs = new Map<string, string>();
  for (const part of text.split(',')) {
    const colon = part.indexOf(':');
    const key = part.slice(0, colon < 0 ? undefined : colon).trim();
    if (!KEYS.includes(key)) {
      throw new Refusal(
        'invalid',
        `${field}: unknown key ${JSON.stringify(key)} in ${JSON.stringify(text)}; use ${KEYS_TEXT}`,
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
    throw new Refusal('invalid', `${field}: a binding is {role, resource, name?, project?} or {action}`);
  }
  const { role, resource, name, project, action, ...unknown } = value as Record<string, unknown>;
  const extra = Object.keys(unknown)[0];
  if (extra !== undefined) {
    throw new Refusal('invalid', `${field}: unknown key ${JSON.stringify(extra)}; use ${KEYS_TEXT}`);
  }
  if (action !== undefined) {
    if (role !== undefined || resource !== undefined || name !== undefined || project !== undefined) {
      throw new Refusal('invalid', `${field}: action stands alone, without role, resource, name and project`);
    }
    return { action: oneOf(ACTIONS, action, `${field}: action`) };
  }
  if (role === undefined) throw new Refusal('invalid', `${field}: role is missing (or action)`);
  if (resource === undefined) throw new Refusal('invalid', `${field}: resource is missing`);
  if (name !== undefined && !isText(name)) {
    throw new Refusal('invalid', `${field}: name is a name or glob of at most ${MAX_LENGTH} characters`);
  }
  if (project !== undefined && !isText(project)) {
    throw new Refusal('invalid', `${field}: project is the name of a project, or "*"`);
  }
  return {
    role: oneOf(ROLES, role, `${field}: role`),
    resource: oneOf(BOUND_RESOURCES, resource, `${field}: resource`),
    ...(name === undefined ? {} : { name }),
    ...(project === undefined ? {} : { project }),
  };
}

/** As it is written on the command line. */
export function bindingText(binding: Binding): string {
  if ('action' in binding) return `action:${binding.action}`;
  const name = binding.name === undefined ? '' : `,name:${binding.name}`;
  const project = binding.project === undefined ? '' : `,project:${binding.project}`;
  return `role:${binding.role},resource:${binding.resource}${name}${project}`;
}

function isText(value: unknown): value is string {
  return typeof value === 'string' && value !== '' && value.length <= MAX_LENGTH;
}

function oneOf<const T extends string>(allowed: readonly T[], value: unknown, field: string): T {
  if (allowed.includes(value as T)) return value as T;
  throw new Refusal(
    'invalid',
    `${field} ${JSON.stringify(value)} is unknown; use one of ${allowed.join(', ')}`,
  );
}
