import type { Authorizer } from '../identity/authorizer.ts';
import type { Principal } from '../identity/caller.ts';
import { clientSecrets } from '../identity/client-secrets.ts';
import { actsForUser, answering } from '../identity/client-sponsors.ts';
import {
  type ClientFields,
  clientNameFault,
  clientProblems,
  usesSecret,
} from '../resources/client-fields.ts';
import type { ResourceObject } from '../resources/objects.ts';
import type { Resources } from '../resources/registry.ts';
import type { Store } from '../store/database.ts';
import { DEVICE_GRANT } from './built-in-clients.ts';
import type { ClientAuthMethod, ClientRecord, ClientSource } from './clients.ts';

const LONG_NAMES: Readonly<Record<string, ClientAuthMethod>> = {
  basic: 'client_secret_basic',
  post: 'client_secret_post',
  client_secret_basic: 'client_secret_basic',
  client_secret_post: 'client_secret_post',
  private_key_jwt: 'private_key_jwt',
  none: 'none',
};

/** The OAuthClient objects; the name of one is its client id. */
export class RegisteredClients implements ClientSource {
  readonly #store: Pick<Store, 'db'>;
  readonly #resources: Pick<Resources, 'get' | 'refresh'>;
  readonly #authorizer: Pick<Authorizer, 'rights'>;

  constructor(
    store: Pick<Store, 'db'>,
    resources: Pick<Resources, 'get' | 'refresh'>,
    authorizer: Pick<Authorizer, 'rights'>,
  ) {
    this.#store = store;
    this.#resources = resources;
    this.#authorizer = authorizer;
  }

  /** One that acts for a user without whoever has to answer for that is a client like others. */
  async find(clientId: string): Promise<ClientRecord | undefined> {
    // What another process has just made is read before anybody is turned away.
    const isNew = isRegistered(clientId) && !this.#resources.get('OAuthClient', clientId);
    if (isNew) await this.#resources.refresh();
    const object = this.#resources.get('OAuthClient', clientId);
    // An object is found by its uid as well.
    if (object?.metadata.name !== clientId || clientProblems(object.spec).length > 0) return undefined;
    const fields = object.spec as ClientFields;
    const acting =
      fields.user !== undefined && (await actsForUser(this.#store.db, this.#authorizer.rights(), object));
    const { displayName, redirectUris = [], project, scopes = ['mcp'], jwks, autoApprove = false } = fields;
    return {
      clientId,
      name: displayName ?? clientId,
      source: 'registered',
      redirectUris,
      tokenEndpointAuthMethod: LONG_NAMES[fields.tokenEndpointAuthMethod ?? 'basic']!,
      grantTypes: grantTypesOf(fields, acting),
      scopes,
      ...(project !== undefined && { project }),
      ...(jwks && { jwks }),
      ...(acting && { user: fields.user, autoApprove }),
      ...(usesSecret(fields) && { secretHashes: await this.#secretHashes(object) }),
    };
  }

  /**
   * Who answers for a token that a client has for this user with nobody asked: their rights bound it, too. None for a
   * token that the user consented to; undefined when the client may act for the user no more.
   */
  async answering(
    clientId: string,
    user: string,
    kind: 'AccessToken' | 'ClientCredentials',
  ): Promise<readonly Principal[] | undefined> {
    const object = this.#resources.get('OAuthClient', clientId);
    if (!object) return [];
    const fields = object.spec as ClientFields;
    const unasked = kind === 'ClientCredentials' || (fields.autoApprove === true && fields.user === user);
    if (!unasked) return [];
    if (fields.user !== user) return undefined;
    return answering(this.#store.db, this.#authorizer.rights(), object);
  }

  async #secretHashes({ metadata }: ResourceObject): Promise<NonNullable<ClientRecord['secretHashes']>> {
    const rows = await clientSecrets(this.#store.db, metadata.uid, Date.now());
    return rows.map(({ hash, expires_at: end }) => ({ hash, ...(end !== null && { expiresAt: end }) }));
  }
}

/** Whether an id is that of an OAuthClient object, if it is one at all. */
export function isRegistered(clientId: string): boolean {
  return clientNameFault(clientId) === undefined && !clientId.startsWith('dcr_');
}

function grantTypesOf({ redirectUris = [], autoApprove }: ClientFields, acting: boolean): string[] {
  const types: string[] = [];
  if (redirectUris.length > 0) types.push('authorization_code');
  if (acting) types.push('client_credentials');
  // Whoever needs nobody asks anew, and whether somebody still answers for it is asked anew as well.
  return autoApprove === true ? types : [...types, DEVICE_GRANT, 'refresh_token'];
}
