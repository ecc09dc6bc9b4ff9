import { ok, type Result, refused } from '../base/result.ts';
import { configuredClient, publicClient, secretClient, type VendorClient } from './client-proof.ts';
import type { CredentialTarget } from './credentials.ts';
import { originsOf, type Vendor } from './discovery.ts';
import type { VendorHttp } from './vendor-http.ts';

/** What Castellan is known by elsewhere. */
export type OwnAddresses = {
  /** Where a browser comes back to after signing in for a server. */
  redirect(server: string): string;
  /** The document that describes Castellan as a client; undefined: it has no https address. */
  document: string | undefined;
  /** Where a browser comes back to, for a client that the document describes. */
  documentRedirect: string;
};

/** Without a public URL browsers of this machine alone arrive; what they come back with is pasted anyway. */
export function ownAddressesAt(publicUrl: string | undefined, port: number): OwnAddresses {
  const base = publicUrl ?? `http://127.0.0.1:${port}`;
  const redirect = (name: string) => `${base}/oauth/callback/${encodeURIComponent(name)}`;
  const document = base.startsWith('https:') ? `${base}/oauth/client-metadata.json` : undefined;
  return { redirect, document, documentRedirect: `${base}/oauth/callback/any` };
}

export type RegisteredClient = { client: VendorClient; redirectUri: string };

export const DEVICE_GRANT = 'urn:ietf:params:oauth:grant-type:device_code';
export const CLIENT_NAME = 'Castellan';

/**
 * Becomes a client of a vendor in the order that 2025-11-25 and 2026-07-28 basic/authorization give: as registered
 * before, by a document, by itself; else it says what somebody has to do.
 */
export async function registeredClient(
  http: VendorHttp,
  target: CredentialTarget,
  vendor: Vendor,
  own: OwnAddresses,
): Promise<Result<RegisteredClient, string>> {
  const { auth, name } = target;
  const redirectUri = auth.redirectUri ?? own.redirect(name);
  if (auth.clientId !== undefined) {
    const client = configuredClient(auth.clientId, auth, vendor);
    return client.ok ? ok({ client: client.value, redirectUri }) : client;
  }
  if (vendor.readsDocuments && auth.clientMetadataUrl !== undefined)
    return ok({ client: publicClient(auth.clientMetadataUrl), redirectUri });
  if (vendor.readsDocuments && own.document !== undefined)
    return ok({ client: publicClient(own.document), redirectUri: own.documentRedirect });
  if (vendor.registrationEndpoint === undefined) {
    const fix = `register Castellan there with the redirect URI ${redirectUri}, and set clientId (and clientSecret) in auth`;
    return refused(`the authorization server ${vendor.issuer} registers nobody by itself: ${fix}`);
  }
  const grants = ['authorization_code', 'refresh_token'];
  if (vendor.deviceAuthorizationEndpoint !== undefined) grants.push(DEVICE_GRANT);
  const method = ['none', 'client_secret_post', 'client_secret_basic'].find((one) =>
    vendor.authMethods?.includes(one),
  );
  const answer = await http.post(vendor.registrationEndpoint, originsOf(target), {
    client_name: CLIENT_NAME,
    redirect_uris: [redirectUri],
    grant_types: grants,
    response_types: ['code'],
    token_endpoint_auth_method: method ?? 'none',
    application_type: /^http:/.test(redirectUri) ? 'native' : 'web',
    ...(vendor.scope !== undefined && { scope: vendor.scope }),
  });
  if (!answer.ok) return refused(`the registration at ${vendor.issuer} ${answer.error}`);
  const { status, json, error } = answer.value;
  const said = (json ?? {}) as Record<string, unknown>;
  if (status >= 300 || typeof said.client_id !== 'string' || said.client_id === '')
    return refused(
      `the authorization server ${vendor.issuer} did not register us (${error ?? `HTTP ${status}`})`,
    );
  const secret = typeof said.client_secret === 'string' ? said.client_secret : undefined;
  const given = said.token_endpoint_auth_method ?? method;
  const methods = typeof given === 'string' ? [given] : vendor.authMethods;
  return ok({ client: secretClient(said.client_id, secret, methods), redirectUri });
}
