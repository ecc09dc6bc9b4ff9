import { z } from 'zod';
import { Refusal } from '../base/errors.ts';
import { type Binding, checkBinding } from './bindings.ts';
import { nameFault, printable } from './names.ts';
import { type FieldPath, keysOnly, type Problem, problemsOf, textThat } from './problems.ts';
import type { Subject } from './spec.ts';

const MAX_EMAIL = 254;
const EMAIL =
  /^[a-z0-9.!#$%&'*+/=?^_`{|}~-]+@[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*$/;
const TOKEN_HASH = /^[0-9a-f]{64}$/;

/** The user that the first start makes, and the only one whose name is no e-mail address. */
export const FIRST_USER = 'admin';

/** Why `name` cannot name a user; undefined when it can. One spelling a mailbox: lower case. */
export function userNameFault(name: unknown): string | undefined {
  if (typeof name !== 'string' || name === '')
    return 'is required: give the e-mail address, such as alice@example.com';
  if (name === FIRST_USER) return undefined;
  if (name.length > MAX_EMAIL) return `is ${name.length} characters long: use at most ${MAX_EMAIL}`;
  if (EMAIL.test(name)) return undefined;
  if (EMAIL.test(name.toLowerCase()))
    return `"${printable(name)}" has capital letters: write it in lower case`;
  return `"${printable(name)}" is no e-mail address: write one such as alice@example.com`;
}

export const USER = keysOnly({
  displayName: z.string().max(200).optional(),
  disabled: z.boolean().optional(),
  groups: z.array(textThat(nameFault)).max(100).optional(),
});

export const GROUP = keysOnly({ description: z.string().max(1000).optional() });

const SUBJECT = keysOnly({ kind: z.enum(['User', 'Group', 'McpToken']), name: z.string() });

export const RBAC = keysOnly({
  description: z.string().max(1000).optional(),
  subjects: z.array(SUBJECT).max(1000).optional(),
  roleBindings: z.array(z.unknown()).max(1000).optional(),
});

export type UserFields = z.infer<typeof USER>;
export type RbacFields = { description?: string; subjects?: Subject[]; roleBindings?: Binding[] };

/** What is wrong with a user's spec taken alone. */
export function userProblems(spec: unknown): Problem[] {
  const problems = problemsOf(USER, spec, ['spec']);
  if (problems.length > 0) return problems;
  const { groups = [] } = spec as UserFields;
  return groups.flatMap((group, index) =>
    groups.indexOf(group) === index
      ? []
      : [{ path: ['spec', 'groups', index], message: `names ${group} a second time: remove it` }],
  );
}

export function groupProblems(spec: unknown): Problem[] {
  return problemsOf(GROUP, spec, ['spec']);
}

/** What is wrong with the spec of an Rbac. Whether its subjects exist is not asked: they may come later. */
export function rbacProblems(spec: unknown): Problem[] {
  const problems = problemsOf(RBAC, spec, ['spec']);
  if (problems.length > 0) return problems;
  const { subjects = [], roleBindings = [] } = spec as RbacFields;
  for (const [index, subject] of subjects.entries()) {
    const message = subjectFault(subject);
    if (message !== undefined) problems.push({ path: ['spec', 'subjects', index, 'name'], message });
  }
  return [...problems, ...bindingProblems(roleBindings, ['spec', 'roleBindings'])];
}

/** What is wrong with a list of bindings, each by its place. */
export function bindingProblems(bindings: readonly unknown[], path: FieldPath): Problem[] {
  return bindings.flatMap((binding, index) => {
    const message = bindingFault(binding);
    return message === undefined ? [] : [{ path: [...path, index], message }];
  });
}

/** Why nobody can be named so; undefined when somebody can. */
export function subjectFault({ kind, name }: Subject): string | undefined {
  if (kind === 'User') return userNameFault(name);
  if (kind === 'Group') return nameFault(name);
  return TOKEN_HASH.test(name)
    ? undefined
    : 'is no id of a token: write the 64 characters after McpToken: that describe mcptoken shows';
}

/** The groups of a user that do not exist. */
export function unknownGroups(spec: unknown, exists: (name: string) => boolean): Problem[] {
  const { groups = [] } = spec as UserFields;
  return groups.flatMap((group, index) =>
    exists(group)
      ? []
      : [{ path: ['spec', 'groups', index], message: `there is no group ${group}: create it first` }],
  );
}

function bindingFault(binding: unknown): string | undefined {
  try {
    checkBinding(binding, '');
    return undefined;
  } catch (error) {
    if (!(error instanceof Refusal)) throw error;
    return error.message.replace(/^: /, '');
  }
}
