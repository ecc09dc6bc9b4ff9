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
  | 'OAuthClient'
  | 'Repository';

export type KindInfo = {
  kind: KindName;
  /** Lower case, as the CLI prints it in `server/github`. */
  singular: string;
  /** Also the path segment of the REST API. */
  plural: string;
  alias: string | undefined;
};

const kind = (name: KindName, alias?: string, plural?: string): KindInfo => ({
  kind: name,
  singular: name.toLowerCase(),
  plural: plural ?? `${name.toLowerCase()}s`,
  alias,
});

/** In an order in which each kind finds what it names, and what restricts comes first: `apply` follows it. */
export const KINDS: readonly KindInfo[] = [
  kind('Policy', undefined, 'policies'),
  kind('Secret'),
  kind('Server', 'srv'),
  kind('Project', 'proj'),
  kind('Group'),
  kind('User'),
  kind('Rbac', undefined, 'rbac'),
  kind('McpToken', 'token'),
  kind('OAuthClient'),
  kind('Repository', undefined, 'repositories'),
];

/**
 * The kind that a word means: its name, singular, plural or alias, in any case. Throws a Refusal that names the
 * nearest kind.
 */
export function kindOf(word: string): KindInfo {
  const wanted = word.toLowerCase();
  const found = KINDS.find((one) => [one.singular, one.plural, one.alias].includes(wanted));
  if (!found) {
    const meant = nearest(
      wanted,
      KINDS.flatMap((one) => [one.kind, one.plural, one.alias ?? one.kind]),
    );
    const fix = meant ? `did you mean ${meant}?` : `use one of ${knownKinds()}`;
    throw new Refusal('invalid', `unknown kind "${printable(word)}": ${fix}`);
  }
  return found;
}

/** The kinds that this version knows, for messages. */
export function knownKinds(): string {
  return KINDS.map((one) => one.kind).join(', ');
}
