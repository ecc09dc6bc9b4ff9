import { z } from 'zod';
import { keysOnly, type Problem, textThat } from './problems.ts';

/** What every request to an HTTP server proves itself with. */
export type FixedAuth =
  | { type: 'bearer'; token: string }
  | { type: 'header'; name: string; value: string }
  | { type: 'basic'; username: string; password: string };

type Fault = (value: string) => string | undefined;

/** @param mode `written`: the confidential parts are placeholders; `resolved`: they are what those became */
export function authFields(
  mode: 'written' | 'resolved',
  { headerName, headerValue }: { headerName: Fault; headerValue: Fault },
) {
  const confidential = textThat(
    mode === 'written' ? literalFault : (value) => emptyFault(value) ?? headerValue(value),
  );
  const open = (fault: Fault) =>
    textThat((value) => (mode === 'written' && value.includes('${') ? undefined : fault(value)));
  const error = (issue: { code?: string }) =>
    issue.code === 'invalid_union' ? 'has no such type: use one of bearer, header, basic' : undefined;
  return z.discriminatedUnion(
    'type',
    [
      keysOnly({ type: z.literal('bearer'), token: confidential }),
      keysOnly({ type: z.literal('header'), name: open(headerName), value: confidential }),
      keysOnly({ type: z.literal('basic'), username: open(usernameFault), password: confidential }),
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

function emptyFault(value: string): string | undefined {
  return value.trim() === '' ? 'is empty: give a value' : undefined;
}

/** RFC 7617 section 2: the first colon ends the name. */
function usernameFault(value: string): string | undefined {
  return /[:\p{Cc}]/u.test(value) ? 'contains a ":" or a control character: remove it' : undefined;
}

/** What is wrong with `auth` beside the rest of a spec. */
export function authProblems(spec: { auth?: unknown; url?: unknown; headers?: unknown }): Problem[] {
  const { auth, url, headers } = spec as {
    auth?: FixedAuth;
    url?: unknown;
    headers?: Record<string, string>;
  };
  if (auth === undefined) return [];
  if (url === undefined)
    return [
      { path: ['auth'], message: 'has a meaning beside url alone: give a process its credential in env' },
    ];
  const name = headerOf(auth);
  const twice = Object.keys(headers ?? {}).find((one) => one.toLowerCase() === name.toLowerCase());
  if (twice === undefined) return [];
  return [{ path: ['headers', twice], message: 'is what auth sets: keep one of the two' }];
}

const headerOf = (auth: FixedAuth) => (auth.type === 'header' ? auth.name : 'Authorization');

/** The header that carries it. */
export function authHeader(auth: FixedAuth): Record<string, string> {
  return { [headerOf(auth)]: headerValueOf(auth) };
}

function headerValueOf(auth: FixedAuth): string {
  if (auth.type === 'bearer') return `Bearer ${auth.token}`;
  return auth.type === 'header' ? auth.value : `Basic ${basicPair(auth)}`;
}

const basicPair = ({ username, password }: { username: string; password: string }) =>
  Buffer.from(`${username}:${password}`).toString('base64');

/** All that nobody may read in what the server writes, and what to show instead. */
export function confidentialOf(auth: FixedAuth | undefined): [string, string][] {
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
    case undefined:
      return [];
  }
}
