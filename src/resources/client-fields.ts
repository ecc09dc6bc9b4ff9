import { z } from 'zod';
import { userNameFault } from './access-fields.ts';
import { nameFault } from './names.ts';
import { keysOnly, type Problem, problemsOf, textThat } from './problems.ts';
import { redirectFault } from './redirect-uris.ts';

/** How a client proves itself at the token endpoint; `basic` and `post` are short for RFC 7591's long names. */
export const CLIENT_AUTH_METHODS = [
  'basic',
  'post',
  'private_key_jwt',
  'none',
  'client_secret_basic',
  'client_secret_post',
] as const;

/** What a client may ask for; everything else is for people and the command line. */
export const CLIENT_SCOPES = ['mcp', 'mcp:operator'] as const;

/** The command line's own client id. */
const RESERVED_NAME = 'castellan-cli';
const MAX_REDIRECTS = 20;
const MAX_KEYS = 10;
/** Parameters of private and of symmetric keys (RFC 7518 section 6). */
const PRIVATE_PARAMETERS = ['d', 'p', 'q', 'dp', 'dq', 'qi', 'oth', 'k'];

/** Why an OAuthClient cannot have this name, which is its client id; undefined when it can. */
export function clientNameFault(name: unknown): string | undefined {
  if (name === RESERVED_NAME) return `"${RESERVED_NAME}" is the command line itself: use another name`;
  return nameFault(name);
}

const PUBLIC_KEY = z.looseObject({ kty: z.enum(['RSA', 'EC', 'OKP']) }).superRefine((key, context) => {
  if (!PRIVATE_PARAMETERS.some((parameter) => parameter in key)) return;
  context.addIssue({ code: 'custom', message: 'is a private key: give the public half alone' });
});

export const JWKS = z.looseObject({ keys: z.array(PUBLIC_KEY).min(1).max(MAX_KEYS) });

export const OAUTH_CLIENT = keysOnly({
  displayName: z.string().min(1).max(200).optional(),
  user: textThat(userNameFault).optional(),
  project: textThat(nameFault).optional(),
  scopes: z.array(z.enum(CLIENT_SCOPES)).min(1).max(CLIENT_SCOPES.length).optional(),
  redirectUris: z.array(textThat(redirectFault)).max(MAX_REDIRECTS).optional(),
  autoApprove: z.boolean().optional(),
  tokenEndpointAuthMethod: z.enum(CLIENT_AUTH_METHODS).optional(),
  jwks: JWKS.optional(),
});

export type ClientFields = z.infer<typeof OAUTH_CLIENT>;

/** Whether the client proves itself with a secret, which is made for it. */
export function usesSecret({ tokenEndpointAuthMethod: method = 'basic' }: ClientFields): boolean {
  return method !== 'none' && method !== 'private_key_jwt';
}

/** What is wrong with the spec of an OAuthClient taken alone. */
export function clientProblems(spec: unknown): Problem[] {
  const problems = problemsOf(OAUTH_CLIENT, spec, ['spec']);
  if (problems.length > 0) return problems;
  const fields = spec as ClientFields;
  const { user, project, redirectUris = [], tokenEndpointAuthMethod: method, jwks, autoApprove } = fields;
  const found: [keyof ClientFields, string | false][] = [
    ['jwks', method === 'private_key_jwt' && !jwks && 'is missing: private_key_jwt needs the public keys'],
    [
      'jwks',
      method !== 'private_key_jwt' && jwks !== undefined && 'needs tokenEndpointAuthMethod: private_key_jwt',
    ],
    [
      'user',
      user !== undefined &&
        method === 'none' &&
        'needs a client that proves itself: remove it, or choose another tokenEndpointAuthMethod',
    ],
    [
      'project',
      user !== undefined && project === undefined && 'is missing: a client that acts for a user needs one',
    ],
    [
      'autoApprove',
      autoApprove === true && user === undefined && 'needs a user that the client acts for: add spec.user',
    ],
    [
      'redirectUris',
      autoApprove === true && redirectUris.length !== 1 && 'must be exactly one with autoApprove',
    ],
    [
      'redirectUris',
      new Set(redirectUris).size < redirectUris.length && 'names one a second time: remove it',
    ],
  ];
  return found.flatMap(([field, message]) => (message === false ? [] : [{ path: ['spec', field], message }]));
}

/** The user and the project of a client that do not exist. */
export function unknownClientNames(
  spec: unknown,
  exists: (kind: 'User' | 'Project') => (name: string) => boolean,
): Problem[] {
  const { user, project } = spec as ClientFields;
  const problems: Problem[] = [];
  if (user !== undefined && !exists('User')(user))
    problems.push({ path: ['spec', 'user'], message: `there is no user ${user}: create it first` });
  if (project !== undefined && !exists('Project')(project))
    problems.push({ path: ['spec', 'project'], message: `there is no project ${project}: create it first` });
  return problems;
}
