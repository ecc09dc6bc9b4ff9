/** The secrets of OAuthClient objects: made by us, shown once, kept as hashes. */
import type { Kysely } from 'kysely';
import { displayedPart, mintCredential, sha256Hex } from '../base/ids.ts';
import type { LayerEdit } from '../resources/layer-edit.ts';
import type { Schema } from '../store/schema.ts';
import type { OauthClientSecretsTable } from '../store/schema-people.ts';

/** How many secrets a client has at once, while rotations overlap. */
const MAX_OVERLAPPING = 5;

/** Those that work now, newest first. */
export async function clientSecrets(
  db: Kysely<Schema>,
  uid: string,
  now: number,
): Promise<OauthClientSecretsTable[]> {
  return db
    .selectFrom('oauth_client_secrets')
    .selectAll()
    .where('client_uid', '=', uid)
    .where((where) => where.or([where('expires_at', 'is', null), where('expires_at', '>', now)]))
    .orderBy('created_at', 'desc')
    .orderBy('hash')
    .execute();
}

/** Gives a client that has no secret its first one. Undefined when it has one already. */
export async function firstSecret(edit: LayerEdit, uid: string, now: number): Promise<string | undefined> {
  const db = edit.transaction;
  if (!db || (await clientSecrets(db, uid, now)).length > 0) return undefined;
  return (await insertSecret(db, uid, now)).raw;
}

/** A new secret; those of now go on for `overlapMs`, or until they would have ended anyway. */
export async function rotateSecret(
  edit: LayerEdit,
  { uid, name }: { uid: string; name: string },
  overlapMs: number,
  now: number,
): Promise<string> {
  const db = edit.transaction;
  if (!db) throw new Error('a secret is not rotated in a trial');
  const until = now + overlapMs;
  const kept = overlapMs > 0 ? (await clientSecrets(db, uid, now)).slice(0, MAX_OVERLAPPING - 1) : [];
  await forgetSecrets(db, uid);
  for (const row of kept) {
    const expires_at = Math.min(row.expires_at ?? until, until);
    await db
      .insertInto('oauth_client_secrets')
      .values({ ...row, expires_at })
      .execute();
  }
  const { raw, prefix } = await insertSecret(db, uid, now);
  const detail = { uid, prefix, overlapping: kept.length, until: kept.length > 0 ? until : null };
  edit.tell({ event: 'client.rotated', outcome: 'ok', target: `OAuthClient/${name}`, detail });
  return raw;
}

export async function forgetSecrets(db: Kysely<Schema>, uid: string): Promise<void> {
  await db.deleteFrom('oauth_client_secrets').where('client_uid', '=', uid).execute();
}

async function insertSecret(db: Kysely<Schema>, uid: string, now: number) {
  const raw = mintCredential('cs');
  const row = {
    hash: sha256Hex(raw),
    client_uid: uid,
    prefix: displayedPart(raw),
    created_at: now,
    expires_at: null,
  };
  await db.insertInto('oauth_client_secrets').values(row).execute();
  return { raw, prefix: row.prefix };
}
