import type { Kysely } from 'kysely';
import type { Binding } from '../resources/bindings.ts';
import type { Surface } from '../resources/spec.ts';
import type { McpTokensTable, Schema } from '../store/schema.ts';

export type TokenStatus = 'active' | 'expired' | 'revoked';

/** A token without its secret. Times are milliseconds since 1970. */
export type TokenRecord = {
  id: string;
  name: string;
  project: { name: string; uid: string };
  /** What may be shown of the token: `cst_pat_` and the 8 characters after it. */
  prefix: string;
  /** E-mail of the user it belongs to. */
  owner: string;
  surfaces: Surface[];
  rbac: 'empty' | 'clone';
  bindings: Binding[];
  description: string;
  createdAt: number;
  expiresAt: number | null;
  revokedAt: number | null;
  lastUsedAt: number | null;
  status: TokenStatus;
};

export type TokenRow = Omit<McpTokensTable, 'owner_id'> & { owner: string };

/** Tokens with the e-mail of their owner, as `TokenRow`. */
export function tokenRows(db: Kysely<Schema>) {
  return db
    .selectFrom('mcp_tokens')
    .innerJoin('users', 'users.id', 'mcp_tokens.owner_id')
    .select('users.email as owner')
    .select([
      'mcp_tokens.id',
      'mcp_tokens.hash',
      'mcp_tokens.prefix',
      'mcp_tokens.name',
      'mcp_tokens.project_name',
      'mcp_tokens.project_uid',
      'mcp_tokens.surfaces',
      'mcp_tokens.rbac',
      'mcp_tokens.bindings',
      'mcp_tokens.description',
      'mcp_tokens.created_at',
      'mcp_tokens.expires_at',
      'mcp_tokens.revoked_at',
      'mcp_tokens.released_at',
      'mcp_tokens.last_used_at',
    ]);
}

export function statusOf(row: Pick<TokenRow, 'expires_at' | 'revoked_at'>, now: number): TokenStatus {
  if (row.revoked_at !== null) return 'revoked';
  return row.expires_at !== null && row.expires_at <= now ? 'expired' : 'active';
}

export function surfacesOf(row: Pick<TokenRow, 'surfaces'>): Surface[] {
  return JSON.parse(row.surfaces) as Surface[];
}

/** @param usedAt a use that is not written yet */
export function recordOf(row: TokenRow, now: number, usedAt = 0): TokenRecord {
  return {
    id: row.id,
    name: row.name,
    project: { name: row.project_name, uid: row.project_uid },
    prefix: row.prefix,
    owner: row.owner,
    surfaces: surfacesOf(row),
    rbac: row.rbac === 'clone' ? 'clone' : 'empty',
    bindings: JSON.parse(row.bindings) as Binding[],
    description: row.description,
    createdAt: row.created_at,
    expiresAt: row.expires_at,
    revokedAt: row.revoked_at,
    lastUsedAt: Math.max(row.last_used_at ?? 0, usedAt) || null,
    status: statusOf(row, now),
  };
}
