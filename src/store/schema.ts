/**
 * The tables as the code sees them; the same columns in SQLite and PostgreSQL. Times are milliseconds since 1970
 * (UTC). JSON is kept as text. Each table's owner is the folder that names it.
 */
export interface Schema {
  meta: MetaTable;
  users: UsersTable;
  mcp_tokens: McpTokensTable;
  resources: ResourcesTable;
  sessions: SessionsTable;
}

/** Facts about this database itself. */
export interface MetaTable {
  key: string;
  value: string;
}

/** Owner: identity. */
export interface UsersTable {
  id: string;
  /** What a principal `User:<email>` names; `admin` for the local administrator. */
  email: string;
  name: string;
  created_at: number;
}

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
  owner_id: string;
  /** JSON array of surfaces. */
  surfaces: string;
  /** `empty` or `clone`. */
  rbac: string;
  /** JSON array of bindings. */
  bindings: string;
  description: string;
  created_at: number;
  expires_at: number | null;
  revoked_at: number | null;
  /** When the name became free for another token; null while this row holds it. */
  released_at: number | null;
  last_used_at: number | null;
}

/** Owner: resources. */
export interface ResourcesTable {
  kind: string;
  name: string;
  uid: string;
  /** The spec as written, JSON. */
  spec: string;
  resource_version: number;
  created_at: number;
  updated_at: number;
}

/** Owner: gateway. Legacy sessions; the id itself is sealed state that the client holds. */
export interface SessionsTable {
  /** SHA-256 of the session id, hex. */
  id_hash: string;
  created_at: number;
  expires_at: number;
  ended_at: number | null;
  log_level: string | null;
  /** JSON array of resource URIs. */
  subscriptions: string;
}
