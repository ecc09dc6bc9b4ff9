import { Refusal } from '../base/errors.ts';
import { type Binding, bindingText } from '../resources/bindings.ts';
import type { Labels } from '../resources/labels.ts';
import { tokenNameFault } from '../resources/names.ts';
import type { Surface } from '../resources/spec.ts';
import type { AuthenticatedCaller } from './caller.ts';
import { clonedBindings, distinct } from './ceiling.ts';
import { decide, type Layer } from './decide.ts';
import { firstBeyond, lacks } from './guards.ts';
import { ownRights } from './rights.ts';

/** What a token is to be. */
export type NewToken = {
  name: string;
  project: { name: string; uid: string };
  /** Whoever makes it: the owner, and the ceiling of what it can be given. */
  creator: AuthenticatedCaller;
  surfaces: readonly Surface[];
  /** `clone` takes over the creator's bindings of this moment. */
  rbac: 'empty' | 'clone';
  binds?: readonly Binding[];
  /** Milliseconds since 1970; null is no expiry. */
  expiresAt: number | null;
  description?: string;
  labels?: Labels;
  /** Revokes an active token of the same name instead of refusing. */
  force?: boolean;
};

const MAX_DESCRIPTION = 500;
const MAX_BINDINGS = 100;

/** @throws Refusal `invalid` naming the field */
export function checkNewToken(wanted: NewToken, now: number): void {
  const fault = tokenNameFault(wanted.name);
  if (fault) throw new Refusal('invalid', `name: ${fault}`);
  if (wanted.surfaces.length === 0)
    throw new Refusal('invalid', 'surfaces: name at least one of consumer, operator');
  const unknown = wanted.surfaces.find((surface) => surface !== 'consumer' && surface !== 'operator');
  if (unknown !== undefined)
    throw new Refusal('invalid', `surfaces: ${JSON.stringify(unknown)} is unknown; use consumer or operator`);
  if (wanted.expiresAt !== null && !(wanted.expiresAt > now))
    throw new Refusal('invalid', 'ttl: the expiry is not in the future');
  if ((wanted.description?.length ?? 0) > MAX_DESCRIPTION) {
    throw new Refusal('invalid', `description: at most ${MAX_DESCRIPTION} characters`);
  }
  if ((wanted.binds?.length ?? 0) > MAX_BINDINGS)
    throw new Refusal('invalid', `bind: at most ${MAX_BINDINGS} bindings`);
}

/**
 * The bindings that the token gets.
 * @param layers the creator's rights now
 * @throws Refusal `forbidden` naming the right that the creator lacks: the one to give, or the one to make tokens
 */
export function grantedBindings(wanted: NewToken, layers: readonly Layer[]): Binding[] {
  const { project, creator, name } = wanted;
  const binds = wanted.binds ?? [];
  const within = binds.map((bind) => inProject(bind, project.name));
  const above = firstBeyond(layers, within);
  if (above) {
    const bind = binds[within.indexOf(above)] ?? above;
    throw lacks(bindingText(bind), ' yourself, so you cannot give it (bind)');
  }
  const made = decide(layers, { role: 'create', resource: 'mcptokens', name, project: project.name });
  if (!made.allowed) throw lacks(made.missing, ', which creating a token needs');
  const { binding } = made.by;
  // A wildcard is meant for what the project offers, not for making more credentials.
  if (creator.tokenId !== undefined && 'resource' in binding && binding.resource !== 'mcptokens')
    throw lacks('role:create,resource:mcptokens', ' by name, which a token needs to create tokens');
  refuseSurfaces(wanted);
  const own = ownRights(layers, creator).map((right) => right.binding);
  const cloned = wanted.rbac === 'clone' ? clonedBindings(own) : [];
  const shared = cloned.filter((bind) => firstBeyond(layers, [inProject(bind, project.name)]) === undefined);
  return distinct([...shared, ...binds]);
}

/** A token acts in its project alone: whoever has a right there may give it, however it is written. */
function inProject(binding: Binding, project: string): Binding {
  if ('action' in binding) return binding;
  return binding.project === undefined || binding.project === '*' ? { ...binding, project } : binding;
}

function refuseSurfaces({ creator, surfaces }: NewToken): void {
  const above = surfaces.find((surface) => !creator.surfaces.has(surface));
  if (above !== undefined)
    throw new Refusal('forbidden', `surfaces: you do not have the ${above} surface yourself`);
}

export function nameTaken({ name, project }: Pick<NewToken, 'name' | 'project'>): Refusal {
  return new Refusal(
    'conflict',
    `an active token ${name} already exists in project ${project.name}; use --force to replace it, or another name`,
  );
}
