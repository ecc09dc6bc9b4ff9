import type { Kysely } from 'kysely';
import type { ClientFields } from '../resources/client-fields.ts';
import type { LayerEdit } from '../resources/layer-edit.ts';
import type { Schema } from '../store/schema.ts';
import type { AuthenticatedCaller, Principal } from './caller.ts';
import type { Layer } from './decide.ts';
import { sponsorFault } from './guards.ts';
import type { RightsIndex } from './rights.ts';
import { behindOf, ceilingsBehind } from './token-record.ts';

/** Whether those who answer for the client still may. `sponsors` undefined: a file of the operator does. */
export function mayActForUser(
  index: RightsIndex,
  client: Pick<ClientFields, 'user' | 'autoApprove'>,
  sponsors: readonly Principal[] | undefined,
): boolean {
  if (client.user === undefined || !index.isActive(client.user)) return false;
  if (sponsors === undefined) return true;
  const layers = sponsors.map((principal): Layer => ({ principal, rights: index.of(principal) }));
  const own = sponsors.length === 1 && sponsors[0] === `User:${client.user}`;
  return layers.length > 0 && sponsorFault(layers, index, client, own) === undefined;
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
export async function sponsorsOf(db: Kysely<Schema>, index: RightsIndex, uid: string): Promise<Principal[]> {
  const row = await db
    .selectFrom('oauth_client_sponsors')
    .select('sponsors')
    .where('client_uid', '=', uid)
    .executeTakeFirst();
  return row ? ceilingsBehind(index.access, { behind: row.sponsors }) : [];
}
