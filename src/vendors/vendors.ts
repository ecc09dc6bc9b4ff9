import type { Audit } from '../audit/audit.ts';
import { GuardedClient } from '../net/guarded-client.ts';
import type { Resources } from '../resources/registry.ts';
import type { Store } from '../store/database.ts';
import { type CredentialTarget, VendorCredential } from './credentials.ts';
import { type LoginDeps, VendorLogins } from './logins.ts';
import { Vault } from './vault.ts';
import { VendorHttp } from './vendor-http.ts';

/** Castellan as a client of the authorization servers of its servers. */
export class Vendors {
  readonly vault: Vault;
  readonly #http = new VendorHttp(new GuardedClient());
  readonly #audit: Pick<Audit, 'record' | 'origin'>;

  constructor(
    store: Pick<Store, 'db' | 'keys'>,
    resources: Pick<Resources, 'edit'>,
    audit: Pick<Audit, 'record' | 'origin'>,
  ) {
    this.vault = new Vault(store, resources);
    this.#audit = audit;
  }

  credential(target: CredentialTarget): VendorCredential {
    const onLost = ({ name: server, owner }: CredentialTarget, reason: string) => {
      const detail = owner === '' ? { reason } : { reason, user: owner };
      const about = { actor: { kind: 'castellan' }, server, detail } as const;
      this.#audit.record({ event: 'login.lost', outcome: 'told', ...about });
    };
    return new VendorCredential(target, { store: this.vault, http: this.#http, onLost });
  }

  logins(deps: Pick<LoginDeps, 'own' | 'onChange'>): VendorLogins {
    return new VendorLogins({ ...deps, store: this.vault, http: this.#http, audit: this.#audit });
  }
}
