import { ok, type Result, refused } from '../base/result.ts';
import { endpointFault } from '../resources/endpoint-url.ts';
import { type CredentialTarget, isResourceOf } from './credentials.ts';
import type { VendorHttp } from './vendor-http.ts';

/** Where and how to sign in for one server. */
export type Vendor = {
  issuer: string;
  authorizationEndpoint: string | undefined;
  tokenEndpoint: string;
  deviceAuthorizationEndpoint: string | undefined;
  registrationEndpoint: string | undefined;
  /** It reads documents about clients. */
  readsDocuments: boolean;
  /** `iss` comes with every answer (RFC 9207). Undefined: nobody knows the issuer's name. */
  namesItself: boolean | undefined;
  authMethods: readonly string[];
  resource: string | undefined;
  scope: string | undefined;
};

type Found = { resource: string | undefined; issuers: string[]; scopes: string[] | undefined };
type Metadata = Readonly<Record<string, unknown>>;

const CHALLENGED_BY = {
  jsonrpc: '2.0',
  id: 'sign-in',
  method: 'initialize',
  params: {
    protocolVersion: '2025-11-25',
    capabilities: {},
    clientInfo: { name: 'castellan', version: '1' },
  },
};

/**
 * Finds the authorization server of a server (2025-11-25 and 2026-07-28 basic/authorization, RFC 9728, RFC 8414). Asks
 * the server's own origin and those that its operator named, and no others. A refusal names the fix.
 */
export async function discover(http: VendorHttp, target: CredentialTarget): Promise<Result<Vendor, string>> {
  const { auth, url } = target;
  const origins = [new URL(url).origin, ...auth.allowOrigins];
  if (auth.custom) return ok(customVendor(target));
  const challenge = await challengeOf(http, url, origins);
  const found = await resourceMetadata(http, target, challenge.metadata, origins);
  if (!found.ok) return found;
  const { issuers, resource, scopes } = found.value;
  const issuer = issuers.find((one) => origins.includes(originOf(one)));
  if (issuer === undefined) return refused(notAllowed(target.name, originOf(issuers[0] ?? '')));
  const metadata = await serverMetadata(http, issuer, origins);
  if (!metadata.ok) return metadata;
  const read = vendorOf(metadata.value, issuer);
  if (!read.ok) return read;
  for (const endpoint of [
    read.value.tokenEndpoint,
    read.value.deviceAuthorizationEndpoint,
    read.value.registrationEndpoint,
  ])
    if (endpoint !== undefined && !origins.includes(originOf(endpoint)))
      return refused(notAllowed(target.name, originOf(endpoint)));
  const wanted = auth.scopes ?? challenge.scope?.split(' ') ?? scopes;
  const offers = strings(metadata.value.scopes_supported)?.includes('offline_access');
  const all = wanted && offers && !wanted.includes('offline_access') ? [...wanted, 'offline_access'] : wanted;
  return ok({ ...read.value, resource: auth.resource ?? resource ?? url, scope: all?.join(' ') });
}

function customVendor({ auth, url }: CredentialTarget): Vendor {
  const tokenEndpoint = auth.tokenEndpoint ?? '';
  return {
    issuer: originOf(tokenEndpoint),
    authorizationEndpoint: auth.authorizationEndpoint,
    tokenEndpoint,
    deviceAuthorizationEndpoint: auth.deviceAuthorizationEndpoint,
    registrationEndpoint: undefined,
    readsDocuments: false,
    namesItself: undefined,
    authMethods: [],
    resource: auth.resource ?? url,
    scope: auth.scopes?.join(' '),
  };
}

function notAllowed(name: string, origin: string): string {
  if (origin === '')
    return `server "${name}" names no authorization server; set provider: custom in its auth`;
  const line = `discovery: true, discoveryAllowlist: [${origin}]`;
  return `server "${name}" signs in at another origin, which nobody allowed: add to its auth: ${line}`;
}

/** What the server says to a request without a credential (RFC 9728 section 5.1). */
async function challengeOf(
  http: VendorHttp,
  url: string,
  origins: readonly string[],
): Promise<{ metadata: string | undefined; scope: string | undefined }> {
  const answer = await http.post(url, origins, CHALLENGED_BY);
  const challenge = (answer.ok && answer.value.status === 401 && answer.value.challenge) || '';
  const parameter = (name: string) =>
    new RegExp(`\\b${name}="([^"\\\\]{1,2048})"`, 'i').exec(challenge)?.[1] ??
    new RegExp(`\\b${name}=([^\\s",]{1,2048})`, 'i').exec(challenge)?.[1];
  return { metadata: parameter('resource_metadata'), scope: parameter('scope') };
}

async function resourceMetadata(
  http: VendorHttp,
  { name, url }: CredentialTarget,
  named: string | undefined,
  origins: readonly string[],
): Promise<Result<Found, string>> {
  const { origin, pathname } = new URL(url);
  const wellKnown = `${origin}/.well-known/oauth-protected-resource`;
  const inserted = pathname === '/' ? [] : [`${wellKnown}${pathname.replace(/\/$/, '')}`];
  if (named !== undefined && !origins.includes(originOf(named)))
    return refused(notAllowed(name, originOf(named)));
  for (const place of named === undefined ? [...inserted, wellKnown] : [named]) {
    const answer = await http.get(place, origins);
    if (!answer.ok) return refused(`${new URL(place).origin} ${answer.error}`);
    if (answer.value.status !== 200 || !isMapping(answer.value.json)) continue;
    const { resource, authorization_servers, scopes_supported } = answer.value.json;
    if (typeof resource !== 'string' || !isResourceOf(resource, url))
      return refused(
        `server "${name}" describes another resource than its url; set its url to that of the resource`,
      );
    const issuers = strings(authorization_servers) ?? [];
    return ok({ resource, issuers, scopes: strings(scopes_supported) });
  }
  // Older servers are their own authorization server (2025-03-26 basic/authorization).
  return ok({ resource: undefined, issuers: [origin], scopes: undefined });
}

/** Where metadata of an issuer may lie, in the order that is specified. */
export function metadataPlaces(issuer: string): string[] {
  const { origin, pathname } = new URL(issuer);
  const path = pathname.replace(/\/$/, '');
  const first = `${origin}/.well-known/oauth-authorization-server${path}`;
  const second = `${origin}/.well-known/openid-configuration${path}`;
  return path === '' ? [first, second] : [first, second, `${origin}${path}/.well-known/openid-configuration`];
}

async function serverMetadata(
  http: VendorHttp,
  issuer: string,
  origins: readonly string[],
): Promise<Result<Metadata, string>> {
  for (const place of metadataPlaces(issuer)) {
    const answer = await http.get(place, origins);
    if (!answer.ok) return refused(`the authorization server at ${originOf(issuer)} ${answer.error}`);
    if (answer.value.status !== 200 || !isMapping(answer.value.json)) continue;
    // RFC 8414 section 3.3: as it was asked for, to the letter.
    if (answer.value.json.issuer !== issuer)
      return refused(`the authorization server at ${originOf(issuer)} gives itself another name (issuer)`);
    return ok(answer.value.json);
  }
  const fix = 'set provider: custom in its auth, with the endpoints of the vendor';
  return refused(`the authorization server at ${originOf(issuer)} describes itself nowhere; ${fix}`);
}

function vendorOf(metadata: Metadata, issuer: string): Result<Vendor, string> {
  const where = `the authorization server at ${originOf(issuer)}`;
  const names = {
    authorizationEndpoint: 'authorization_endpoint',
    tokenEndpoint: 'token_endpoint',
    deviceAuthorizationEndpoint: 'device_authorization_endpoint',
    registrationEndpoint: 'registration_endpoint',
  } as const;
  const endpoints: Partial<Record<keyof typeof names, string>> = {};
  for (const [own, name] of Object.entries(names) as [keyof typeof names, string][]) {
    const value = metadata[name];
    if (value === undefined || value === null) continue;
    const fault = typeof value === 'string' ? endpointFault(value) : 'is no text';
    if (fault !== undefined) return refused(`${where} names a ${name} that nobody is sent to: it ${fault}`);
    if (originOf(String(value)) !== originOf(issuer) && !/^https:/i.test(String(value)))
      return refused(`${where} names a ${name} without https on another origin`);
    endpoints[own] = String(value);
  }
  if (endpoints.tokenEndpoint === undefined) return refused(`${where} names no token_endpoint`);
  const challenges = strings(metadata.code_challenge_methods_supported) ?? [];
  if (!challenges.includes('S256')) {
    if (endpoints.deviceAuthorizationEndpoint === undefined)
      return refused(`${where} does not offer PKCE with S256, without which nobody signs in`);
    delete endpoints.authorizationEndpoint;
  }
  return ok({
    issuer,
    authorizationEndpoint: endpoints.authorizationEndpoint,
    tokenEndpoint: endpoints.tokenEndpoint,
    deviceAuthorizationEndpoint: endpoints.deviceAuthorizationEndpoint,
    registrationEndpoint: endpoints.registrationEndpoint,
    readsDocuments: metadata.client_id_metadata_document_supported === true,
    namesItself: metadata.authorization_response_iss_parameter_supported === true,
    authMethods: strings(metadata.token_endpoint_auth_methods_supported) ?? ['client_secret_basic'],
    resource: undefined,
    scope: undefined,
  });
}

const originOf = (url: string) => URL.parse(url)?.origin ?? '';
const isMapping = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

function strings(value: unknown): string[] | undefined {
  return Array.isArray(value) ? value.filter((one) => typeof one === 'string').slice(0, 100) : undefined;
}
