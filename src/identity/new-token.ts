import { Refusal } from '../base/errors.ts';
import { type Binding, bindingText } from '../resources/bindings.ts';
import type { Surface } from '../resources/spec.ts';
import { clonedBindings, distinct, mayGive } from './ceiling.ts';

/** What a token is to be; whoever asks for it is proven already. */
export type NewToken = {
  name: string;
  project: { name: string; uid: string };
  /** E-mail of the user that it will belong to. */
  owner: string;
  surfaces: readonly Surface[];
  /** `clone` takes over the creator's bindings of this moment. */
  rbac: 'empty' | 'clone';
  binds?: readonly Binding[];
  /** The creator's own bindings: nobody gives what they lack. */
  ceiling: readonly Binding[];
  /** Milliseconds since 1970; null is no expiry. */
  expiresAt: number | null;
  description?: string;
  /** Revokes an active token of the same name instead of refusing. */
  force?: boolean;
};

const NAME = /^[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?$/;
const MAX_DESCRIPTION = 500;
const MAX_BINDINGS = 100;

/** @throws Refusal `invalid` naming the field */
export function checkNewToken(wanted: NewToken, now: number): void {
  if (!NAME.test(wanted.name)) {
    throw new Refusal(
      'invalid',
      `name: ${JSON.stringify(wanted.name)} is no token name; use at most 63 letters, digits, ".", "_" or "-", a letter or digit first and last`,
    );
  }
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

/** @throws Refusal `forbidden` naming the right that is above the ceiling */
export function grantedBindings(wanted: NewToken): Binding[] {
  const binds = wanted.binds ?? [];
  const above = binds.find((bind) => !mayGive(wanted.ceiling, bind));
  if (above)
    throw new Refusal(
      'forbidden',
      `bind: you do not have ${bindingText(above)} yourself, so you cannot give it`,
    );
  const bindings = [...(wanted.rbac === 'clone' ? clonedBindings(wanted.ceiling) : []), ...binds];
  return distinct(bindings);
}

export function nameTaken({ name, project }: NewToken): Refusal {
  return new Refusal(
    'conflict',
    `an active token ${name} already exists in project ${project.name}; use --force to replace it, or another name`,
  );
}
