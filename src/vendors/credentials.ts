/**
 * The access token of one server, or of one user at it, as its connections use it.
 *
 * none      nobody signed in, or the grant is lost: a person has to sign in
 * fresh     the token that is kept goes along
 * due       little of its life remains: one process refreshes, by a lease on the row; the others use what they have
 *           while it lives, then wait and read again
 * resting   a refresh failed for the vendor's sake: the token is used while it lives, the next try waits
 *
 * A lease on the row is there before the vendor is asked, and kept up while it is. A process that dies with it is
 * followed within seconds by another that asks with the same refresh token: vendors let that count again for a moment.
 * One that does not has ended the grant, and the reason says so. A new token is stored before its first use. What is
 * kept here is a copy that counts until it is due.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { ok, type Result, refused } from '../base/result.ts';
import { providerAt } from '../resources/providers.ts';
import type { OAuthSpec } from '../resources/spec.ts';
import type { Credential, NoScope } from './credential.ts';
import { EVERYBODY, type Grant, type GrantKey, type GrantStore, type KeptGrant } from './grants.ts';
import { signInPath } from './sign-in-path.ts';
import { isDue, isOver, tokensOf } from './tokens.ts';
import type { VendorAnswer, VendorHttp } from './vendor-http.ts';
import type { ScopeMemory } from './wanted-scopes.ts';

/** `login`: a person has to sign in; otherwise it may go by itself. `message` is fit for a user. */
export type NoToken = { login: boolean; message: string; retryAfterMs?: number };

/** A server that takes tokens, and for whom; `owner` is empty where one sign-in serves everybody. */
export type CredentialTarget = { name: string; uid: string; owner: string; url: string; auth: OAuthSpec };

export type CredentialDeps = {
  store: GrantStore;
  http: VendorHttp;
  scopes: ScopeMemory;
  /** A grant is lost, and only a person can get another. */
  onLost(target: CredentialTarget, reason: string): void;
};

/** A lease that was not extended for so long is a dead process's; vendors that forgive do so for longer. */
const LEASE_MS = 4_000;
const EXTEND_MS = 1_000;
/** Clocks of processes differ by less. */
const MAX_SKEW_MS = 60_000;
/** How long somebody waits for a token who has none. */
const PATIENCE_MS = 20_000;
const LOOK_AGAIN_MS = 50;
const MAX_REST_MS = 300_000;
const STORE_FOR_MS = 120_000;
const MAX_STORE_REST_MS = 2_000;
/** A token that is refused so soon after it was issued is not the fault of its age. */
const REFUSED_EARLY_MS = 30_000;
/** How long the copy counts where another process may have ended the grant. */
const COPY_MS = 5_000;
const NOT_YET = { all: 'nobody has signed in', own: 'you have not yet' } as const;
/** The version of no token. */
const NONE = -1;
const LOST_ERRORS = new Set([
  'invalid_grant',
  'invalid_client',
  'unauthorized_client',
  'unsupported_grant_type',
]);

export class VendorCredential implements Credential {
  readonly #target: CredentialTarget;
  readonly #key: GrantKey;
  readonly #deps: CredentialDeps;
  #kept: KeptGrant | undefined;
  #readAt = 0;
  /** The version whose token the server refused. */
  #refused = NONE;
  /** A lease of somebody else, and since when it was not extended. */
  #watched: { leaseUntil: number; since: number } | undefined;
  #underWay: Promise<Result<string, NoToken>> | undefined;

  constructor(target: CredentialTarget, deps: CredentialDeps) {
    this.#target = target;
    this.#key = { server: target.uid, owner: target.owner };
    this.#deps = deps;
  }

  get page(): string | undefined {
    const { name, owner } = this.#target;
    return owner === EVERYBODY ? undefined : signInPath(name, owner);
  }

  /** `Authorization` of the next request; undefined while there is none. */
  get header(): string | undefined {
    return this.#kept && `Bearer ${this.#kept.grant.tokens.access}`;
  }

  get version(): number {
    return this.#kept?.version ?? NONE;
  }

  /** Whether the copy at hand still counts. */
  get ready(): boolean {
    const now = Date.now();
    const kept = this.#kept;
    if (!kept || now - this.#readAt > COPY_MS || kept.version === this.#refused) return false;
    return !isDue(kept.grant.tokens, now);
  }

  /** Has a token that can be used, refreshed if it must be. Callers share one look. Rejects when the store fails. */
  prepare(): Promise<Result<string, NoToken>> {
    this.#underWay ??= this.#look().finally(() => {
      this.#underWay = undefined;
    });
    return within(this.#underWay, PATIENCE_MS, () => this.#beingRenewed());
  }

  /** The server refused the token: the next look gets another one, or says that a person has to. */
  refuse(version: number): void {
    if (version === this.version) this.#refused = version;
  }

  async widen(scopes: readonly string[], version: number): Promise<Result<string, NoScope>> {
    const { name } = this.#target;
    const kept = await this.#deps.store.read(this.#key);
    // There is another token than the one that was not enough.
    if (kept && kept.version !== version && this.#unusable(kept) === undefined) return this.#use(kept);
    if (scopes.length === 0)
      return refused({
        login: false,
        message: `server "${name}" wants more scopes and does not say which: set scopes in its auth`,
      });
    const had = kept?.lost === undefined ? kept && hadScope(kept.grant) : undefined;
    const may = await this.#deps.scopes.want(this.#key, had, scopes);
    const wants = `server "${name}" wants the scope ${scopes.join(' ')}`;
    const message = may
      ? `${wants}: somebody has to sign in again and agree to it, run \`castellan mcp login ${name}\``
      : `${wants}, and refuses it to whoever signed in, although it was asked for again and again: its vendor has to allow them more`;
    return refused({ login: may, message });
  }

  /** Somebody signed in or out. */
  forget(): void {
    this.#kept = undefined;
    this.#refused = NONE;
  }

  async #look(): Promise<Result<string, NoToken>> {
    const deadline = Date.now() + PATIENCE_MS;
    for (;;) {
      const kept = await this.#deps.store.read(this.#key);
      const now = Date.now();
      const fault = kept ? this.#unusable(kept) : NOT_YET[this.#key.owner === EVERYBODY ? 'all' : 'own'];
      if (!kept || fault !== undefined) return this.#needsLogin(fault ?? '');
      const { tokens } = kept.grant;
      const rejected = kept.version === this.#refused;
      if (!rejected && !isDue(tokens, now)) return this.#use(kept);
      const usable = !rejected && !isOver(tokens, now);
      if (tokens.refresh === undefined || (rejected && now - tokens.issuedAt < REFUSED_EARLY_MS)) {
        if (usable) return this.#use(kept);
        return this.#needsLogin(rejected ? 'the server refuses the token' : 'the token is over');
      }
      if (kept.retryAt > now) {
        if (usable) return this.#use(kept);
        const message = `${this.#where(kept.grant)} did not renew the credential of ${this.#target.name}`;
        return refused({ login: false, message, retryAfterMs: kept.retryAt - now });
      }
      const lease = this.#deps.store.newLease();
      const free = this.#isFree(kept, now);
      if (free && (await this.#deps.store.lease(this.#key, kept, lease, now + LEASE_MS))) {
        await this.#refresh(kept, lease);
      } else if (usable) return this.#use(kept);
      else await sleep(LOOK_AGAIN_MS);
      if (Date.now() > deadline) return this.#beingRenewed();
    }
  }

  /** Whether nobody renews it, as far as this process has seen: the clocks of others may differ. */
  #isFree({ lease = '', leaseUntil }: KeptGrant, now: number): boolean {
    if (leaseUntil === 0 || leaseUntil < now - MAX_SKEW_MS || this.#deps.store.isGone(lease)) return true;
    if (this.#watched?.leaseUntil !== leaseUntil) this.#watched = { leaseUntil, since: performance.now() };
    return performance.now() - this.#watched.since >= LEASE_MS;
  }

  #beingRenewed(): Result<string, NoToken> {
    const message = `the credential of ${this.#target.name} is being renewed`;
    return refused({ login: false, message, retryAfterMs: 1_000 });
  }

  #use(kept: KeptGrant): Result<string, NoToken> {
    this.#kept = kept;
    this.#readAt = Date.now();
    return ok(`Bearer ${kept.grant.tokens.access}`);
  }

  #needsLogin(reason: string): Result<string, NoToken> {
    this.#kept = undefined;
    const { name, owner } = this.#target;
    const who = owner === EVERYBODY ? 'somebody to sign in' : 'you to sign in, as each user does';
    const message = `server "${name}" needs ${who} (${reason}): run \`castellan mcp login ${name}\``;
    return refused({ login: true, message });
  }

  /** Tokens go to the server and come from the client that they were issued for. */
  #unusable({ grant, lost }: KeptGrant): string | undefined {
    if (lost !== undefined) return lost;
    const { url, auth } = this.#target;
    if (grant.url !== url) return 'the address of the server is another one than it was';
    const { resource } = grant;
    if (auth.resource !== undefined && resource !== undefined && auth.resource !== resource)
      return 'auth.resource was changed';
    if (auth.clientId !== undefined && auth.clientId !== grant.client.id) return 'auth.clientId was changed';
    if (auth.tokenEndpoint !== undefined && auth.tokenEndpoint !== grant.tokenEndpoint)
      return 'auth.tokenEndpoint was changed';
    return undefined;
  }

  async #refresh(kept: KeptGrant, lease: string): Promise<void> {
    const { store } = this.#deps;
    const keeping = setInterval(() => {
      // Where the store is away now, another process cannot take the lease either.
      store.extend(this.#key, lease, Date.now() + LEASE_MS).catch(() => {});
    }, EXTEND_MS);
    try {
      await this.#ask(kept, lease);
    } finally {
      clearInterval(keeping);
    }
  }

  async #ask(kept: KeptGrant, lease: string): Promise<void> {
    const { store, http } = this.#deps;
    const { url, auth } = this.#target;
    const { grant } = kept;
    const fields = {
      grant_type: 'refresh_token',
      refresh_token: grant.tokens.refresh,
      resource: grant.resource,
    };
    const origins = [new URL(url).origin, ...auth.allowOrigins];
    const secret = grant.client.method === 'private_key_jwt' ? auth.privateKey : auth.clientSecret;
    const client = secret === undefined ? grant.client : { ...grant.client, secret };
    const answer = await http.form(grant.tokenEndpoint, origins, fields, client);
    const now = Date.now();
    const tokens =
      answer.ok && answer.value.status === 200 && !answer.value.error
        ? tokensOf(answer.value.json, now)
        : undefined;
    if (tokens?.ok) {
      const refresh = tokens.value.refresh ?? grant.tokens.refresh;
      const scope = tokens.value.scope ?? grant.tokens.scope;
      const renewed = { ...grant, tokens: { ...tokens.value, refresh, scope } };
      await untilStored(() => store.renew(this.#key, kept, renewed));
      return;
    }
    const lost = answer.ok ? lossOf(answer.value, kept) : undefined;
    if (lost !== undefined) {
      await store.release(this.#key, kept, lease, { lost });
      this.#deps.onLost(this.#target, lost);
      return;
    }
    const failures = kept.failures + 1;
    const rest = Math.min(MAX_REST_MS, 1_000 * 2 ** Math.min(failures, 9));
    const asked = answer.ok ? answer.value.retryAfterMs : undefined;
    const unanswered = !answer.ok || answer.value.status >= 500 || kept.lease !== undefined;
    const retryAt = now + Math.max(rest, asked ?? 0);
    await store.release(this.#key, kept, lease, { retryAt, failures, unanswered });
  }

  #where = ({ tokenEndpoint }: Grant) => new URL(tokenEndpoint).origin;
}

const hadScope = ({ tokens, tokenEndpoint }: Grant) =>
  providerAt(tokenEndpoint).commaScopes ? tokens.scope?.replaceAll(',', ' ') : tokens.scope;

/** Why a refresh will never work again; undefined: it may. */
function lossOf({ status, error }: VendorAnswer, { lease }: KeptGrant): string | undefined {
  if (status >= 500 || status === 429 || error === undefined) return undefined;
  if (!LOST_ERRORS.has(error)) return undefined;
  // What was issued then never arrived, and the token that it replaced counts no more.
  if (error === 'invalid_grant' && lease !== undefined)
    return 'a renewal was cut off, and the vendor takes the refresh token no second time: invalid_grant';
  return `the vendor ended the sign-in: ${error}`;
}

/**
 * What a vendor has just issued may be all that is left of the grant, so a store that is away for a moment must not cost
 * it. Nobody uses it before it is stored.
 */
export async function untilStored<T>(store: () => Promise<T>): Promise<T> {
  const end = Date.now() + STORE_FOR_MS;
  for (let attempt = 1; ; attempt += 1) {
    try {
      return await store();
    } catch (error) {
      if (Date.now() > end) throw error;
      await sleep(Math.min(MAX_STORE_REST_MS, 100 * 2 ** attempt));
    }
  }
}

function within<T>(work: Promise<T>, ms: number, late: () => T): Promise<T> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => resolve(late()), ms);
    work.then(resolve, reject).finally(() => clearTimeout(timer));
  });
}

/** Whether tokens for `resource` may go to `url`: the same origin, and a path at or below it. */
export function isResourceOf(resource: string, url: string): boolean {
  const [wide, narrow] = [URL.parse(resource), URL.parse(url)];
  if (!wide || !narrow || wide.origin !== narrow.origin) return false;
  const folder = wide.pathname.endsWith('/') ? wide.pathname : `${wide.pathname}/`;
  return narrow.pathname === wide.pathname || `${narrow.pathname}/`.startsWith(folder);
}
