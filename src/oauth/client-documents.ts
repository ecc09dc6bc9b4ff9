import { boundedCache } from '../base/bounded-cache.ts';
import type { Logger } from '../base/logger.ts';
import { OneAtATime } from '../base/one-at-a-time.ts';
import { ok, type Result, refused } from '../base/result.ts';
import type { GuardedAnswer, GuardedClient } from '../net/guarded-client.ts';
import { JWKS } from '../resources/client-fields.ts';
import type { Store } from '../store/database.ts';
import { clientOfDocument, documentRecord, documentUrl, freshFor } from './client-document.ts';
import type { ClientLookUp, ClientRecord, ClientSource } from './clients.ts';
import { allowsDocument, type DocumentHosts } from './document-hosts.ts';
import { HostTurns } from './host-turns.ts';

const MAX_DOCUMENT_BYTES = 5 * 1024;
const MAX_KEYS_BYTES = 16 * 1024;
const DOCUMENT_TIMEOUT_MS = 2_000;
const KEYS_TIMEOUT_MS = 1_500;
/** A document that could not be read is not asked for again in this time. */
const FAILED_MS = 15_000;
const MAX_FAILED = 1_000;
/** How long a client goes on while its host does not answer. */
const STALE_MS = 86_400_000;
const FORGOTTEN_MS = 30 * 86_400_000;
const MAX_KEPT = 10_000;

/** `gone`: the host answers, and not with a client · `unreachable`: it does not answer in time */
type Failure = { kind: 'gone' | 'unreachable'; reason: string };
type Outcome = Result<{ record: ClientRecord; freshMs: number }, Failure>;

/**
 * Clients that are described by a document at the address that is their id. A document is read for the first time for
 * a person who is signed in, and again when it is not fresh any more: nobody else chooses what this server asks for.
 */
export class ClientDocuments implements ClientSource {
  readonly #store: Pick<Store, 'db'>;
  readonly #client: GuardedClient;
  readonly #hosts: DocumentHosts;
  readonly #logger: Logger;
  readonly #now: () => number;
  readonly #turns = new HostTurns();
  readonly #reading = new OneAtATime<Outcome>();
  readonly #failed = boundedCache<string, { failure: Failure; until: number }>(MAX_FAILED);

  constructor(options: {
    store: Pick<Store, 'db'>;
    client: GuardedClient;
    hosts: DocumentHosts;
    logger: Logger;
    now?: () => number;
  }) {
    this.#store = options.store;
    this.#client = options.client;
    this.#hosts = options.hosts;
    this.#logger = options.logger;
    this.#now = options.now ?? Date.now;
  }

  async find(clientId: string, { mayFetch }: ClientLookUp): Promise<ClientRecord | undefined> {
    const url = documentUrl(clientId);
    if (!url || !allowsDocument(this.#hosts, url)) return undefined;
    const kept = await this.#kept(clientId);
    if (kept ? kept.freshUntil > this.#now() : !mayFetch) return kept?.record;
    const outcome = await this.#read(clientId, url);
    if (outcome.ok) return outcome.value.record;
    if (outcome.error.kind === 'gone') await this.#forget(clientId);
    else if (kept && kept.fetchedAt > this.#now() - STALE_MS) return kept.record;
    return undefined;
  }

  async #kept(clientId: string) {
    const row = await this.#store.db
      .selectFrom('oauth_client_documents')
      .selectAll()
      .where('client_id', '=', clientId)
      .executeTakeFirst();
    if (!row) return undefined;
    const record = JSON.parse(row.client) as ClientRecord;
    return { record, fetchedAt: Number(row.fetched_at), freshUntil: Number(row.fresh_until) };
  }

  /** Everybody who asks for one document at the same time gets the same answer. */
  #read(clientId: string, url: URL): Promise<Outcome> {
    const failed = this.#failed.get(clientId);
    if (failed && failed.until > this.#now()) return Promise.resolve(refused(failed.failure));
    return this.#reading.join(clientId, () => this.#readNow(clientId, url));
  }

  async #readNow(clientId: string, url: URL): Promise<Outcome> {
    const outcome = await this.#turns.take(url.host, () => this.#ask(clientId));
    if (!outcome) return refused({ kind: 'unreachable', reason: 'waits for others at its host' });
    if (outcome.ok) {
      this.#failed.delete(clientId);
      await this.#keep(outcome.value);
    } else {
      const { error: failure } = outcome;
      this.#failed.set(clientId, { failure, until: this.#now() + FAILED_MS });
      this.#logger.info({ host: url.host }, `a client's document was not taken: it ${failure.reason}`);
    }
    return outcome;
  }

  async #ask(clientId: string): Promise<Outcome> {
    const answer = await this.#get(clientId, MAX_DOCUMENT_BYTES, DOCUMENT_TIMEOUT_MS);
    if (!answer.ok) return answer;
    const client = clientOfDocument(clientId, answer.value.body.toString());
    if (!client.ok) return refused({ kind: 'gone', reason: client.error });
    const record = documentRecord(clientId, client.value);
    const freshMs = freshFor(answer.value.headers, this.#now());
    const { jwksUri } = client.value;
    if (jwksUri === undefined) return ok({ record, freshMs });
    const keys = await this.#keys(jwksUri);
    return keys.ok ? ok({ record: { ...record, jwks: keys.value }, freshMs }) : keys;
  }

  async #keys(url: string): Promise<Result<NonNullable<ClientRecord['jwks']>, Failure>> {
    const answer = await this.#get(url, MAX_KEYS_BYTES, KEYS_TIMEOUT_MS);
    if (!answer.ok) return answer;
    const keys = JWKS.safeParse(parsed(answer.value.body.toString()));
    return keys.success ? ok(keys.data) : refused({ kind: 'gone', reason: 'leads to no set of public keys' });
  }

  async #get(url: string, maxBytes: number, timeoutMs: number): Promise<Result<GuardedAnswer, Failure>> {
    const headers = { accept: 'application/json' };
    const request = { headers, maxBytes, timeoutMs, allowOrigins: this.#hosts.origins };
    const answer = await this.#client.fetch(url, request);
    if (!answer.ok) {
      const { error } = answer;
      if (error === 'too_large') return refused({ kind: 'gone', reason: `has more than ${maxBytes} bytes` });
      if (error === 'encoded') return refused({ kind: 'gone', reason: 'is compressed' });
      return refused({ kind: 'unreachable', reason: 'cannot be reached' });
    }
    const { status, headers: said } = answer.value;
    if (status >= 500 || status === 429) return refused({ kind: 'unreachable', reason: `answers ${status}` });
    if (status !== 200) return refused({ kind: 'gone', reason: `answers ${status}` });
    const type = String(said['content-type'] ?? '');
    if (!/^application\/([\w.-]+\+)?json\b/i.test(type))
      return refused({ kind: 'gone', reason: 'is no JSON' });
    return answer;
  }

  async #keep({ record, freshMs }: { record: ClientRecord; freshMs: number }): Promise<void> {
    const now = this.#now();
    const row = { client: JSON.stringify(record), fetched_at: now, fresh_until: now + freshMs };
    const { db } = this.#store;
    await db
      .insertInto('oauth_client_documents')
      .values({ client_id: record.clientId, ...row })
      .onConflict((conflict) => conflict.column('client_id').doUpdateSet(row))
      .execute();
    await db
      .deleteFrom('oauth_client_documents')
      .where('fetched_at', '<', now - FORGOTTEN_MS)
      .execute();
    await db
      .deleteFrom('oauth_client_documents')
      .where('client_id', 'in', (from) =>
        from
          .selectFrom('oauth_client_documents')
          .select('client_id')
          .orderBy('fetched_at', 'desc')
          .orderBy('client_id')
          .limit(MAX_KEPT)
          .offset(MAX_KEPT),
      )
      .execute();
  }

  async #forget(clientId: string): Promise<void> {
    await this.#store.db.deleteFrom('oauth_client_documents').where('client_id', '=', clientId).execute();
  }
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
