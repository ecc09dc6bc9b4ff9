import { z } from 'zod';
import { clientKeyFault } from './client-key.ts';
import { type OAuthAuth, oauthFields, oauthProblems, oauthSecrets } from './oauth-auth.ts';
import { emptyFault, type Fault, keysOnly, type Problem, textThat } from './problems.ts';

/** What every request to an HTTP server proves itself with. */
export type FixedAuth =
  | { type: 'bearer'; token: string }
  | { type: 'header'; name: string; value: string }
  | { type: 'basic'; username: string; password: string };

export type Auth = FixedAuth | OAuthAuth;

/** @param mode `written`: the confidential parts are placeholders; `resolved`: they are what those became */
export function authFields(
  mode: 'written' | 'resolved',
  { headerName, headerValue }: Record<'headerName' | 'headerValue', Fault>,
) {
  const secret = (fault: Fault) =>
    textThat(mode === 'written' ? literalFault : (value) => emptyFault(value) ?? fault(value));
  const confidential = secret(headerValue);
  const open = (fault: Fault) =>
    textThat((value) => (mode === 'written' && value.includes('${') ? undefined : fault(value)));
  const error = (issue: { code?: string }) =>
    issue.code === 'invalid_union' ? 'has no such type: use one of bearer, header, basic, oauth' : undefined;
  return z.discriminatedUnion(
    'type',
    [
      keysOnly({ type: z.literal('bearer'), token: confidential }),
      keysOnly({ type: z.literal('header'), name: open(headerName), value: confidential }),
      keysOnly({ type: z.literal('basic'), username: open(usernameFault), password: confidential }),
      oauthFields({ confidential, key: secret(clientKeyFault), open }),
    ],
    { error },
  );
}

/** A credential in plain text would be shown to everybody who may see the server. */
function literalFault(value: string): string | undefined {
  return value.includes('${')
    ? undefined
    : `is written in plain text: put it in a secret, \${secret:NAME.KEY}`;
}

/** RFC 7617 section 2: the first colon ends the name. */
function usernameFault(value: string): string | undefined {
  return /[:\p{Cc}]/u.test(value) ? 'contains a ":" or a control character: remove it' : undefined;
}

/** What is wrong with `auth` beside the rest of a spec. */
export function authProblems(spec: { auth?: unknown; url?: unknown; headers?: unknown }): Problem[] {
  const { auth, url, headers } = spec as { auth?: Auth; url?: unknown; headers?: Record<string, string> };
  if (auth === undefined) return [];
  if (url === undefined)
    return [
      { path: ['auth'], message: 'has a meaning beside url alone: give a process its credential in env' },
    ];
  const name = headerOf(auth);
  const twice = Object.keys(headers ?? {}).find((one) => one.toLowerCase() === name.toLowerCase());
  const problems = auth.type === 'oauth' ? oauthProblems(auth) : [];
  if (twice !== undefined)
    problems.push({ path: ['headers', twice], message: 'is what auth sets: keep one of the two' });
  return problems;
}

const headerOf = (auth: Auth) => (auth.type === 'header' ? auth.name : 'Authorization');

/** The header that carries it; none where tokens come from an authorization server. */
export function authHeader(auth: Auth): Record<string, string> {
  return auth.type === 'oauth' ? {} : { [headerOf(auth)]: headerValueOf(auth) };
}

function headerValueOf(auth: FixedAuth): string {
  if (auth.type === 'bearer') return `Bearer ${auth.token}`;
  return auth.type === 'header' ? auth.value : `Basic ${basicPair(auth)}`;
}

const basicPair = ({ username, password }: { username: string; password: string }) =>
  Buffer.from(`${username}:${password}`).toString('base64');

/** All that nobody may read in what the server writes, and what to show instead. */
export function confidentialOf(auth: Auth | undefined): [string, string][] {
  switch (auth?.type) {
    case 'bearer':
      return [[auth.token, `\${auth.token}`]];
    case 'header':
      return [[auth.value, `\${auth.value}`]];
    case 'basic':
      return [
        [auth.password, `\${auth.password}`],
        [basicPair(auth), `\${auth}`],
      ];
    case 'oauth':
      return oauthSecrets(auth);
    case undefined:
      return [];
  }
}
