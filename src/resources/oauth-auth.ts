import { z } from 'zod';
import { endpointFault } from './endpoint-url.ts';
import { nearest } from './names.ts';
import { emptyFault, type Fault, keysOnly, type Problem } from './problems.ts';
import { PROVIDER_NAMES, PROVIDERS } from './providers.ts';
import type { OAuthSpec } from './spec.ts';

type TextOf = (fault: Fault) => z.ZodString;

/** @param fields what the mode makes of a text: one that only a secret may hold, the key of a client, and any other */
export function oauthFields({
  confidential,
  key,
  open,
}: {
  confidential: z.ZodString;
  key: z.ZodString;
  open: TextOf;
}) {
  return keysOnly({
    type: z.literal('oauth'),
    grant: z
      .literal('client_credentials', { error: () => 'has one value alone: client_credentials' })
      .optional(),
    provider: z.enum(PROVIDER_NAMES, { error: providerError }).optional(),
    authorizationEndpoint: open(endpointFault).optional(),
    tokenEndpoint: open(endpointFault).optional(),
    deviceAuthorizationEndpoint: open(endpointFault).optional(),
    clientId: open(emptyFault).optional(),
    clientSecret: confidential.optional(),
    privateKey: key.optional(),
    redirectUri: open(endpointFault).optional(),
    scopes: z.array(open(scopeFault)).max(100).optional(),
    resource: open(endpointFault).optional(),
    credentials: z.enum(['shared', 'per-user']).optional(),
    discovery: z.boolean().optional(),
    discoveryAllowlist: z.array(open(originFault)).min(1).max(50).optional(),
    clientMetadataUrl: open(documentFault).optional(),
  });
}

export type OAuthAuth = z.infer<ReturnType<typeof oauthFields>>;

function providerError({ input }: { input?: unknown }): string {
  const meant = typeof input === 'string' ? nearest(input, PROVIDER_NAMES) : undefined;
  return meant
    ? `is not known: did you mean ${meant}?`
    : `is not known: use one of ${PROVIDER_NAMES.join(', ')}`;
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

const ENDPOINTS = ['authorizationEndpoint', 'tokenEndpoint', 'deviceAuthorizationEndpoint'] as const;
/** What a machine has no use for: nobody comes back from anywhere. */
const OF_PEOPLE = [
  'authorizationEndpoint',
  'deviceAuthorizationEndpoint',
  'redirectUri',
  'clientMetadataUrl',
] as const;

/** What is wrong with the fields of one server beside each other. */
export function oauthProblems(auth: OAuthAuth): Problem[] {
  const problems: Problem[] = [];
  const wrong = (field: keyof OAuthAuth, message: string) =>
    problems.push({ path: ['auth', field], message });
  if (auth.credentials === 'per-user' && auth.grant !== undefined)
    wrong('credentials', 'per-user has no meaning with grant: client_credentials, where nobody signs in');
  if (auth.discovery === true && auth.discoveryAllowlist === undefined)
    wrong('discovery', 'needs to know where: add discoveryAllowlist: [https://AUTHORIZATION-SERVER]');
  if (auth.discovery !== true && auth.discoveryAllowlist !== undefined)
    wrong('discoveryAllowlist', 'counts only together with discovery: add discovery: true');
  for (const field of ['clientSecret', 'privateKey'] as const)
    if (auth[field] !== undefined && auth.clientId === undefined)
      wrong(field, 'belongs to a client: add clientId');
  if (auth.clientSecret !== undefined && auth.privateKey !== undefined)
    wrong('privateKey', 'is another proof than clientSecret: keep one of the two');
  if (auth.grant !== undefined) machineProblems(auth, wrong);
  endpointProblems(auth, wrong);
  return problems;
}

function machineProblems(auth: OAuthAuth, wrong: (field: keyof OAuthAuth, message: string) => void): void {
  if (auth.clientId === undefined) wrong('clientId', 'is missing: grant: client_credentials needs it');
  if (auth.clientSecret === undefined && auth.privateKey === undefined)
    wrong('clientSecret', 'is missing: grant: client_credentials needs it, or privateKey');
  if (auth.credentials === 'per-user')
    wrong(
      'credentials',
      'per-user has no meaning with grant: client_credentials, which is nobody: remove it',
    );
  for (const field of OF_PEOPLE)
    if (auth[field] !== undefined)
      wrong(field, 'has no meaning with grant: client_credentials, where nobody signs in: remove it');
}

function endpointProblems(auth: OAuthAuth, wrong: (field: keyof OAuthAuth, message: string) => void): void {
  const { provider } = auth;
  if (provider !== 'custom') {
    const fix = provider === undefined ? 'add that, or remove this' : 'remove this';
    for (const field of ENDPOINTS)
      if (auth[field] !== undefined) wrong(field, `counts only with provider: custom; ${fix}`);
    if (auth.redirectUri !== undefined && provider === undefined)
      wrong('redirectUri', 'counts only with provider: custom; add that, or remove this');
    if (PROVIDERS[provider ?? '']?.endpoints && auth.clientId === undefined)
      wrong('clientId', `is missing: ${provider} registers nobody by itself, so register Castellan there`);
    return;
  }
  for (const field of ['tokenEndpoint', 'clientId'] as const)
    if (auth[field] === undefined) wrong(field, 'is missing: provider: custom needs it');
  const signIn = auth.authorizationEndpoint ?? auth.deviceAuthorizationEndpoint;
  if (signIn === undefined && auth.grant === undefined)
    wrong(
      'authorizationEndpoint',
      'is missing: provider: custom needs it, or deviceAuthorizationEndpoint for --device alone',
    );
}

/** How Castellan signs in, with all that is known of the vendor filled in. */
export function oauthSpec(auth: { type: string } | OAuthAuth | undefined): OAuthSpec | undefined {
  if (!isOAuth(auth)) return undefined;
  const known = PROVIDERS[auth.provider ?? ''];
  return {
    custom: auth.provider === 'custom',
    machine: auth.grant !== undefined,
    perUser: auth.credentials === 'per-user',
    authorizationEndpoint: known?.endpoints?.authorization ?? auth.authorizationEndpoint,
    tokenEndpoint: known?.endpoints?.token ?? auth.tokenEndpoint,
    deviceAuthorizationEndpoint: known?.endpoints?.device ?? auth.deviceAuthorizationEndpoint,
    clientId: auth.clientId,
    clientSecret: auth.clientSecret,
    privateKey: auth.privateKey,
    redirectUri: known ? undefined : auth.redirectUri,
    scopes: auth.scopes,
    resource: auth.resource,
    clientMetadataUrl: auth.clientMetadataUrl,
    allowOrigins: auth.discoveryAllowlist ?? [],
  };
}

const isOAuth = (auth: { type: string } | undefined): auth is OAuthAuth => auth?.type === 'oauth';

/** What nobody may read in what the server writes, and what to show instead. */
export function oauthSecrets({ clientSecret, privateKey }: OAuthAuth): [string, string][] {
  const secrets: [string, string][] = [];
  if (clientSecret !== undefined) secrets.push([clientSecret, `\${auth.clientSecret}`]);
  if (privateKey !== undefined) secrets.push([privateKey, `\${auth.privateKey}`]);
  return secrets;
}
