import { Refusal } from '../base/errors.ts';
import { nearest, printable } from './names.ts';

/** The kinds that objects can have now. */
export type KindName =
  | 'Policy'
  | 'Secret'
  | 'Server'
  | 'Project'
  | 'Group'
  | 'User'
  | 'Rbac'
  | 'McpToken'
  | 'OAuthClient';

export type KindInfo = {
  kind: string;
  /** Lower case, as the CLI prints it in `server/github`. */
  singular: string;
  /** Also the path segment of the REST API. */
  plural: string;
  alias: string | undefined;
  /** False: the name is reserved, and using it answers "not available yet". */
  available: boolean;
};

const kind = (name: string, available: boolean, alias?: string, plural?: string): KindInfo => ({
  kind: name,
  singular: name.toLowerCase(),
  plural: plural ?? `${name.toLowerCase()}s`,
  alias,
  available,
});

/** In an order in which each kind finds what it names, and what restricts comes first: `apply` follows it. */
export const KINDS: readonly KindInfo[] = [
  kind('Policy', true, undefined, 'policies'),
  kind('Secret', true),
  kind('Server', true, 'srv'),
  kind('Project', true, 'proj'),
  kind('Group', true),
  kind('User', true),
  kind('Rbac', true, undefined, 'rbac'),
  kind('McpToken', true, 'token'),
  kind('OAuthClient', true),
  kind('Repository', false, undefined, 'repositories'),
];

/**
 * The kind that a word means: its name, singular, plural or alias, in any case. Throws a Refusal that names the
 * nearest kind, or says that the kind is not available yet.
 */
export function kindOf(word: string): KindInfo & { kind: KindName } {
  const wanted = word.toLowerCase();
  const found = KINDS.find((one) => [one.singular, one.plural, one.alias].includes(wanted));
  if (!found) {
    const available = KINDS.filter((one) => one.available);
    const meant = nearest(
      wanted,
      available.flatMap((one) => [one.kind, one.plural, one.alias ?? one.kind]),
    );
    const fix = meant ? `did you mean ${meant}?` : `use one of ${knownKinds()}`;
    throw new Refusal('invalid', `unknown kind "${printable(word)}": ${fix}`);
  }
  if (!isAvailable(found)) {
    throw new Refusal(
      'invalid',
      `kind ${found.kind} is not available yet: this version knows ${knownKinds()}`,
    );
  }
  return found;
}

/** The kinds that this version knows, for messages. */
export function knownKinds(): string {
  return KINDS.filter((one) => one.available)
    .map((one) => one.kind)
    .join(', ');
}

function isAvailable(info: KindInfo): info is KindInfo & { kind: KindName } {
  return info.available;
}
