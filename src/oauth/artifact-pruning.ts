import type { Kysely } from 'kysely';
import type { Schema } from '../store/schema.ts';

const AT_ONCE = 1_000;
/** Requests that wait for a person, whom anybody can make wait: the oldest give way. */
const MAX_WAITING = 10_000;
export const WAITING = ['Interaction', 'DeviceCode'];
/** Access tokens of one authorization, or of one client by itself, and refresh tokens whose replay is noticed. */
const MAX_OF_ONE = 200;
/** By then an authorization has issued something, or nobody came for it. */
const UNUSED_MS = 3_600_000;

/** Keeps what is issued and asked for in bounds: what has expired goes, and the oldest of what one party has too many. */
export async function pruneArtifacts(db: Kysely<Schema>, now: number): Promise<void> {
  await pruneExpired(db, now);
  for (const kind of WAITING) await keepNewest(db, kind, MAX_WAITING);
  for (const kind of ['AccessToken', 'RefreshToken']) await keepNewestOfEach(db, kind, 'family');
  await keepNewestOfEach(db, 'ClientCredentials', 'client_id');
  await pruneUnused(db, now);
}

async function pruneExpired(db: Kysely<Schema>, now: number): Promise<void> {
  for (;;) {
    const expired = db
      .selectFrom('oauth_artifacts')
      .select('id_hash')
      .where('expires_at', '<', now)
      .limit(AT_ONCE);
    const { numDeletedRows } = await db
      .deleteFrom('oauth_artifacts')
      .where('id_hash', 'in', expired)
      .executeTakeFirst();
    if (numDeletedRows < AT_ONCE) return;
  }
}

async function keepNewestOfEach(
  db: Kysely<Schema>,
  kind: string,
  party: 'family' | 'client_id',
): Promise<void> {
  const crowded = await db
    .selectFrom('oauth_artifacts')
    .select(party)
    .where('kind', '=', kind)
    .where(party, 'is not', null)
    .groupBy(party)
    .having((of) => of(of.fn.countAll<number>(), '>', MAX_OF_ONE))
    .limit(AT_ONCE)
    .execute();
  for (const row of crowded) await keepNewest(db, kind, MAX_OF_ONE, { column: party, value: row[party]! });
}

/** A refresh token that was not used yet is never too old. */
async function keepNewest(
  db: Kysely<Schema>,
  kind: string,
  count: number,
  of?: { column: 'family' | 'client_id'; value: string },
): Promise<void> {
  let all = db.selectFrom('oauth_artifacts').select('created_at').where('kind', '=', kind);
  let gone = db.deleteFrom('oauth_artifacts').where('kind', '=', kind);
  if (of) {
    all = all.where(of.column, '=', of.value);
    gone = gone.where(of.column, '=', of.value);
  }
  if (kind === 'RefreshToken') gone = gone.where('consumed_at', 'is not', null);
  const first = await all.orderBy('created_at', 'desc').offset(count).limit(1).executeTakeFirst();
  if (first) await gone.where('created_at', '<=', first.created_at).execute();
}

/** Authorizations under which nothing lives any more. */
async function pruneUnused(db: Kysely<Schema>, now: number): Promise<void> {
  await db
    .deleteFrom('oauth_artifacts')
    .where('kind', '=', 'Grant')
    .where('created_at', '<', now - UNUSED_MS)
    .where(({ not, exists, selectFrom }) =>
      not(
        exists(
          selectFrom('oauth_artifacts as issued')
            .select('issued.id_hash')
            .whereRef('issued.family', '=', 'oauth_artifacts.id_hash'),
        ),
      ),
    )
    .execute();
}
