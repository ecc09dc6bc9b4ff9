import { hash, timingSafeEqual } from 'node:crypto';
import type { ClientMetadata } from 'oidc-provider';
import { DEVICE_GRANT } from './built-in-clients.ts';
import type { ClientRecord } from './clients.ts';

/** The grants there are; a client that names others has these of them. */
export const GRANT_TYPES = ['authorization_code', 'refresh_token', 'client_credentials', DEVICE_GRANT];

/** The provider wants a secret in plain where it compares one; nothing compares this. */
const NO_SECRET = 'kept as a hash';

/** The record as the provider reads it, with the record itself for our own part. */
export function clientMetadata(record: ClientRecord): ClientMetadata & { record: ClientRecord } {
  const { tokenEndpointAuthMethod: method, redirectUris } = record;
  const grantTypes = record.grantTypes.filter((type) => GRANT_TYPES.includes(type));
  return {
    client_id: record.clientId,
    client_name: record.name,
    redirect_uris: [...redirectUris],
    grant_types: grantTypes as NonNullable<ClientMetadata['grant_types']>,
    response_types: grantTypes.includes('authorization_code') ? ['code'] : [],
    token_endpoint_auth_method: method,
    application_type: record.applicationType ?? (redirectUris.some(isNative) ? 'native' : 'web'),
    ...(method.startsWith('client_secret') && { client_secret: NO_SECRET }),
    ...(record.jwks && { jwks: record.jwks as unknown as NonNullable<ClientMetadata['jwks']> }),
    record,
  };
}

/** A redirect to this machine, or to a scheme of the client's own. */
function isNative(uri: string): boolean {
  const url = URL.parse(uri);
  return url?.protocol === 'http:' ? isLoopbackHost(url.hostname) : url?.protocol !== 'https:';
}

export function isLoopbackHost(hostname: string): boolean {
  return ['localhost', '127.0.0.1', '[::1]'].includes(hostname);
}

/** Whether a client presents one of its secrets; each is compared in constant time. */
export function isSecretOf({ secretHashes = [] }: ClientRecord, presented: string, now: number): boolean {
  const digest = hash('sha256', presented, 'buffer');
  return secretHashes.some(
    ({ hash: kept, expiresAt }) =>
      (expiresAt === undefined || expiresAt > now) && timingSafeEqual(Buffer.from(kept, 'hex'), digest),
  );
}

/**
 * Any program on the user's machine can claim to be it: nothing proves the client, and neither does the place that it is
 * sent to (OAuth 2.1 section 7.3.1). Its id may be in every link that somebody opens.
 */
export function canBeClaimed({ tokenEndpointAuthMethod }: ClientRecord, redirectUri: string): boolean {
  return tokenEndpointAuthMethod === 'none' && isNative(redirectUri);
}
