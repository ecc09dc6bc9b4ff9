import type { Audit } from '../audit/audit.ts';
import { GuardedClient } from '../net/guarded-client.ts';
import { fileUid } from '../resources/known-objects.ts';
import type { Resources } from '../resources/registry.ts';
import type { Snapshot } from '../resources/spec.ts';
import type { Store } from '../store/database.ts';
import type { Credential } from './credential.ts';
import { type CredentialDeps, type CredentialTarget, untilStored, VendorCredential } from './credentials.ts';
import { type LoginDeps, VendorLogins } from './logins.ts';
import { MachineCredential } from './machine-credential.ts';
import { Vault } from './vault.ts';
import { VendorHttp } from './vendor-http.ts';
import { WantedScopes } from './wanted-scopes.ts';

/** Castellan as a client of the authorization servers of its servers. */
export class Vendors {
  readonly vault: Vault;
  readonly #scopes: WantedScopes;
  readonly #http = new VendorHttp(new GuardedClient());
  readonly #audit: Pick<Audit, 'record' | 'origin'>;

  constructor(
    store: Pick<Store, 'db' | 'keys' | 'dialect'>,
    resources: Pick<Resources, 'edit'>,
    audit: Pick<Audit, 'record' | 'origin'>,
  ) {
    this.vault = new Vault(store, resources);
    this.#scopes = new WantedScopes(store);
    this.#audit = audit;
  }

  /**
   * Forgets what belongs to servers that the API made and to users, when they go. A server of a file that is put back
   * finds what it had.
   */
  async changed(now: Snapshot, before: Snapshot): Promise<void> {
    const uids = new Set([...now.servers.values()].map(({ uid }) => uid));
    const gone = [...before.servers.values()].filter(
      ({ name, uid }) => !uids.has(uid) && uid !== fileUid('Server', name),
    );
    const left = usersGone(now, before);
    if (gone.length + left.length === 0) return;
    await untilStored(() => this.vault.prune(gone.map(({ uid }) => uid)));
  }

  credential(target: CredentialTarget): Credential {
    const onLost = ({ name: server, owner }: CredentialTarget, reason: string) => {
      const detail = owner === '' ? { reason } : { reason, user: owner };
      const about = { actor: { kind: 'castellan' }, server, detail } as const;
      this.#audit.record({ event: 'login.lost', outcome: 'told', ...about });
    };
    return credentialOf(target, { store: this.vault, http: this.#http, scopes: this.#scopes, onLost });
  }

  logins(deps: Pick<LoginDeps, 'own' | 'onChange'>): VendorLogins {
    const own = { store: this.vault, http: this.#http, scopes: this.#scopes, audit: this.#audit };
    return new VendorLogins({ ...deps, ...own });
  }
}

/** What a server is proven to with, in the way that its `auth` says. */
export function credentialOf(target: CredentialTarget, deps: CredentialDeps): Credential {
  return target.auth.machine ? new MachineCredential(target, deps) : new VendorCredential(target, deps);
}

/** Users of before who are none now, or others under the same name. */
export function usersGone(now: Snapshot, before: Snapshot): string[] {
  if (now.access === before.access) return [];
  return [...before.access.users.values()]
    .filter(({ name, uid }) => now.access.users.get(name)?.uid !== uid)
    .map(({ name }) => name);
}
