import type { Audit } from '../audit/audit.ts';
import { GuardedClient } from '../net/guarded-client.ts';
import type { Resources } from '../resources/registry.ts';
import type { Store } from '../store/database.ts';
import type { Credential } from './credential.ts';
import { type CredentialTarget, VendorCredential } from './credentials.ts';
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
    store: Pick<Store, 'db' | 'keys'>,
    resources: Pick<Resources, 'edit'>,
    audit: Pick<Audit, 'record' | 'origin'>,
  ) {
    this.vault = new Vault(store, resources);
    this.#scopes = new WantedScopes(store);
    this.#audit = audit;
  }

  credential(target: CredentialTarget): Credential {
    const onLost = ({ name: server, owner }: CredentialTarget, reason: string) => {
      const detail = owner === '' ? { reason } : { reason, user: owner };
      const about = { actor: { kind: 'castellan' }, server, detail } as const;
      this.#audit.record({ event: 'login.lost', outcome: 'told', ...about });
    };
    const deps = { store: this.vault, http: this.#http, scopes: this.#scopes, onLost };
    return target.auth.machine ? new MachineCredential(target, deps) : new VendorCredential(target, deps);
  }

  logins(deps: Pick<LoginDeps, 'own' | 'onChange'>): VendorLogins {
    const own = { store: this.vault, http: this.#http, scopes: this.#scopes, audit: this.#audit };
    return new VendorLogins({ ...deps, ...own });
  }
}
