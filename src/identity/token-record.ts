import type { Kysely, Selectable } from 'kysely';
import type { Binding } from '../resources/bindings.ts';
import type { Labels } from '../resources/labels.ts';
import type { Access, Surface, UserEntry } from '../resources/spec.ts';
import type { Schema } from '../store/schema.ts';
import type { McpTokensTable } from '../store/schema-people.ts';
import type { AuthenticatedCaller, Principal } from './caller.ts';

export type TokenStatus = 'active' | 'expired' | 'revoked';

/** A token without its secret. Times are milliseconds since 1970. */
export type TokenRecord = {
  id: string;
  name: string;
  project: { name: string; uid: string };
  /** SHA-256 of the raw token: what names it as a subject. */
  hash: string;
  /** What may be shown of the token: `cst_pat_` and the 8 characters after it. */
  prefix: string;
  /** E-mail of the user it belongs to; undefined when that user is gone. */
  owner: string | undefined;
  /** The token that it was made with. */
  parentId: string | null;
  surfaces: Surface[];
  rbac: 'empty' | 'clone';
  /** What Rbac objects grant it now. */
  bindings: Binding[];
  description: string;
  labels: Labels;
  createdAt: number;
  expiresAt: number | null;
  revokedAt: number | null;
  lastUsedAt: number | null;
  status: TokenStatus;
};

export type TokenRow = Selectable<McpTokensTable>;

export function tokenRows(db: Kysely<Schema>) {
  return db.selectFrom('mcp_tokens').selectAll();
}

export function statusOf(row: Pick<TokenRow, 'expires_at' | 'revoked_at'>, now: number): TokenStatus {
  if (row.revoked_at !== null) return 'revoked';
  return row.expires_at !== null && row.expires_at <= now ? 'expired' : 'active';
}

export function surfacesOf(row: Pick<TokenRow, 'surfaces'>): Surface[] {
  return JSON.parse(row.surfaces) as Surface[];
}

/** The user behind a uid; a later user of the same name is another one. */
export function userOfUid(access: Access, uid: string): UserEntry | undefined {
  for (const user of access.users.values()) if (user.uid === uid) return user;
  return undefined;
}

/**
 * What bounds a token beside its owner and the tokens that it was made with: whoever acts as the owner while its secret
 * is made, as the row keeps it. Users are kept by uid, for a later namesake is somebody else.
 */
export function behindOf(access: Access, by: AuthenticatedCaller, owner: string | undefined): string {
  const others = [by.principal, ...by.ceilings].filter(
    (principal) => principal !== `User:${owner}` && !principal.startsWith('McpToken:'),
  );
  return JSON.stringify(
    others.map((principal) => {
      const uid = access.users.get(principal.slice('User:'.length))?.uid;
      return principal.startsWith('User:') ? `User:${uid}` : principal;
    }),
  );
}

/** The same as principals of now; a user who is gone has no rights. */
export function ceilingsBehind(access: Access, { behind }: Pick<TokenRow, 'behind'>): Principal[] {
  return (JSON.parse(behind) as Principal[]).map((principal): Principal => {
    const user = userOfUid(access, principal.slice('User:'.length));
    return user && principal.startsWith('User:') ? `User:${user.name}` : principal;
  });
}

/** Name of the Rbac object that a token is made with. */
export function rbacNameOf(hash: string): string {
  return `mcptoken-${hash.slice(0, 24)}`;
}

/** @param usedAt a use that is not written yet */
export function recordOf(
  row: TokenRow,
  now: number,
  usedAt: number,
  owner: string | undefined,
  bindings: Binding[],
): TokenRecord {
  return {
    id: row.id,
    name: row.name,
    project: { name: row.project_name, uid: row.project_uid },
    hash: row.hash,
    prefix: row.prefix,
    owner,
    parentId: row.parent_id,
    surfaces: surfacesOf(row),
    rbac: row.rbac === 'clone' ? 'clone' : 'empty',
    bindings,
    description: row.description,
    labels: JSON.parse(row.labels) as Labels,
    createdAt: row.created_at,
    expiresAt: row.expires_at,
    revokedAt: row.revoked_at,
    lastUsedAt: Math.max(row.last_used_at ?? 0, usedAt) || null,
    status: statusOf(row, now),
  };
}
