import { sql } from 'kysely';
import type { Store } from '../store/database.ts';
import { unionOf } from './challenge.ts';
import type { GrantKey } from './grants.ts';

/** Sign-ins that ask for the same, before it is plain that the vendor does not mean it. */
export const MAX_SIGN_INS = 3;

/** Where it is kept what servers want beyond what somebody signed in for; see WantedScopes. */
export interface ScopeMemory {
  of(key: GrantKey): Promise<string | undefined>;
  want(key: GrantKey, had: string | undefined, scopes: readonly string[]): Promise<boolean>;
  signedIn(key: GrantKey): Promise<void>;
  forget(key: GrantKey): Promise<void>;
}

/** What a server wants beyond what somebody signed in for (2026-07-28 basic/authorization, step-up). */
export class WantedScopes implements ScopeMemory {
  readonly #db: Store['db'];

  constructor({ db }: Pick<Store, 'db'>) {
    this.#db = db;
  }

  /** All that the next sign-in has to ask for; undefined: nothing beyond what the server says by itself. */
  async of(key: GrantKey): Promise<string | undefined> {
    return (await this.#row(key))?.scope;
  }

  /**
   * The server refused a call for want of `scopes`; the token was asked for with `had`. False: it was asked for them
   * three times by now, and a further sign-in is in vain.
   */
  async want(key: GrantKey, had: string | undefined, scopes: readonly string[]): Promise<boolean> {
    const row = await this.#row(key);
    const before = row?.scope.split(' ') ?? [];
    const known = row && scopes.every((one) => before.includes(one));
    if (known) return Number(row.sign_ins) < MAX_SIGN_INS;
    const scope = unionOf(unionOf(had, before), scopes) ?? '';
    if (!scopes.every((one) => scope.split(' ').includes(one))) return false;
    const change = { scope, sign_ins: 1 };
    await this.#db
      .insertInto('upstream_scopes')
      .values({ server_uid: key.server, owner: key.owner, ...change })
      .onConflict((conflict) => conflict.columns(['server_uid', 'owner']).doUpdateSet(change))
      .execute();
    return true;
  }

  /** Somebody signed in, and what the server wants was asked for. */
  async signedIn({ server, owner }: GrantKey): Promise<void> {
    await this.#db
      .updateTable('upstream_scopes')
      .set({ sign_ins: sql`sign_ins + 1` })
      .where('server_uid', '=', server)
      .where('owner', '=', owner)
      .execute();
  }

  async forget({ server, owner }: GrantKey): Promise<void> {
    await this.#db
      .deleteFrom('upstream_scopes')
      .where('server_uid', '=', server)
      .where('owner', '=', owner)
      .execute();
  }

  #row({ server, owner }: GrantKey): Promise<{ scope: string; sign_ins: number | string } | undefined> {
    return this.#db
      .selectFrom('upstream_scopes')
      .select(['scope', 'sign_ins'])
      .where('server_uid', '=', server)
      .where('owner', '=', owner)
      .executeTakeFirst();
  }
}
