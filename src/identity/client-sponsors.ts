import type { Kysely } from 'kysely';
import type { ClientFields } from '../resources/client-fields.ts';
import type { LayerEdit } from '../resources/layer-edit.ts';
import type { ResourceObject } from '../resources/objects.ts';
import type { Schema } from '../store/schema.ts';
import type { AuthenticatedCaller, Principal } from './caller.ts';
import type { Layer } from './decide.ts';
import { sponsorFault } from './guards.ts';
import type { RightsIndex } from './rights.ts';
import { behindOf, ceilingsBehind } from './token-record.ts';

/** Whether a client acts for its user now. */
export async function actsForUser(
  db: Kysely<Schema>,
  index: RightsIndex,
  client: ResourceObject,
): Promise<boolean> {
  return (await answering(db, index, client)) !== undefined;
}

/** Those who answer for a client and still may; none for one of a file, for the operator does. Undefined: nobody. */
export async function answering(
  db: Kysely<Schema>,
  index: RightsIndex,
  { metadata, spec }: ResourceObject,
): Promise<readonly Principal[] | undefined> {
  const client = spec as ClientFields;
  if (client.user === undefined || !index.isActive(client.user)) return undefined;
  if (metadata.managedBy.startsWith('file:')) return [];
  const sponsors = await sponsorsOf(db, index, metadata.uid);
  const layers = sponsors.map((principal): Layer => ({ principal, rights: index.of(principal) }));
  const own = sponsors.length === 1 && sponsors[0] === `User:${client.user}`;
  const fault = layers.length === 0 || sponsorFault(layers, index, client, own) !== undefined;
  return fault ? undefined : sponsors;
}

/** Remembers who made the client what it is now; nobody has to answer for one that acts for no user. */
export async function recordSponsors(
  edit: LayerEdit,
  client: { uid: string; user: string | undefined },
  by: AuthenticatedCaller,
  now: number,
): Promise<void> {
  if (!edit.transaction) return;
  await forgetSponsors(edit.transaction, client.uid);
  if (client.user === undefined) return;
  const sponsors = behindOf(edit.access(), by, undefined);
  await edit.transaction
    .insertInto('oauth_client_sponsors')
    .values({ client_uid: client.uid, sponsors, since: now })
    .execute();
}

export async function forgetSponsors(db: Kysely<Schema>, uid: string): Promise<void> {
  await db.deleteFrom('oauth_client_sponsors').where('client_uid', '=', uid).execute();
}

/** Those who answer for a client now; none for one that nobody does. */
async function sponsorsOf(db: Kysely<Schema>, index: RightsIndex, uid: string): Promise<Principal[]> {
  const row = await db
    .selectFrom('oauth_client_sponsors')
    .select('sponsors')
    .where('client_uid', '=', uid)
    .executeTakeFirst();
  return row ? ceilingsBehind(index.access, { behind: row.sponsors }) : [];
}
