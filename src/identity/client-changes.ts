/** What changes along with an OAuthClient object: its secrets, and who answers for it. */
import { canonicalJson } from '../base/canonical-json.ts';
import { Refusal } from '../base/errors.ts';
import { type ClientFields, usesSecret } from '../resources/client-fields.ts';
import type { LayerEdit, PlannedChange } from '../resources/layer-edit.ts';
import type { ResourceObject } from '../resources/objects.ts';
import { objectKey } from '../resources/resource-rows.ts';
import type { AuthenticatedCaller } from './caller.ts';
import { firstSecret, forgetSecrets, rotateSecret } from './client-secrets.ts';
import { forgetSponsors, recordSponsors } from './client-sponsors.ts';
import { demandSponsor } from './guards.ts';
import { RightsIndex } from './rights.ts';

/** After a put: the first secret of a client that needs one and has none. */
export async function keepClient(
  edit: LayerEdit,
  { name, existing, wanted }: PlannedChange,
  by: AuthenticatedCaller,
): Promise<string | undefined> {
  const uid = edit.layer.objects.get(objectKey('OAuthClient', name))?.uid;
  if (!wanted || !uid || canonicalJson(existing?.spec ?? null) === canonicalJson(wanted)) return undefined;
  const fields = wanted as ClientFields;
  const now = Date.now();
  await recordSponsors(edit, { uid, user: fields.user }, by, now);
  return usesSecret(fields) ? firstSecret(edit, uid, now) : undefined;
}

/**
 * A new secret; whoever sees it has what the client has.
 * @param client as it is now, or undefined when it is gone
 */
export async function rotateClient(
  edit: LayerEdit,
  client: ResourceObject | undefined,
  by: AuthenticatedCaller,
  overlapMs: number,
): Promise<string> {
  if (!client) throw new Refusal('not_found', 'this oauthclient is gone');
  const { name, uid } = client.metadata;
  const fields = client.spec as ClientFields;
  demandSponsor(by, new RightsIndex(edit.access()), fields);
  if (usesSecret(fields)) return rotateSecret(edit, { uid, name }, overlapMs, Date.now());
  const message = `oauthclient ${name} has no secret: its tokenEndpointAuthMethod is ${fields.tokenEndpointAuthMethod}`;
  throw new Refusal('conflict', message);
}

export async function forgetClient(edit: LayerEdit, uid: string): Promise<void> {
  if (!edit.transaction) return;
  await forgetSecrets(edit.transaction, uid);
  await forgetSponsors(edit.transaction, uid);
}
