import { GRANT_TYPES } from './client-metadata.ts';
import type { ProtectedResource } from './protected-resources.ts';
import { type Scope, scopeOfSurface } from './scopes.ts';

/** Which ways to become a client there are. */
export type RegistrationWays = {
  /** RFC 7591, at `/register`. */
  dynamic: boolean;
  /** A client id is the URL of a document about the client. */
  metadataDocuments: boolean;
};

const AUTH_METHODS = ['client_secret_basic', 'client_secret_post', 'private_key_jwt'];
const SIGNING_ALGORITHMS = ['ES256', 'EdDSA', 'Ed25519', 'PS256', 'RS256'];

/** What a client reads about the authorization server (RFC 8414). */
export function serverMetadata(issuer: string, ways: RegistrationWays) {
  return {
    issuer,
    authorization_endpoint: `${issuer}/authorize`,
    token_endpoint: `${issuer}/token`,
    ...(ways.dynamic && { registration_endpoint: `${issuer}/register` }),
    revocation_endpoint: `${issuer}/revoke`,
    introspection_endpoint: `${issuer}/introspect`,
    device_authorization_endpoint: `${issuer}/device_authorization`,
    jwks_uri: `${issuer}/jwks`,
    response_types_supported: ['code'],
    response_modes_supported: ['query'],
    grant_types_supported: GRANT_TYPES,
    scopes_supported: ['mcp', 'mcp:operator', 'api'] satisfies Scope[],
    code_challenge_methods_supported: ['S256'],
    token_endpoint_auth_methods_supported: ['none', ...AUTH_METHODS],
    token_endpoint_auth_signing_alg_values_supported: SIGNING_ALGORITHMS,
    revocation_endpoint_auth_methods_supported: ['none', ...AUTH_METHODS],
    revocation_endpoint_auth_signing_alg_values_supported: SIGNING_ALGORITHMS,
    introspection_endpoint_auth_methods_supported: AUTH_METHODS,
    introspection_endpoint_auth_signing_alg_values_supported: SIGNING_ALGORITHMS,
    authorization_response_iss_parameter_supported: true,
    ...(ways.metadataDocuments && { client_id_metadata_document_supported: true }),
  };
}

const METADATA_PATH = '/.well-known/oauth-protected-resource';

/** Where the metadata of the resource at a path is: the well-known part stands before the path (RFC 9728 section 3.1). */
export function resourceMetadataUrl(issuer: string, path: string): string {
  return `${issuer}${METADATA_PATH}${path}`;
}

/** What a client reads about a resource (RFC 9728). */
export function resourceMetadata(issuer: string, path: string, resource: ProtectedResource) {
  return {
    resource: `${issuer}${path}`,
    authorization_servers: [issuer],
    scopes_supported: scopesOf(resource),
    bearer_methods_supported: ['header'],
    resource_name: resource.api ? 'Castellan' : `${resource.project} on Castellan`,
  };
}

function scopesOf(resource: ProtectedResource): Scope[] {
  return [resource.api ? 'api' : scopeOfSurface(resource.surface)];
}

/** How a request without a credential, or with one that is not enough, is told where to get one (RFC 6750 section 3). */
export function challenge(
  metadataUrl: string | undefined,
  scope: Scope,
  error?: 'invalid_token' | 'insufficient_scope',
): string {
  const parts = ['realm="castellan"'];
  if (error !== undefined) parts.push(`error="${error}"`);
  if (metadataUrl !== undefined) parts.push(`scope="${scope}"`, `resource_metadata="${metadataUrl}"`);
  return `Bearer ${parts.join(', ')}`;
}
