import type { Kysely } from 'kysely';
import type { Audit } from '../audit/audit.ts';
import { Refusal } from '../base/errors.ts';
import { credentialKind, mintCredential, sha256Hex } from '../base/ids.ts';
import { bindingText } from '../resources/bindings.ts';
import type { UserEntry } from '../resources/spec.ts';
import type { Store } from '../store/database.ts';
import type { Schema } from '../store/schema.ts';
import type { Authorizer } from './authorizer.ts';
import { endSessionsOf } from './browser-sessions.ts';
import type { AuthenticatedCaller } from './caller.ts';
import { demand, firstBeyond, lacks } from './guards.ts';
import { PasswordHasher, passwordFault } from './password-hash.ts';
import { userOfUid } from './token-record.ts';

/** How long a link that sets a password works. */
const LINK_MS = 24 * 3_600_000;

/** A link that sets a password: `code` is shown once and kept nowhere. */
export type PasswordLink = { code: string; expiresAt: number };

/**
 * The passwords of people, and the links that set them. A user has one link at most: a new one replaces the one before,
 * and setting a password in whatever way takes it away.
 */
export class Passwords {
  readonly #store: Pick<Store, 'db'>;
  readonly #audit: Pick<Audit, 'append'>;
  readonly #authorizer: Authorizer;
  readonly #hasher: PasswordHasher;
  readonly #now: () => number;

  constructor(options: {
    store: Pick<Store, 'db' | 'keys'>;
    audit: Pick<Audit, 'append'>;
    authorizer: Authorizer;
    now?: () => number;
  }) {
    this.#store = options.store;
    this.#audit = options.audit;
    this.#authorizer = options.authorizer;
    this.#hasher = new PasswordHasher(options.store.keys.mac('passwords', 'pepper'));
    this.#now = options.now ?? Date.now;
  }

  /** The active user whose password this is. Every other pair takes as long and tells nothing. */
  async verify(email: string, password: string): Promise<UserEntry | undefined> {
    const user = this.#active(email);
    const kept = await this.#store.db
      .selectFrom('passwords')
      .select('hash')
      .where('user_uid', '=', user?.uid ?? '')
      .executeTakeFirst();
    return (await this.#hasher.matches(password, kept?.hash)) ? user : undefined;
  }

  async isSet(user: UserEntry): Promise<boolean> {
    const rows = this.#store.db.selectFrom('passwords').select('user_uid');
    return (await rows.where('user_uid', '=', user.uid).executeTakeFirst()) !== undefined;
  }

  /**
   * Replaces a password that was proven just now, and ends every session but `keep`.
   * @throws Refusal `invalid` naming what is wrong with the password
   */
  async change(user: UserEntry, password: string, keep: string): Promise<void> {
    const hash = await this.#hashed(password, user.name);
    await this.#store.db.transaction().execute(async (transaction) => {
      await transaction.deleteFrom('password_links').where('user_uid', '=', user.uid).execute();
      await this.#write(transaction, user, hash, keep);
      await this.#audit.append(transaction, {
        event: 'password.set',
        outcome: 'ok',
        target: `User/${user.name}`,
        detail: { by: 'page' },
      });
    });
  }

  /**
   * Makes the link of an active user. Whoever opens it is that user, and decides for people: so only a person makes one,
   * who may do whatever the user may, and act as others where the user has a password already.
   * @throws Refusal `not_found`, `forbidden` naming what `by` lacks
   */
  async link(by: AuthenticatedCaller, email: string): Promise<PasswordLink> {
    const user = this.#active(email);
    if (!user) throw new Refusal('not_found', `there is no active user ${email}`);
    const inPerson = by.principal === `User:${by.owner}` && by.ceilings.length === 0;
    if (!inPerson) {
      throw new Refusal(
        'forbidden',
        'a link that sets a password is made by people in person: use the command line on the data directory',
      );
    }
    const rights = this.#authorizer.rights();
    const held = rights.of(`User:${email}`).map(({ binding }) => binding);
    const layers = rights.layersOf(by);
    if (by.owner !== email && (await this.isSet(user)))
      demand(layers, { action: 'impersonate' }, ', which taking the password of another user away needs');
    const above = firstBeyond(layers, held);
    if (above) throw lacks(bindingText(above), ` yourself, which ${email} has`);
    const { code, row } = this.#newLink(user);
    await this.#store.db.transaction().execute(async (transaction) => {
      await transaction
        .insertInto('password_links')
        .values(row)
        .onConflict((conflict) => conflict.column('user_uid').doUpdateSet(row))
        .execute();
      await this.#tellOfLink(transaction, user, row.expires_at);
    });
    return { code, expiresAt: row.expires_at };
  }

  /**
   * The link of somebody who never had a link nor a password; undefined for everybody else, so that of several first
   * starts one has it.
   */
  async firstLink(email: string): Promise<PasswordLink | undefined> {
    const user = this.#active(email);
    if (!user || (await this.isSet(user))) return undefined;
    const { code, row } = this.#newLink(user);
    return this.#store.db.transaction().execute(async (transaction) => {
      const made = await transaction
        .insertInto('password_links')
        .values(row)
        .onConflict((conflict) => conflict.column('user_uid').doNothing())
        .returning('user_uid')
        .executeTakeFirst();
      if (!made) return undefined;
      await this.#tellOfLink(transaction, user, row.expires_at);
      return { code, expiresAt: row.expires_at };
    });
  }

  /** Whose password the link sets; undefined once it was used, replaced or expired. */
  async linkedUser(code: string): Promise<UserEntry | undefined> {
    if (credentialKind(code) !== 'inv') return undefined;
    const row = await this.#store.db
      .selectFrom('password_links')
      .select('user_uid')
      .where('code_hash', '=', sha256Hex(code))
      .where('expires_at', '>', this.#now())
      .executeTakeFirst();
    return row && this.#activeOfUid(row.user_uid);
  }

  /**
   * Sets the password by a link and ends every session of the user. Of two that use one link at once, one has the
   * user as its answer and the other undefined.
   * @throws Refusal `invalid` naming what is wrong with the password
   */
  async redeem(code: string, password: string): Promise<UserEntry | undefined> {
    const known = await this.linkedUser(code);
    if (!known) return undefined;
    const hash = await this.#hashed(password, known.name);
    return this.#store.db.transaction().execute(async (transaction) => {
      const taken = await transaction
        .deleteFrom('password_links')
        .where('code_hash', '=', sha256Hex(code))
        .where('expires_at', '>', this.#now())
        .returning('user_uid')
        .executeTakeFirst();
      const user = taken && this.#activeOfUid(taken.user_uid);
      if (!user) return undefined;
      await this.#write(transaction, user, hash, undefined);
      await this.#audit.append(transaction, {
        event: 'password.set',
        outcome: 'ok',
        actor: { kind: 'user', user: user.name },
        target: `User/${user.name}`,
        detail: { by: 'link' },
      });
      return user;
    });
  }

  #newLink(user: UserEntry) {
    const code = mintCredential('inv');
    const now = this.#now();
    const row = {
      user_uid: user.uid,
      code_hash: sha256Hex(code),
      created_at: now,
      expires_at: now + LINK_MS,
    };
    return { code, row };
  }

  async #tellOfLink(...[transaction, user, expiresAt]: [Transaction, UserEntry, number]): Promise<void> {
    const detail = { expiresAt: new Date(expiresAt).toISOString() };
    const target = `User/${user.name}`;
    await this.#audit.append(transaction, { event: 'password.link', outcome: 'ok', target, detail });
  }

  async #hashed(password: string, email: string): Promise<string> {
    const fault = passwordFault(password, email);
    if (fault !== undefined) throw new Refusal('invalid', `The new password ${fault}`);
    return this.#hasher.hash(password);
  }

  async #write(db: Kysely<Schema>, user: UserEntry, hash: string, keep: string | undefined): Promise<void> {
    const row = { hash, changed_at: this.#now() };
    await db
      .insertInto('passwords')
      .values({ user_uid: user.uid, ...row })
      .onConflict((conflict) => conflict.column('user_uid').doUpdateSet(row))
      .execute();
    await endSessionsOf(db, user.uid, keep);
  }

  #active(email: string): UserEntry | undefined {
    const rights = this.#authorizer.rights();
    return rights.isActive(email) ? rights.access.users.get(email) : undefined;
  }

  #activeOfUid(uid: string): UserEntry | undefined {
    const user = userOfUid(this.#authorizer.rights().access, uid);
    return user && !user.disabled ? user : undefined;
  }
}

type Transaction = Parameters<Audit['append']>[0];

/** Whoever is deleted leaves nothing by which a namesake could sign in. */
export async function forgetPerson(db: Kysely<Schema>, uid: string): Promise<void> {
  for (const table of ['passwords', 'password_links', 'browser_sessions', 'external_identities'] as const)
    await db.deleteFrom(table).where('user_uid', '=', uid).execute();
}
