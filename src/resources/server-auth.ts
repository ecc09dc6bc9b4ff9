import { z } from 'zod';
import { endpointFault } from './endpoint-url.ts';
import { keysOnly, type Problem, textThat } from './problems.ts';
import type { OAuthSpec } from './spec.ts';

/** What every request to an HTTP server proves itself with. */
export type FixedAuth =
  | { type: 'bearer'; token: string }
  | { type: 'header'; name: string; value: string }
  | { type: 'basic'; username: string; password: string };

type OAuthAuth = {
  type: 'oauth';
  provider?: 'custom' | undefined;
  authorizationEndpoint?: string | undefined;
  tokenEndpoint?: string | undefined;
  deviceAuthorizationEndpoint?: string | undefined;
  clientId?: string | undefined;
  clientSecret?: string | undefined;
  redirectUri?: string | undefined;
  scopes?: string[] | undefined;
  resource?: string | undefined;
  credentials?: 'shared' | 'per-user' | undefined;
  discovery?: boolean | undefined;
  discoveryAllowlist?: string[] | undefined;
  clientMetadataUrl?: string | undefined;
};

type Auth = FixedAuth | OAuthAuth;

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
    issue.code === 'invalid_union' ? 'has no such type: use one of bearer, header, basic, oauth' : undefined;
  return z.discriminatedUnion(
    'type',
    [
      keysOnly({ type: z.literal('bearer'), token: confidential }),
      keysOnly({ type: z.literal('header'), name: open(headerName), value: confidential }),
      keysOnly({ type: z.literal('basic'), username: open(usernameFault), password: confidential }),
      keysOnly({
        type: z.literal('oauth'),
        provider: z.enum(['custom']).optional(),
        authorizationEndpoint: open(endpointFault).optional(),
        tokenEndpoint: open(endpointFault).optional(),
        deviceAuthorizationEndpoint: open(endpointFault).optional(),
        clientId: open(emptyFault).optional(),
        clientSecret: confidential.optional(),
        redirectUri: open(endpointFault).optional(),
        scopes: z.array(open(scopeFault)).max(100).optional(),
        resource: open(endpointFault).optional(),
        credentials: z.enum(['shared', 'per-user']).optional(),
        discovery: z.boolean().optional(),
        discoveryAllowlist: z.array(open(originFault)).min(1).max(50).optional(),
        clientMetadataUrl: open(documentFault).optional(),
      }),
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

function scopeFault(value: string): string | undefined {
  return /^[\x21\x23-\x5b\x5d-\x7e]{1,256}$/.test(value) ? undefined : 'is no scope: write one a line';
}

function originFault(value: string): string | undefined {
  return URL.parse(value)?.origin === value && /^https?:/.test(value)
    ? undefined
    : 'is no origin: write scheme, host and port alone, such as https://auth.example.com';
}

function documentFault(value: string): string | undefined {
  if (endpointFault(value) === undefined && /^https:\/\/[^/]+\/./.test(value)) return undefined;
  return 'is no https URL with a path: write it in full';
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

const ENDPOINTS = ['authorizationEndpoint', 'tokenEndpoint', 'deviceAuthorizationEndpoint'] as const;

function oauthProblems(auth: OAuthAuth): Problem[] {
  const problems: Problem[] = [];
  const wrong = (field: string, message: string) => problems.push({ path: ['auth', field], message });
  if (auth.credentials === 'per-user')
    wrong('credentials', 'per-user is not available yet: use shared, one sign-in for everybody');
  if (auth.discovery === true && auth.discoveryAllowlist === undefined)
    wrong('discovery', 'needs to know where: add discoveryAllowlist: [https://AUTHORIZATION-SERVER]');
  if (auth.discovery !== true && auth.discoveryAllowlist !== undefined)
    wrong('discoveryAllowlist', 'counts only together with discovery: add discovery: true');
  if (auth.clientSecret !== undefined && auth.clientId === undefined)
    wrong('clientSecret', 'belongs to a client: add clientId');
  if (auth.provider === undefined) {
    for (const field of [...ENDPOINTS, 'redirectUri'] as const)
      if (auth[field] !== undefined)
        wrong(field, 'counts only with provider: custom; add that, or remove this');
    return problems;
  }
  for (const field of ['tokenEndpoint', 'clientId'] as const)
    if (auth[field] === undefined) wrong(field, 'is missing: provider: custom needs it');
  if (auth.authorizationEndpoint === undefined && auth.deviceAuthorizationEndpoint === undefined)
    wrong(
      'authorizationEndpoint',
      'is missing: provider: custom needs it, or deviceAuthorizationEndpoint for --device alone',
    );
  return problems;
}

const headerOf = (auth: Auth) => (auth.type === 'header' ? auth.name : 'Authorization');

/** The header that carries it; none where tokens come from an authorization server. */
export function authHeader(auth: Auth): Record<string, string> {
  return auth.type === 'oauth' ? {} : { [headerOf(auth)]: headerValueOf(auth) };
}

/** Undefined: it is a fixed credential. */
export function oauthSpec(auth: Auth | undefined): OAuthSpec | undefined {
  if (auth?.type !== 'oauth') return undefined;
  return {
    custom: auth.provider === 'custom',
    authorizationEndpoint: auth.authorizationEndpoint,
    tokenEndpoint: auth.tokenEndpoint,
    deviceAuthorizationEndpoint: auth.deviceAuthorizationEndpoint,
    clientId: auth.clientId,
    clientSecret: auth.clientSecret,
    redirectUri: auth.redirectUri,
    scopes: auth.scopes,
    resource: auth.resource,
    clientMetadataUrl: auth.clientMetadataUrl,
    allowOrigins: auth.discoveryAllowlist ?? [],
  };
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
      return auth.clientSecret === undefined ? [] : [[auth.clientSecret, `\${auth.clientSecret}`]];
    case undefined:
      return [];
  }
}
