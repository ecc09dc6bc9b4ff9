import type { Audit } from '../audit/audit.ts';
import { sha256Hex } from '../base/ids.ts';
import { ok, type Result, refused } from '../base/result.ts';
import { FIRST_USER, userNameFault } from '../resources/access-fields.ts';
import { VersionConflict } from '../resources/layer-edit.ts';
import type { Resources } from '../resources/registry.ts';
import type { UserEntry } from '../resources/spec.ts';
import type { Store } from '../store/database.ts';
import { isUniqueViolation } from '../store/fault.ts';
import { userOfUid } from './token-record.ts';

/** What an external provider says of somebody who has just signed in there. */
export type ExternalClaims = {
  issuer: string;
  subject: string;
  /** Only one that the provider has verified. */
  email: string | undefined;
  name: string | undefined;
  /** As the provider calls them. */
  groups: readonly string[];
};

/**
 * no email: none that is verified · unknown: no user here, and in no group that makes one · taken: the user is somebody
 * else there · disabled
 */
export type StrangerReason = 'no email' | 'unknown' | 'taken' | 'disabled';

const STATE_MS = 10 * 60_000;
const MAX_NAME = 200;

/**
 * Who is meant by what an external provider says. Its subject names a person for good: the first time it is tied to the
 * user with that verified address, later an address counts no more. Groups that are mapped follow the provider at each
 * sign-in, the others stay as they were given here.
 */
export class ExternalPeople {
  readonly #store: Pick<Store, 'db'>;
  readonly #resources: Resources;
  readonly #audit: Pick<Audit, 'acting'>;
  /** From the provider's groups to ours. */
  readonly #groups: ReadonlyMap<string, string>;
  readonly #now: () => number;

  constructor(options: {
    store: Pick<Store, 'db'>;
    resources: Resources;
    audit: Pick<Audit, 'acting'>;
    groups: ReadonlyMap<string, string>;
    now?: () => number;
  }) {
    this.#store = options.store;
    this.#resources = options.resources;
    this.#audit = options.audit;
    this.#groups = options.groups;
    this.#now = options.now ?? Date.now;
  }

  /** Uses a state up. False: it came back before. */
  async consume(state: string): Promise<boolean> {
    const now = this.#now();
    const { db } = this.#store;
    await db.deleteFrom('used_states').where('expires_at', '<=', now).execute();
    const kept = await db
      .insertInto('used_states')
      .values({ state_hash: sha256Hex(state), expires_at: now + STATE_MS })
      .onConflict((conflict) => conflict.column('state_hash').doNothing())
      .returning('state_hash')
      .executeTakeFirst();
    return kept !== undefined;
  }

  async resolve(claims: ExternalClaims): Promise<Result<UserEntry, StrangerReason>> {
    const linked = await this.#linked(claims);
    const mapped = this.#mapped(claims.groups);
    if (linked) return linked.disabled ? refused('disabled') : ok(await this.#regroup(linked, mapped));
    const { email, name } = claims;
    const address = email !== undefined && email !== FIRST_USER && userNameFault(email) === undefined;
    if (!address) return refused('no email');
    const known = this.#users().get(email);
    if (known?.disabled) return refused('disabled');
    if (!known && mapped.length === 0) return refused('unknown');
    const user = known ?? (await this.#create(email, name, mapped));
    if (!(await this.#link(claims, user))) return refused('taken');
    return ok(await this.#regroup(user, mapped));
  }

  #users() {
    return this.#resources.snapshot().access.users;
  }

  async #linked({ issuer, subject }: ExternalClaims): Promise<UserEntry | undefined> {
    const row = await this.#store.db
      .selectFrom('external_identities')
      .select('user_uid')
      .where('issuer', '=', issuer)
      .where('subject', '=', subject)
      .executeTakeFirst();
    return row && userOfUid(this.#resources.snapshot().access, row.user_uid);
  }

  /** False when the user is tied to another subject of that provider. */
  async #link({ issuer, subject }: ExternalClaims, { uid }: UserEntry): Promise<boolean> {
    const row = { user_uid: uid, linked_at: this.#now() };
    try {
      await this.#store.db
        .insertInto('external_identities')
        .values({ issuer, subject, ...row })
        .onConflict((conflict) => conflict.columns(['issuer', 'subject']).doUpdateSet(row))
        .execute();
      return true;
    } catch (error) {
      if (isUniqueViolation(error)) return false;
      throw error;
    }
  }

  /** Ours, of those that exist. */
  #mapped(groups: readonly string[]): string[] {
    const existing = this.#resources.snapshot().access.groups;
    const ours = groups.map((group) => this.#groups.get(group)).filter((group) => group !== undefined);
    return [...new Set(ours)].filter((group) => existing.has(group)).sort();
  }

  async #create(email: string, name: string | undefined, groups: string[]): Promise<UserEntry> {
    const spec = { groups, ...(name && { displayName: name.slice(0, MAX_NAME) }) };
    const body = { kind: 'User', metadata: { name: email }, spec };
    await this.#byItself(() => this.#resources.put(body, { expected: 'none' }));
    return this.#users().get(email)!;
  }

  /** Users of configuration files stay as their file says. */
  async #regroup(user: UserEntry, mapped: readonly string[], tries = 3): Promise<UserEntry> {
    const object = this.#resources.get('User', user.uid);
    if (this.#groups.size === 0 || object?.metadata.managedBy !== 'api') return user;
    const provided = new Set(this.#groups.values());
    const spec = object.spec as { groups?: string[] };
    const before = spec.groups ?? [];
    const groups = [...before.filter((group) => !provided.has(group)), ...mapped];
    if (JSON.stringify([...groups].sort()) === JSON.stringify([...before].sort())) return user;
    const body = { kind: 'User', metadata: object.metadata, spec: { ...spec, groups } };
    try {
      await this.#byItself(() => this.#resources.put(body));
    } catch (error) {
      // Somebody changed the user meanwhile, perhaps this very person in another browser.
      if (!(error instanceof VersionConflict) || tries <= 1) throw error;
      return this.#regroup(user, mapped, tries - 1);
    }
    return this.#users().get(user.name) ?? user;
  }

  #byItself<T>(work: () => Promise<T>): Promise<T> {
    return this.#audit.acting({ actor: { kind: 'castellan' } }, work);
  }
}
