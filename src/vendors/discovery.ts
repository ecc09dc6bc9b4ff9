import { ok, type Result, refused } from '../base/result.ts';
import { LATEST_LEGACY_REVISION } from '../protocol/revisions.ts';
import { endpointFault } from '../resources/endpoint-url.ts';
import { providerAt } from '../resources/providers.ts';
import { type Challenge, challengeOf, unionOf } from './challenge.ts';
import type { ProofsTaken } from './client-proof.ts';
import { type CredentialTarget, isResourceOf } from './credentials.ts';
import type { VendorHttp } from './vendor-http.ts';

/** Where and how to sign in for one server. */
export type Vendor = ProofsTaken & {
  authorizationEndpoint: string | undefined;
  tokenEndpoint: string;
  deviceAuthorizationEndpoint: string | undefined;
  registrationEndpoint: string | undefined;
  /** Where what it issued can be taken back (RFC 7009). */
  revocationEndpoint: string | undefined;
  /** It reads documents about clients. */
  readsDocuments: boolean;
  /** `iss` comes with every answer (RFC 9207). Undefined: nobody knows the issuer's name. */
  namesItself: boolean | undefined;
  resource: string | undefined;
  scope: string | undefined;
  /** What a request to its authorization endpoint needs besides. */
  parameters: Readonly<Record<string, string>>;
};

/** `passing`: it may be another answer in a moment. The message is fit for a user. */
export type DiscoveryFault = { message: string; passing: boolean };

type Found = { resource: string | undefined; issuers: string[]; scopes: string[] | undefined };
type Metadata = Readonly<Record<string, unknown>>;

const INITIALIZE = {
  jsonrpc: '2.0',
  id: 'sign-in',
  method: 'initialize',
  params: {
    protocolVersion: LATEST_LEGACY_REVISION,
    capabilities: {},
    clientInfo: { name: 'castellan', version: '1' },
  },
};
/** Some servers greet everybody, and ask who it is when something is wanted. */
const CHALLENGED_BY: readonly object[] = [
  { jsonrpc: '2.0', id: 'sign-in', method: 'tools/list' },
  INITIALIZE,
];

/**
 * Finds the authorization server of a server (2025-11-25 and 2026-07-28 basic/authorization, RFC 9728, RFC 8414). Asks
 * the server's own origin and those that its operator named, and no others. A refusal names the fix.
 */
export async function discover(
  http: VendorHttp,
  target: CredentialTarget,
): Promise<Result<Vendor, DiscoveryFault>> {
  const { auth, url } = target;
  if (auth.custom) return ok(configuredVendor(target, {}));
  const origins = originsOf(target);
  const challenge = await challengeAt(http, url, origins);
  const found = await resourceMetadata(http, target, challenge.metadata, origins);
  if (auth.tokenEndpoint !== undefined) {
    const said: Partial<Found> = found.ok ? found.value : {};
    return ok(configuredVendor(target, { ...said, scopes: challenge.scopes ?? said.scopes }));
  }
  if (!found.ok) return found;
  const { issuers, resource, scopes } = found.value;
  const issuer = issuers.find((one) => origins.includes(originOf(one)));
  if (issuer === undefined) return final(notAllowed(target, originOf(issuers[0] ?? '')));
  if (endpointFault(issuer) !== undefined || new URL(issuer).search !== '')
    return final(`server "${target.name}" names its authorization server in a way that no issuer is named`);
  const metadata = await serverMetadata(http, issuer, origins);
  if (!metadata.ok) return metadata;
  const read = vendorOf(metadata.value, issuer, auth.machine);
  if (!read.ok) return final(read.error);
  const { tokenEndpoint, deviceAuthorizationEndpoint, registrationEndpoint } = read.value;
  for (const endpoint of [tokenEndpoint, deviceAuthorizationEndpoint, registrationEndpoint])
    if (endpoint !== undefined && !origins.includes(originOf(endpoint)))
      return final(notAllowed(target, originOf(endpoint)));
  const offers = strings(metadata.value.scopes_supported)?.includes('offline_access') === true;
  const said = { resource, scopes: challenge.scopes ?? scopes };
  return ok(askedOf(read.value, target, said, offers ? ['offline_access'] : []));
}

/** What to ask a vendor for, by what the server says of itself and what is known of the vendor. */
function askedOf(
  vendor: Omit<Vendor, 'resource' | 'scope' | 'parameters'>,
  { auth, url }: CredentialTarget,
  said: Pick<Partial<Found>, 'resource' | 'scopes'>,
  offline: readonly string[],
): Vendor {
  const known = providerAt(vendor.tokenEndpoint);
  const wanted = auth.scopes ?? said.scopes;
  const besides = auth.machine ? [] : [...(known.scopes ?? []), ...(wanted ? offline : [])];
  return {
    ...vendor,
    authMethods: known.authMethods ?? vendor.authMethods,
    resource: known.refusesResource ? undefined : (auth.resource ?? said.resource ?? url),
    scope: unionOf(wanted?.join(' '), besides),
    parameters: known.parameters ?? {},
  };
}

/** Whom Castellan may ask for a server, wherever they lie: its own origin, and those that its operator named. */
export function originsOf({ url, auth }: CredentialTarget): string[] {
  return [new URL(url).origin, ...auth.allowOrigins];
}

const final = (message: string) => refused({ message, passing: false });

/** A vendor whose endpoints stand in the configuration, or in the catalogue of providers. */
function configuredVendor(
  target: CredentialTarget,
  said: Pick<Partial<Found>, 'resource' | 'scopes'>,
): Vendor {
  const { authorizationEndpoint, tokenEndpoint = '', deviceAuthorizationEndpoint } = target.auth;
  const vendor = {
    issuer: originOf(tokenEndpoint),
    // Nobody knows how it calls itself (RFC 7523 section 3).
    audience: tokenEndpoint,
    ...{ authorizationEndpoint, tokenEndpoint, deviceAuthorizationEndpoint },
    registrationEndpoint: undefined,
    revocationEndpoint: undefined,
    readsDocuments: false,
    namesItself: undefined,
    authMethods: undefined,
    signingAlgorithms: undefined,
  };
  return askedOf(vendor, target, said, []);
}

function notAllowed({ name, auth }: CredentialTarget, origin: string): string {
  if (origin === '')
    return `server "${name}" names no authorization server; set provider: custom in its auth`;
  const line = `discovery: true, discoveryAllowlist: [${[...auth.allowOrigins, origin].join(', ')}]`;
  const how = auth.allowOrigins.length === 0 ? 'add to its auth' : 'write in its auth';
  return `server "${name}" signs in at another origin, which nobody allowed: ${how}: ${line}`;
}

/** What the server says to requests without a credential. */
async function challengeAt(http: VendorHttp, url: string, origins: readonly string[]): Promise<Challenge> {
  for (const request of CHALLENGED_BY) {
    const answer = await http.post(url, origins, request);
    if (answer.ok && answer.value.status === 401) return challengeOf(answer.value.challenge);
  }
  return challengeOf(undefined);
}

async function resourceMetadata(
  http: VendorHttp,
  target: CredentialTarget,
  named: string | undefined,
  origins: readonly string[],
): Promise<Result<Found, DiscoveryFault>> {
  const { name, url } = target;
  const { origin, pathname } = new URL(url);
  const wellKnown = `${origin}/.well-known/oauth-protected-resource`;
  const inserted = pathname === '/' ? [] : [`${wellKnown}${pathname.replace(/\/$/, '')}`];
  if (named !== undefined && !origins.includes(originOf(named)))
    return final(notAllowed(target, originOf(named)));
  for (const place of named === undefined ? [...inserted, wellKnown] : [named]) {
    const answer = await http.get(place, origins);
    if (!answer.ok) return refused({ message: `${originOf(place)} ${answer.error}`, passing: true });
    if (answer.value.status !== 200 || !isMapping(answer.value.json)) continue;
    const { resource, authorization_servers, scopes_supported } = answer.value.json;
    if (typeof resource !== 'string' || !isResourceOf(resource, url))
      return final(
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
): Promise<Result<Metadata, DiscoveryFault>> {
  const where = `the authorization server at ${originOf(issuer)}`;
  let broken = false;
  for (const place of metadataPlaces(issuer)) {
    const answer = await http.get(place, origins);
    if (!answer.ok) return refused({ message: `${where} ${answer.error}`, passing: true });
    broken ||= answer.value.status >= 500;
    if (answer.value.status !== 200 || !isMapping(answer.value.json)) continue;
    // RFC 8414 section 3.3: as it was asked for, to the letter.
    if (answer.value.json.issuer !== issuer) return final(`${where} gives itself another name (issuer)`);
    return ok(answer.value.json);
  }
  if (broken) return refused({ message: `${where} is out of order`, passing: true });
  const fix = 'set provider: custom in its auth, with the endpoints of the vendor';
  return final(`${where} describes itself nowhere; ${fix}`);
}

function vendorOf(
  metadata: Metadata,
  issuer: string,
  machine: boolean,
): Result<Omit<Vendor, 'resource' | 'scope' | 'parameters'>, string> {
  const where = `the authorization server at ${originOf(issuer)}`;
  const names = {
    authorizationEndpoint: 'authorization_endpoint',
    tokenEndpoint: 'token_endpoint',
    deviceAuthorizationEndpoint: 'device_authorization_endpoint',
    registrationEndpoint: 'registration_endpoint',
    revocationEndpoint: 'revocation_endpoint',
  } as const;
  const endpoints: Partial<Record<keyof typeof names, string>> = {};
  for (const [own, name] of Object.entries(names) as [keyof typeof names, string][]) {
    const value = metadata[name];
    if (value === undefined || value === null) continue;
    const fault = typeof value === 'string' ? endpointFault(value) : 'is no text';
    if (fault !== undefined)
      return refused(`${where} names, as its ${name}, what nobody is sent to: it ${fault}`);
    if (originOf(String(value)) !== originOf(issuer) && !/^https:/i.test(String(value)))
      return refused(`${where} names, as its ${name}, one without https on another origin`);
    endpoints[own] = String(value);
  }
  if (endpoints.tokenEndpoint === undefined) return refused(`${where} names no token_endpoint`);
  const challenges = strings(metadata.code_challenge_methods_supported) ?? [];
  if (!machine && !challenges.includes('S256')) {
    if (endpoints.deviceAuthorizationEndpoint === undefined)
      return refused(`${where} does not offer PKCE with S256, without which nobody signs in`);
    delete endpoints.authorizationEndpoint;
  }
  return ok({
    issuer,
    audience: issuer,
    authorizationEndpoint: endpoints.authorizationEndpoint,
    tokenEndpoint: endpoints.tokenEndpoint,
    deviceAuthorizationEndpoint: endpoints.deviceAuthorizationEndpoint,
    registrationEndpoint: endpoints.registrationEndpoint,
    revocationEndpoint: endpoints.revocationEndpoint,
    readsDocuments: metadata.client_id_metadata_document_supported === true,
    namesItself: metadata.authorization_response_iss_parameter_supported === true,
    authMethods: strings(metadata.token_endpoint_auth_methods_supported) ?? ['client_secret_basic'],
    signingAlgorithms: strings(metadata.token_endpoint_auth_signing_alg_values_supported),
  });
}

const originOf = (url: string) => URL.parse(url)?.origin ?? '';
const isMapping = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

function strings(value: unknown): string[] | undefined {
  return Array.isArray(value) ? value.filter((one) => typeof one === 'string').slice(0, 100) : undefined;
}
