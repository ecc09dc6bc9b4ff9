import type { Generated } from 'kysely';

/** Owner: identity. */
export interface McpTokensTable {
  id: string;
  /** SHA-256 of the raw token, hex. */
  hash: string;
  /** Prefix and the 8 characters after it, for display. */
  prefix: string;
  name: string;
  project_name: string;
  project_uid: string;
  /** Uid of a User object. */
  owner_id: string;
  /** The token that it was made with. */
  parent_id: string | null;
  /** JSON array of principals, users by uid: whoever acted as the owner when the secret was made. */
  behind: Generated<string>;
  /** JSON array of surfaces. */
  surfaces: string;
  /** `empty` or `clone`. */
  rbac: string;
  /** JSON object. */
  labels: Generated<string>;
  description: string;
  created_at: number;
  expires_at: number | null;
  revoked_at: number | null;
  /** When the name became free for another token; null while this row holds it. */
  released_at: number | null;
  last_used_at: number | null;
}

/** Owner: identity. */
export interface PasswordsTable {
  /** Uid of a User object. */
  user_uid: string;
  /** Argon2id with its parameters, in the PHC string format. */
  hash: string;
  changed_at: number;
}

/** Owner: identity. The one link by which a user may set a password now; it goes when it is used. */
export interface PasswordLinksTable {
  user_uid: string;
  /** SHA-256 of the code in the link, hex. */
  code_hash: string;
  created_at: number;
  expires_at: number;
}

/** Owner: identity. Browsers in which somebody is signed in. */
export interface BrowserSessionsTable {
  /** Names the session without opening it. */
  id: string;
  /** SHA-256 of what the cookie holds, hex. */
  secret_hash: string;
  user_uid: string;
  /** How the person was proven last: `password`, `link` or `sso`. */
  method: string;
  /** Digest of the user's rights when the cookie was last replaced. */
  rights: string;
  address: string;
  /** What the browser says that it is. */
  agent: string;
  created_at: number;
  /** When the person was last proven. */
  proven_at: number;
  seen_at: number;
  expires_at: number;
}

/** Owner: identity. Who is meant when an external provider names somebody. */
export interface ExternalIdentitiesTable {
  issuer: string;
  subject: string;
  user_uid: string;
  linked_at: number;
}

/** Owner: identity. States of sign-ins through an external provider that came back already. */
export interface UsedStatesTable {
  /** SHA-256, hex. */
  state_hash: string;
  expires_at: number;
}

/** Owner: identity. What OAuthClient objects prove themselves with; several while a rotation overlaps. */
export interface OauthClientSecretsTable {
  /** SHA-256 of the raw secret, hex. */
  hash: string;
  /** Uid of an OAuthClient object. */
  client_uid: string;
  /** What may be shown of the secret. */
  prefix: string;
  created_at: number;
  expires_at: number | null;
}

/** Owner: identity. Who last said what an OAuthClient that acts for a user is: that person's rights count, too. */
export interface OauthClientSponsorsTable {
  client_uid: string;
  /** JSON array of `User:` and uid. */
  sponsors: string;
  since: number;
}

/** Owner: oauth. Clients whose id is the address of a document about them, as it was read last. */
export interface OauthClientDocumentsTable {
  client_id: string;
  /** JSON. */
  client: string;
  fetched_at: number;
  fresh_until: number;
}

/** Owner: oauth. Clients that registered themselves. */
export interface OauthDynamicClientsTable {
  client_id: string;
  /** JSON; of a secret its hash alone. */
  client: string;
  created_at: number;
  /** Counts only while nobody consented to it. */
  expires_at: number;
}

/** Owner: oauth. What a user allowed a client; one row for a user, a client and a project. */
export interface OauthGrantsTable {
  id: string;
  user_uid: string;
  client_id: string;
  client_name: string;
  /** Empty: every project, by the scope `api`. */
  project_uid: string;
  /** Words of scopes, in between one space. */
  scopes: string;
  created_at: number;
  updated_at: number;
  /** When a token was last issued under it. */
  last_used_at: number | null;
}

/** Owner: oauth. Codes, tokens, and what leads to them; their ids are kept as hashes alone. */
export interface OauthArtifactsTable {
  /** SHA-256, hex. */
  id_hash: string;
  /** `Grant` is one authorization; the others are what was issued by it, or waits for it. */
  kind: string;
  /** JSON object without its id. */
  payload: string;
  /** `id_hash` of the authorization that it was issued by: without that one it counts for nothing. */
  family: string | null;
  /** Keyed digest of what a person types. */
  user_code: string | null;
  user_uid: string | null;
  client_id: string | null;
  /** As in oauth_grants. */
  project_uid: string | null;
  created_at: number;
  expires_at: number;
  consumed_at: number | null;
  polled_at: number | null;
}
