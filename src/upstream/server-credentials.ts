import { boundedCache } from '../base/bounded-cache.ts';
import type { Credential } from '../vendors/credential.ts';
import { EVERYBODY } from '../vendors/grants.ts';

/** A copy that is dropped is read again. */
const MAX_USERS = 1_000;

/** What one server is proven to with: the same for everybody, or for each user something of their own. */
export class ServerCredentials {
  readonly perUser: boolean;
  readonly #make: (owner: string) => Credential;
  readonly #known = boundedCache<string, Credential>(MAX_USERS);

  constructor(perUser: boolean, make: (owner: string) => Credential) {
    this.perUser = perUser;
    this.#make = make;
  }

  of(user: string): Credential {
    const owner = this.perUser ? user : EVERYBODY;
    let credential = this.#known.get(owner);
    if (!credential) {
      credential = this.#make(owner);
      this.#known.set(owner, credential);
    }
    return credential;
  }

  /** Somebody signed in or out. */
  forget(owner: string): void {
    this.#known.get(owner)?.forget();
  }
}
