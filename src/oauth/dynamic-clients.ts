import type { Audit } from '../audit/audit.ts';
import { mintCredential, newId, sha256Hex } from '../base/ids.ts';
import { ok, type Result, refused } from '../base/result.ts';
import type { Store } from '../store/database.ts';
import type { ClientRecord, ClientSource } from './clients.ts';
import { describedClient, type MetadataFault } from './described-client.ts';

/** A client that nobody consents to is forgotten. */
const UNUSED_MS = 86_400_000;
const MAX_UNUSED = 1_000;

/** `secret` is shown this once. */
export type Registration = { record: ClientRecord; secret: string | undefined; at: number };

/**
 * Clients that register themselves (RFC 7591). They say what they are, and nothing of it is proven; what they may do
 * is decided when a person consents.
 */
export class DynamicClients implements ClientSource {
  readonly #store: Pick<Store, 'db'>;
  readonly #audit: Pick<Audit, 'append'>;
  readonly #now: () => number;

  constructor(options: { store: Pick<Store, 'db'>; audit: Pick<Audit, 'append'>; now?: () => number }) {
    this.#store = options.store;
    this.#audit = options.audit;
    this.#now = options.now ?? Date.now;
  }

  /** `full`: too many wait for a first consent. */
  async register(
    metadata: unknown,
    address: string | undefined,
  ): Promise<Result<Registration, MetadataFault | 'full'>> {
    const described = describedClient(metadata, {
      methods: ['client_secret_basic', 'client_secret_post', 'none', 'private_key_jwt'],
      dropsOtherGrants: false,
    });
    if (!described.ok) return described;
    const { jwksUri, ...client } = described.value;
    // Nobody is signed in who would say that this server may ask that address.
    if (jwksUri !== undefined)
      return refused({ error: 'invalid_client_metadata', description: 'jwks_uri: give jwks instead' });
    const secret = client.tokenEndpointAuthMethod.startsWith('client_secret')
      ? mintCredential('cs')
      : undefined;
    const record: ClientRecord = {
      ...client,
      clientId: newId('dcr'),
      source: 'dynamic',
      ...(secret !== undefined && { secretHashes: [{ hash: sha256Hex(secret) }] }),
    };
    const at = this.#now();
    return (await this.#insert(record, address, at)) ? ok({ record, secret, at }) : refused('full');
  }

  async find(clientId: string): Promise<ClientRecord | undefined> {
    if (!clientId.startsWith('dcr_')) return undefined;
    const row = await this.#store.db
      .selectFrom('oauth_dynamic_clients')
      .select('client')
      .where('client_id', '=', clientId)
      .where((where) =>
        where.or([where('expires_at', '>', this.#now()), where('client_id', 'in', this.#consented())]),
      )
      .executeTakeFirst();
    return row && (JSON.parse(row.client) as ClientRecord);
  }

  async #insert(record: ClientRecord, address: string | undefined, now: number): Promise<boolean> {
    return this.#store.db.transaction().execute(async (transaction) => {
      await transaction
        .deleteFrom('oauth_dynamic_clients')
        .where('expires_at', '<=', now)
        .where('client_id', 'not in', this.#consented())
        .execute();
      const { count } = await transaction
        .selectFrom('oauth_dynamic_clients')
        .select((select) => select.fn.countAll().as('count'))
        .where('client_id', 'not in', this.#consented())
        .executeTakeFirstOrThrow();
      if (Number(count) >= MAX_UNUSED) return false;
      await transaction
        .insertInto('oauth_dynamic_clients')
        .values({
          client_id: record.clientId,
          client: JSON.stringify(record),
          created_at: now,
          expires_at: now + UNUSED_MS,
        })
        .execute();
      await this.#audit.append(transaction, {
        event: 'client.registered',
        outcome: 'ok',
        actor: { kind: 'stranger' },
        address,
        target: `OAuthClient/${record.clientId}`,
        detail: { name: record.name, redirects: record.redirectUris.map((uri) => new URL(uri).host) },
      });
      return true;
    });
  }

  #consented() {
    return this.#store.db.selectFrom('oauth_grants').select('client_id');
  }
}

/** What a client is told of itself (RFC 7591 section 3.2.1). */
export function registrationAnswer({ record, secret, at }: Registration): Record<string, unknown> {
  const usesCodes = record.grantTypes.includes('authorization_code');
  return {
    client_id: record.clientId,
    client_id_issued_at: Math.floor(at / 1000),
    ...(secret !== undefined && { client_secret: secret, client_secret_expires_at: 0 }),
    client_name: record.name,
    redirect_uris: record.redirectUris,
    grant_types: record.grantTypes,
    response_types: usesCodes ? ['code'] : [],
    token_endpoint_auth_method: record.tokenEndpointAuthMethod,
    ...(record.jwks && { jwks: record.jwks }),
  };
}
