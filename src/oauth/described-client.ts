/** What a client says of itself in the words of RFC 7591, in a request to `/register` or in a document of its own. */

import { isMapping } from '../base/mapping.ts';
import { ok, type Result, refused } from '../base/result.ts';
import { JWKS } from '../resources/client-fields.ts';
import { redirectFault, redirectKind } from '../resources/redirect-uris.ts';
import { DEVICE_GRANT } from './built-in-clients.ts';
import type { ClientAuthMethod, ClientRecord } from './clients.ts';

/** RFC 7591 section 3.2.2. The description never repeats a value. */
export type MetadataFault = {
  error: 'invalid_redirect_uri' | 'invalid_client_metadata';
  description: string;
};

export type DescribedClient = Pick<
  ClientRecord,
  'name' | 'redirectUris' | 'tokenEndpointAuthMethod' | 'grantTypes' | 'jwks'
> & { jwksUri?: string };

export type DescriptionRules = {
  /** The first is meant when none is named. */
  methods: readonly [ClientAuthMethod, ...ClientAuthMethod[]];
  /** Whether a grant type that is not offered is left out instead of refused. */
  dropsOtherGrants: boolean;
};

const MAX_NAME = 200;
const MAX_REDIRECTS = 20;
const OFFERED_GRANTS: readonly string[] = ['authorization_code', 'refresh_token', DEVICE_GRANT];
/** Pages that people may be led to. */
const PAGES = ['client_uri', 'logo_uri', 'tos_uri', 'policy_uri'];
/** `offline_access` is asked for out of habit and means nothing here. */
const SCOPES = ['mcp', 'mcp:operator', 'offline_access'];

/** The client as it may be here; keys that nobody knows are ignored. */
export function describedClient(
  metadata: unknown,
  rules: DescriptionRules,
): Result<DescribedClient, MetadataFault> {
  if (!isMapping(metadata)) return wrong('must be a JSON object');
  const redirects = redirectsOf(metadata);
  if (!redirects.ok) return redirects;
  const grants = grantsOf(metadata, rules);
  if (!grants.ok) return grants;
  if (grants.value.includes('authorization_code') && redirects.value.length === 0)
    return refused({ error: 'invalid_redirect_uri', description: 'redirect_uris: at least one is needed' });
  const proof = proofOf(metadata, rules);
  if (!proof.ok) return proof;
  const name = nameOf(metadata, redirects.value);
  if (name === undefined)
    return wrong(`client_name: must be text of 1 to ${MAX_NAME} characters that can be seen`);
  const page = PAGES.find((key) => metadata[key] !== undefined && !isHttps(metadata[key]));
  if (page !== undefined) return wrong(`${page}: must be an https URL`);
  const { scope = '' } = metadata;
  if (typeof scope !== 'string' || scope.split(' ').some((one) => one !== '' && !SCOPES.includes(one)))
    return wrong('scope: mcp and mcp:operator can be had');
  return ok({ name, redirectUris: redirects.value, grantTypes: grants.value, ...proof.value });
}

const wrong = (description: string) =>
  refused<MetadataFault>({ error: 'invalid_client_metadata', description });

/** A native client may also have an https address that leads to it (RFC 8252 section 7.2); a web client nothing else. */
function redirectsOf(metadata: Record<string, unknown>): Result<string[], MetadataFault> {
  const { redirect_uris: uris = [], application_type: type } = metadata;
  const fault = (description: string) =>
    refused<MetadataFault>({ error: 'invalid_redirect_uri', description: `redirect_uris${description}` });
  if (!isTexts(uris)) return fault(': must be a list of text');
  if (uris.length > MAX_REDIRECTS) return fault(`: at most ${MAX_REDIRECTS}`);
  for (const [index, uri] of uris.entries()) {
    const reason = redirectFault(uri);
    if (reason !== undefined) return fault(`[${index}]: ${reason}`);
    if (type === 'web' && redirectKind(uri) !== 'web') return fault(`[${index}]: a web client needs https`);
  }
  if (type !== undefined && type !== 'web' && type !== 'native')
    return wrong('application_type: must be native or web');
  return ok([...new Set(uris)]);
}

function grantsOf(
  metadata: Record<string, unknown>,
  { dropsOtherGrants }: DescriptionRules,
): Result<string[], MetadataFault> {
  const { grant_types: wanted = ['authorization_code'], response_types: responses } = metadata;
  if (!isTexts(wanted)) return wrong('grant_types: must be a list of text');
  const offered = wanted.filter((type) => OFFERED_GRANTS.includes(type));
  if (offered.length < wanted.length && !dropsOtherGrants)
    return wrong(`grant_types: use ${OFFERED_GRANTS.join(', ')}`);
  const usesCodes = offered.includes('authorization_code');
  if (!usesCodes && !offered.includes(DEVICE_GRANT)) return wrong('grant_types: name a way to get a token');
  if (responses !== undefined && !isTexts(responses)) return wrong('response_types: must be a list of text');
  const { length = usesCodes ? 1 : 0 } = responses ?? {};
  const agree = usesCodes ? (responses ?? ['code']).includes('code') : length === 0;
  const others = (responses ?? []).some((type) => type !== 'code') && !dropsOtherGrants;
  if (!agree || others) return wrong('response_types: must be code where grant_types has authorization_code');
  return ok([...new Set(offered)]);
}

function proofOf(
  metadata: Record<string, unknown>,
  { methods }: DescriptionRules,
): Result<Pick<DescribedClient, 'tokenEndpointAuthMethod' | 'jwks' | 'jwksUri'>, MetadataFault> {
  const { token_endpoint_auth_method: named = methods[0], jwks, jwks_uri: jwksUri } = metadata;
  const method = methods.find((one) => one === named);
  if (!method) return wrong(`token_endpoint_auth_method: use ${methods.join(', ')}`);
  if (method !== 'private_key_jwt') return ok({ tokenEndpointAuthMethod: method });
  if (jwks !== undefined && jwksUri !== undefined) return wrong('jwks: give it or jwks_uri, not both');
  if (jwks === undefined) {
    if (!isHttps(jwksUri)) return wrong('jwks: is missing, and jwks_uri is no https URL');
    return ok({ tokenEndpointAuthMethod: method, jwksUri: String(jwksUri) });
  }
  const keys = JWKS.safeParse(jwks);
  if (!keys.success) return wrong('jwks: must be a JSON Web Key Set of 1 to 10 public keys');
  return ok({ tokenEndpointAuthMethod: method, jwks: keys.data });
}

/** Characters that cannot be seen make one name look like another. */
function nameOf({ client_name: name }: Record<string, unknown>, [first]: string[]): string | undefined {
  if (name === undefined)
    return first === undefined ? 'unnamed client' : new URL(first).host || 'unnamed client';
  if (typeof name !== 'string' || name.trim() === '' || name.length > MAX_NAME) return undefined;
  return /[\p{C}\p{Zl}\p{Zp}]/u.test(name) ? undefined : name.trim();
}

function isTexts(value: unknown): value is string[] {
  return Array.isArray(value) && value.every((one) => typeof one === 'string');
}

function isHttps(value: unknown): boolean {
  return typeof value === 'string' && URL.parse(value)?.protocol === 'https:';
}
