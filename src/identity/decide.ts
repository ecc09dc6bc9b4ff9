/**
 * Who may do what. One pure decision for lists, calls, routes and the command line: a right that is not granted is
 * denied, and every layer of a credential has to grant it (a token and its owner, an impersonated user and whoever
 * stands behind it).
 */
import { globCovers, globCoversPrefix, globMatches } from '../base/glob.ts';
import {
  type Action,
  type Binding,
  type BoundResource,
  bindingText,
  type Role,
} from '../resources/bindings.ts';

/** A role on one thing, on all whose names begin with `prefix`, or, with neither, on the resource as a whole. */
export type RoleAsk = {
  role: Role;
  resource: BoundResource;
  name?: string;
  prefix?: string;
  project?: string;
};

/** What somebody wants to do, and in which project, if it happens in one. */
export type Ask = RoleAsk | { action: Action; project?: string };

/** A binding, and where it comes from. */
export type Right = {
  /** Name of the Rbac object. */
  rbac: string;
  /** The subject of it that the principal is or belongs to: `User:…`, `Group:…`, `McpToken:…`. */
  subject: string;
  binding: Binding;
};

/** All rights of one principal. A call needs its right in every layer that its credential stands on. */
export type Layer = {
  principal: string;
  rights: readonly Right[];
  /** Of a token: what lies outside this project is denied, whatever the rights say. */
  project?: string | undefined;
};

export type Decision =
  | { allowed: true; by: Right }
  /** `missing` as a binding is written on the command line; `lacking` is the principal without it. */
  | { allowed: false; missing: string; lacking: string };

/** Denied where nobody stands. `by` is the right of the first layer whose rights somebody wrote down, the caller's own. */
export function decide(layers: readonly Layer[], ask: Ask): Decision {
  let by: Right | undefined;
  for (const layer of layers) {
    const right = isOutside(layer, ask) ? undefined : layer.rights.find((one) => grants(one.binding, ask));
    if (!right) return { allowed: false, missing: askText(ask), lacking: layer.principal };
    if (!by?.rbac) by = right;
  }
  return by ? { allowed: true, by } : { allowed: false, missing: askText(ask), lacking: 'nobody' };
}

function isOutside({ project }: Layer, ask: Ask): boolean {
  return project !== undefined && ask.project !== project;
}

/** Whether this one binding is enough. */
export function grants(binding: Binding, ask: Ask): boolean {
  if ('action' in ask) {
    if ('action' in binding) return binding.action === ask.action;
    return isAdministration(binding) && reaches(binding.project, ask.project);
  }
  if ('action' in binding) return false;
  return (
    includes(binding.role, ask.role) &&
    (binding.resource === '*' || binding.resource === ask.resource) &&
    reaches(binding.project, ask.project) &&
    isNamed(binding.name, ask)
  );
}

/**
 * Whether `held` alone allows everything that `wanted` allows. Two globs are compared with care rather than
 * completely: a yes is certain, a no may be too strict.
 */
export function covers(held: Binding, wanted: Binding): boolean {
  if ('action' in wanted) {
    if ('action' in held) return held.action === wanted.action;
    return isAdministrator(held);
  }
  if ('action' in held) return false;
  return (
    includes(held.role, wanted.role) &&
    (held.resource === '*' || held.resource === wanted.resource) &&
    reaches(held.project, wanted.project) &&
    (held.name === undefined || (wanted.name !== undefined && globCovers(held.name, wanted.name)))
  );
}

/** Whether every layer grants the role on something of the resource, whatever its name, in that project if one is given. */
export function mayAny(layers: readonly Layer[], { role, resource, project }: RoleAsk): boolean {
  return (
    layers.length > 0 &&
    layers.every((layer) => {
      if (layer.project !== undefined && layer.project !== project) return false;
      return layer.rights.some(({ binding }) => {
        if ('action' in binding) return false;
        const { name: _, project: bound, ...anywhere } = binding;
        // Where no project is asked for, one that is bound to a project sees its part.
        const reached = project === undefined || reaches(bound, project);
        return reached && grants(anywhere, { role, resource });
      });
    })
  );
}

/** `admin` on everything: an administrator, of one project where the binding names one. */
function isAdministration(binding: Binding): boolean {
  return (
    'role' in binding &&
    binding.role === 'admin' &&
    binding.resource === '*' &&
    (binding.name === undefined || binding.name === '*')
  );
}

/** `admin` on everything, everywhere. */
export function isAdministrator(binding: Binding): boolean {
  return isAdministration(binding) && 'role' in binding && reaches(binding.project, undefined);
}

/** The ask as the binding that would grant it. */
export function askText(ask: Ask): string {
  if ('action' in ask) return bindingText({ action: ask.action });
  const { role, resource, project } = ask;
  const name = ask.prefix === undefined ? ask.name : `${ask.prefix}*`;
  return bindingText({
    role,
    resource,
    ...(name === undefined ? {} : { name }),
    ...(project === undefined ? {} : { project }),
  });
}

function includes(held: Role, wanted: Role): boolean {
  return held === wanted || held === 'admin' || (held === 'edit' && wanted === 'view');
}

function reaches(bound: string | undefined, project: string | undefined): boolean {
  return bound === undefined || bound === '*' || bound === project;
}

function isNamed(pattern: string | undefined, { name, prefix }: RoleAsk): boolean {
  if (pattern === undefined || pattern === '*') return true;
  if (prefix !== undefined) return globCoversPrefix(pattern, prefix);
  return name !== undefined && globMatches(pattern, name);
}
