import { messageOf } from '../base/errors.ts';
import { newId, sha256Hex } from '../base/ids.ts';
import type { Logger } from '../base/logger.ts';
import type { Store } from '../store/database.ts';
import { pruneArtifacts, WAITING } from './artifact-pruning.ts';

/** A parallel or repeated refresh within this time is answered as the first was, ms. */
const GRACE_MS = 30_000;
const PRUNE_EVERY_MS = 600_000;
const LOOK_EVERY_WAITING = 1_000;

export type Payload = Record<string, unknown>;

/** Whom something was issued to and for; what is not known is null. */
export type Party = { userUid: string | null; clientId: string | null; projectUid: string | null };

export type NewArtifact = {
  payload: Payload;
  /** Id of the authorization that it belongs to. */
  grantId: string | undefined;
  userCode: string | undefined;
  party: Party;
  expiresInMs: number;
};

export type Artifact = { payload: Payload; consumedAt: number | undefined; projectUid: string | null };

/** Which of several consumptions of one thing this was. */
export type Consumption = 'first' | 'parallel' | 'repeated';

/**
 * Codes, tokens and requests of the authorization server. Only hashes of ids are kept. What was issued by an
 * authorization counts while its row (`Grant`) is there: deleting that one row ends all of it at once, also what
 * another process is issuing meanwhile.
 */
export class Artifacts {
  readonly #store: Pick<Store, 'db' | 'keys'>;
  readonly #logger: Logger;
  readonly #now: () => number;
  readonly #timer: NodeJS.Timeout;
  readonly #listeners = new Set<() => void>();
  #made = 0;
  #pruning: Promise<void> | undefined;

  constructor(store: Pick<Store, 'db' | 'keys'>, logger: Logger, now: () => number = Date.now) {
    this.#store = store;
    this.#logger = logger;
    this.#now = now;
    this.#timer = setInterval(() => void this.prune(), PRUNE_EVERY_MS);
    this.#timer.unref();
  }

  /** Writes it, or writes it anew; a refresh token is never written twice. */
  async put(kind: string, id: string, made: NewArtifact): Promise<void> {
    const now = this.#now();
    const changing = { payload: JSON.stringify(made.payload), expires_at: now + made.expiresInMs };
    await this.#store.db
      .insertInto('oauth_artifacts')
      .values({
        id_hash: sha256Hex(id),
        kind,
        ...changing,
        family: made.grantId === undefined ? null : sha256Hex(made.grantId),
        user_code: made.userCode === undefined ? null : this.#userCodeDigest(made.userCode),
        user_uid: made.party.userUid,
        client_id: made.party.clientId,
        project_uid: made.party.projectUid,
        created_at: now,
      })
      .onConflict((conflict) =>
        kind === 'RefreshToken'
          ? conflict.column('id_hash').doNothing()
          : conflict.column('id_hash').doUpdateSet(changing),
      )
      .execute();
    this.#made += WAITING.includes(kind) ? 1 : 0;
    if (this.#made >= LOOK_EVERY_WAITING) void this.prune();
  }

  /** Also what has expired, until it is pruned. A refresh token counts as consumed once its grace is over. */
  async find(kind: string, id: string): Promise<Artifact | undefined> {
    const row = await this.#store.db
      .selectFrom('oauth_artifacts')
      .select(['payload', 'consumed_at', 'project_uid'])
      .where('id_hash', '=', sha256Hex(id))
      .where('kind', '=', kind)
      .executeTakeFirst();
    if (!row) return undefined;
    const consumed = row.consumed_at !== null && !this.#isInGrace(kind, row.consumed_at);
    return {
      payload: JSON.parse(row.payload) as Payload,
      consumedAt: consumed ? row.consumed_at! : undefined,
      projectUid: row.project_uid,
    };
  }

  /** One statement decides who is first. A refresh token may be consumed in parallel for a short while. */
  async consume(kind: string, id: string): Promise<Consumption> {
    const hash = sha256Hex(id);
    const { numUpdatedRows } = await this.#store.db
      .updateTable('oauth_artifacts')
      .set({ consumed_at: this.#now() })
      .where('id_hash', '=', hash)
      .where('kind', '=', kind)
      .where('consumed_at', 'is', null)
      .executeTakeFirst();
    if (numUpdatedRows > 0n) return 'first';
    const found = await this.find(kind, id);
    return found && found.consumedAt === undefined ? 'parallel' : 'repeated';
  }

  /** Whether a device asked again before the interval was over; it then has to wait for one interval more. */
  async polledTooSoon(deviceCode: string, intervalMs: number): Promise<boolean> {
    const now = this.#now();
    const polled = this.#store.db.updateTable('oauth_artifacts').where('id_hash', '=', sha256Hex(deviceCode));
    const { numUpdatedRows } = await polled
      .set({ polled_at: now })
      .where((where) =>
        where.or([where('polled_at', 'is', null), where('polled_at', '<=', now - intervalMs)]),
      )
      .executeTakeFirst();
    if (numUpdatedRows > 0n) return false;
    await polled
      .set(({ eb }) => ({ polled_at: eb('polled_at', '+', intervalMs) }))
      .where('polled_at', '<=', now)
      .execute();
    return true;
  }

  async remove(kind: string, id: string): Promise<void> {
    await this.#forget(kind, id);
    this.#tell();
  }

  /** Ends one authorization and all that was issued by it. */
  async endFamily(grantId: string): Promise<void> {
    const family = sha256Hex(grantId);
    const { db } = this.#store;
    await db
      .deleteFrom('oauth_artifacts')
      .where('id_hash', '=', family)
      .where('kind', '=', 'Grant')
      .execute();
    await db.deleteFrom('oauth_artifacts').where('family', '=', family).execute();
    this.#tell();
  }

  /** Ends all authorizations and tokens of these, and whatever a code of theirs could still become. */
  async endParty(party: { clientId?: string; userUid?: string; projectUid?: string }): Promise<void> {
    let ended = this.#store.db.deleteFrom('oauth_artifacts');
    if (Object.keys(party).length === 0) throw new Error('everything would end');
    if (party.clientId !== undefined) ended = ended.where('client_id', '=', party.clientId);
    if (party.userUid !== undefined) ended = ended.where('user_uid', '=', party.userUid);
    if (party.projectUid !== undefined) ended = ended.where('project_uid', '=', party.projectUid);
    await ended.execute();
    this.#tell();
  }

  /**
   * Takes one try of a user at a code, on whatever replica; undefined when there are `most` already in this time.
   * @returns call it when the try was right: it then counts for nothing
   */
  async takeTry(userUid: string, most: number, perMs: number): Promise<(() => Promise<void>) | undefined> {
    const id = newId('try');
    const party = { userUid, clientId: null, projectUid: null };
    const nothing = { payload: {}, grantId: undefined, userCode: undefined };
    // Noted before it is counted: tries at the same time see each other.
    await this.put('CodeTry', id, { ...nothing, party, expiresInMs: perMs });
    const tries = await this.#store.db
      .selectFrom('oauth_artifacts')
      .select('id_hash')
      .where('user_uid', '=', userUid)
      .where('kind', '=', 'CodeTry')
      .where('expires_at', '>', this.#now())
      .limit(most + 1)
      .execute();
    const release = () => this.#forget('CodeTry', id);
    if (tries.length <= most) return release;
    await release();
    return undefined;
  }

  /** The device that waits under this code; one about which somebody has decided waits no more. */
  async findDevice(userCode: string): Promise<Payload | undefined> {
    const row = await this.#store.db
      .selectFrom('oauth_artifacts')
      .select('payload')
      .where('user_code', '=', this.#userCodeDigest(userCode))
      .where('expires_at', '>', this.#now())
      .executeTakeFirst();
    return row && (JSON.parse(row.payload) as Payload);
  }

  /** One statement decides for the device; false: somebody else was first, or its time is over. */
  async decideDevice(
    userCode: string,
    payload: Payload,
    { party, grantId }: { party: Party; grantId: string | undefined },
  ): Promise<boolean> {
    const { numUpdatedRows } = await this.#store.db
      .updateTable('oauth_artifacts')
      .set({
        payload: JSON.stringify(payload),
        user_uid: party.userUid,
        project_uid: party.projectUid,
        family: grantId === undefined ? null : sha256Hex(grantId),
        user_code: null,
      })
      .where('user_code', '=', this.#userCodeDigest(userCode))
      .where('expires_at', '>', this.#now())
      .executeTakeFirst();
    return numUpdatedRows > 0n;
  }

  /** How a code that a person types is known: it is too short to be hashed without a key. */
  #userCodeDigest(userCode: string): string {
    return this.#store.keys.mac('oauth/user-code', userCode);
  }

  /** Called when this process has ended something. */
  onEnded(listener: () => void): void {
    this.#listeners.add(listener);
  }

  /** Never rejects: what cannot be pruned now is pruned the next time. */
  prune(): Promise<void> {
    this.#made = 0;
    this.#pruning ??= pruneArtifacts(this.#store.db, this.#now())
      .catch((error) => this.#logger.warn({ error: messageOf(error) }, 'expired tokens were not pruned'))
      .finally(() => {
        this.#pruning = undefined;
      });
    return this.#pruning;
  }

  async close(): Promise<void> {
    clearInterval(this.#timer);
    await this.#pruning;
  }

  async #forget(kind: string, id: string): Promise<void> {
    await this.#store.db
      .deleteFrom('oauth_artifacts')
      .where('id_hash', '=', sha256Hex(id))
      .where('kind', '=', kind)
      .execute();
  }

  #isInGrace(kind: string, consumedAt: number): boolean {
    return kind === 'RefreshToken' && this.#now() - consumedAt < GRACE_MS;
  }

  #tell(): void {
    for (const listener of this.#listeners) listener();
  }
}
