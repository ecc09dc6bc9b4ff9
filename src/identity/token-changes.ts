/** Changes of tokens, each with its Rbac objects in one transaction, alone among all changes of objects. */
import type { Kysely } from 'kysely';
import type { AuditChange, AuditEventName } from '../audit/event.ts';
import { Refusal } from '../base/errors.ts';
import { displayedPart, mintCredential, newId, sha256Hex } from '../base/ids.ts';
import type { RbacFields } from '../resources/access-fields.ts';
import { bindingText } from '../resources/bindings.ts';
import type { LayerEdit } from '../resources/layer-edit.ts';
import type { Subject } from '../resources/spec.ts';
import type { Schema } from '../store/schema.ts';
import type { AuthenticatedCaller } from './caller.ts';
import { demand, firstBeyond, lacks } from './guards.ts';
import { grantedBindings, type NewToken, nameTaken } from './new-token.ts';
import { RightsIndex } from './rights.ts';
import { behindOf, rbacNameOf, statusOf, type TokenRow, tokenRows, userOfUid } from './token-record.ts';

/** How many tokens deep one may be made with another. */
export const MAX_GENERATIONS = 8;

/** A new token, its secret, and the tokens that ended for it. */
export type Made = { row: TokenRow; raw: string; ended: TokenRow[] };

export async function insertToken(edit: LayerEdit, wanted: NewToken, now: number): Promise<Made> {
  const db = transactionOf(edit);
  const index = new RightsIndex(edit.access());
  const { creator } = wanted;
  const owner = index.access.users.get(creator.owner);
  if (!owner || owner.disabled)
    throw new Refusal('invalid', `owner: there is no active user ${creator.owner}`);
  const roleBindings = grantedBindings(wanted, index.layersOf(creator));
  const parent = creator.tokenId === undefined ? undefined : await activeParent(db, creator.tokenId, now);
  const held = await tokenRows(db)
    .where('project_uid', '=', wanted.project.uid)
    .where('name', '=', wanted.name)
    .where('released_at', 'is', null)
    .execute();
  const active = held.filter((row) => statusOf(row, now) === 'active');
  if (active.length > 0 && !wanted.force) throw nameTaken(wanted);
  if (active.length > 0) {
    const may = {
      role: 'delete',
      resource: 'mcptokens',
      name: wanted.name,
      project: wanted.project.name,
    } as const;
    demand(index.layersOf(creator), may, ', which replacing a token needs');
  }
  const ended = await revokeTokens(edit, active, now);
  for (const row of held) await release(db, row.id, now);
  const raw = mintCredential('pat');
  const row: TokenRow = {
    id: newId('mct'),
    hash: sha256Hex(raw),
    prefix: displayedPart(raw),
    name: wanted.name,
    project_name: wanted.project.name,
    project_uid: wanted.project.uid,
    owner_id: owner.uid,
    parent_id: parent?.id ?? null,
    behind: behindOf(index.access, creator, owner.name),
    surfaces: JSON.stringify([...new Set(wanted.surfaces)].sort()),
    rbac: wanted.rbac,
    labels: JSON.stringify(wanted.labels ?? {}),
    description: wanted.description ?? '',
    created_at: now,
    // A token ends with the one that it was made with.
    expires_at: earlier(wanted.expiresAt, parent?.expires_at ?? null),
    revoked_at: null,
    released_at: null,
    last_used_at: null,
  };
  await db.insertInto('mcp_tokens').values(row).execute();
  await putRbac(edit, row, roleBindings);
  const { surfaces, rbac } = wanted;
  edit.tell(
    tokenChange('token.created', row, { surfaces, rbac, expiresAt: row.expires_at, parent: row.parent_id }),
  );
  return { row, raw, ended };
}

/** The same token with a new secret. The old secret works until `overlapMs` from now, or its own expiry. */
export async function rotateToken(
  edit: LayerEdit,
  old: TokenRow,
  by: AuthenticatedCaller,
  overlapMs: number,
  now: number,
): Promise<Made> {
  const db = transactionOf(edit);
  if (statusOf(old, now) !== 'active' || old.released_at !== null)
    throw new Refusal('conflict', `token ${old.name} is not active any more: create a new one`);
  const access = edit.access();
  const index = new RightsIndex(access);
  demandSecret(index, old, by);
  const raw = mintCredential('pat');
  const row: TokenRow = {
    ...old,
    id: newId('mct'),
    hash: sha256Hex(raw),
    prefix: displayedPart(raw),
    behind: behindOf(access, by, userOfUid(access, old.owner_id)?.name),
    created_at: now,
  };
  const overlapping = overlapMs > 0;
  const until = overlapping ? earlier(old.expires_at, now + overlapMs) : old.expires_at;
  await db
    .updateTable('mcp_tokens')
    .set({ released_at: now, expires_at: until, ...(overlapping ? {} : { revoked_at: now }) })
    .where('id', '=', old.id)
    .execute();
  await db
    .insertInto('mcp_tokens')
    .values({ ...row, last_used_at: null })
    .execute();
  await db.updateTable('mcp_tokens').set({ parent_id: row.id }).where('parent_id', '=', old.id).execute();
  const made = access.rbacs.get(rbacNameOf(old.hash));
  await putRbac(edit, row, made ? [...made.bindings] : []);
  await addBeside(edit, old.hash, row.hash);
  edit.tell(tokenChange('token.rotated', row, { before: old.id, expiresAt: until }));
  return { row, raw, ended: overlapping ? [] : [old] };
}

/**
 * Whoever sees the secret of a token has its rights, and acts as its owner with them.
 * @throws Refusal `forbidden` naming the right that is missing
 */
function demandSecret(index: RightsIndex, { name, hash, ...row }: TokenRow, by: AuthenticatedCaller): void {
  const layers = index.layersOf(by);
  const ofOwner = userOfUid(index.access, row.owner_id)?.name === by.owner;
  // A token has those that were made with it, which end with it, and no other of its user's.
  const own = ofOwner && (by.tokenId === undefined || [row.id, row.parent_id].includes(by.tokenId));
  if (!own) demand(layers, { action: 'impersonate' }, `, which the secret of another's token needs`);
  // Whoever acts as the owner is not the owner.
  if (own && by.tokenId === undefined && by.ceilings.length === 0) return;
  const bindings = index.granted(`McpToken:${hash}`).map((right) => right.binding);
  const above = firstBeyond(layers, bindings);
  if (above) throw lacks(bindingText(above), ` yourself, which token ${name} has`);
}

/** Ends tokens and all that were made with them; their rows stay. */
export async function revokeTokens(
  edit: LayerEdit,
  rows: readonly TokenRow[],
  now: number,
): Promise<TokenRow[]> {
  const db = transactionOf(edit);
  const ended = await withDescendants(db, rows);
  for (const row of ended) {
    const { numUpdatedRows } = await db
      .updateTable('mcp_tokens')
      .set((set) => ({ revoked_at: now, released_at: set.fn.coalesce('released_at', set.val(now)) }))
      .where('id', '=', row.id)
      .where('revoked_at', 'is', null)
      .executeTakeFirstOrThrow();
    if (Number(numUpdatedRows) === 1) edit.tell(tokenChange('token.revoked', row));
  }
  return ended;
}

/** Removes tokens and what was granted to them; those made with them are revoked. */
export async function deleteTokens(
  edit: LayerEdit,
  rows: readonly TokenRow[],
  now: number,
): Promise<TokenRow[]> {
  const db = transactionOf(edit);
  const ended = await revokeTokens(edit, rows, now);
  for (const row of rows) {
    await db.deleteFrom('mcp_tokens').where('id', '=', row.id).execute();
    const name = rbacNameOf(row.hash);
    if (edit.has('Rbac', name)) await edit.remove('Rbac', name);
    await edit.forget({ kind: 'McpToken', name: row.hash });
    edit.tell(tokenChange('token.deleted', row));
  }
  return ended;
}

/** A token is named by what may be shown of it. */
function tokenChange(event: AuditEventName, row: TokenRow, more: Record<string, unknown> = {}): AuditChange {
  const { id, prefix, name, project_name: project } = row;
  return { event, outcome: 'ok', target: `McpToken/${name}`, project, detail: { id, prefix, ...more } };
}

async function activeParent(db: Kysely<Schema>, id: string, now: number): Promise<TokenRow> {
  const parent = await tokenRows(db).where('id', '=', id).executeTakeFirst();
  if (!parent || statusOf(parent, now) !== 'active')
    throw new Refusal('forbidden', 'this token is not active any more');
  let generation = 1;
  for (let above: TokenRow | undefined = parent; above?.parent_id; generation += 1) {
    if (generation >= MAX_GENERATIONS)
      throw new Refusal('forbidden', `tokens are made with tokens at most ${MAX_GENERATIONS} deep`);
    above = await tokenRows(db).where('id', '=', above.parent_id).executeTakeFirst();
  }
  return parent;
}

async function withDescendants(db: Kysely<Schema>, rows: readonly TokenRow[]): Promise<TokenRow[]> {
  const all = new Map(rows.map((row) => [row.id, row]));
  let parents = rows.map((row) => row.id);
  while (parents.length > 0) {
    const children: TokenRow[] = [];
    for (const id of parents) children.push(...(await tokenRows(db).where('parent_id', '=', id).execute()));
    parents = children.filter((row) => !all.has(row.id)).map((row) => row.id);
    for (const row of children) all.set(row.id, row);
  }
  return [...all.values()];
}

async function release(db: Kysely<Schema>, id: string, now: number): Promise<void> {
  await db
    .updateTable('mcp_tokens')
    .set({ released_at: now })
    .where('id', '=', id)
    .where('released_at', 'is', null)
    .execute();
}

async function putRbac(
  edit: LayerEdit,
  row: TokenRow,
  roleBindings: RbacFields['roleBindings'],
): Promise<void> {
  await edit.put({
    kind: 'Rbac',
    name: rbacNameOf(row.hash),
    spec: {
      description: `token ${row.name} of project ${row.project_name}`,
      subjects: [{ kind: 'McpToken', name: row.hash }],
      roleBindings: roleBindings ?? [],
    },
  });
}

/** Whatever else names the old secret as a subject names the new one too. */
async function addBeside(edit: LayerEdit, old: string, added: string): Promise<void> {
  for (const object of [...edit.layer.objects.values()]) {
    if (object.kind !== 'Rbac' || object.name === rbacNameOf(old)) continue;
    const { subjects = [], ...rest } = (object.spec ?? {}) as RbacFields;
    if (!subjects.some((one) => one.kind === 'McpToken' && one.name === old)) continue;
    const more: Subject[] = [...subjects, { kind: 'McpToken', name: added }];
    await edit.put({ kind: 'Rbac', name: object.name, spec: { ...rest, subjects: more } });
  }
}

function earlier(one: number | null, other: number | null): number | null {
  if (one === null || other === null) return one ?? other;
  return Math.min(one, other);
}

function transactionOf(edit: LayerEdit): Kysely<Schema> {
  if (!edit.transaction) throw new Error('tokens are not changed in a trial');
  return edit.transaction;
}
