/**
 * The access token of a server where Castellan signs in as itself (RFC 6749 section 4.4, and the extension
 * oauth-client-credentials of MCP).
 *
 * none      the next call asks for a token
 * fresh     the token goes along
 * due       little of its life remains: the next call asks for another
 * resting   the vendor gave none: the token is used while it lives, the next try waits
 *
 * Nothing is stored: a process that starts asks again, and each process has a token of its own.
 */
import { ok, type Result, refused } from '../base/result.ts';
import { unionOf } from './challenge.ts';
import { configuredClient } from './client-proof.ts';
import type { Credential, NoScope } from './credential.ts';
import type { CredentialDeps, CredentialTarget, NoToken } from './credentials.ts';
import { discover, originsOf, type Vendor } from './discovery.ts';
import { isDue, isOver, type Tokens, tokensOf } from './tokens.ts';

/** Why there is no token. `final`: the vendor has said no, and trying again changes nothing by itself. */
type Fault = { final: boolean; message: string; retryAfterMs?: number; ofScope?: boolean };
type Held = { tokens: Tokens; scope: string | undefined };

const MAX_REST_MS = 300_000;
/** A token that is refused so soon after it was issued is not the fault of its age. */
const REFUSED_EARLY_MS = 30_000;
const DENIED_MS = 30_000;

export class MachineCredential implements Credential {
  readonly page = undefined;
  readonly #target: CredentialTarget;
  readonly #deps: Pick<CredentialDeps, 'http' | 'onLost'>;
  #held: Held | undefined;
  /** Another one with each token. */
  #version = 0;
  #refused = false;
  /** What the server asked for beyond what it said first. */
  #more: readonly string[] = [];
  /** What the vendor gave no token for, and until when it is not asked again. */
  #denied: { scopes: readonly string[]; message: string; until: number } | undefined;
  #failures = 0;
  #fault: (Fault & { until: number }) | undefined;
  #underWay: Promise<Result<string, NoToken>> | undefined;
  #widening: Promise<unknown> | undefined;

  constructor(target: CredentialTarget, deps: Pick<CredentialDeps, 'http' | 'onLost'>) {
    this.#target = target;
    this.#deps = deps;
  }

  get header(): string | undefined {
    return this.#held && `Bearer ${this.#held.tokens.access}`;
  }

  get version(): number {
    return this.#version;
  }

  get ready(): boolean {
    return this.#held !== undefined && !this.#refused && !isDue(this.#held.tokens, Date.now());
  }

  prepare(): Promise<Result<string, NoToken>> {
    this.#underWay ??= this.#look().finally(() => {
      this.#underWay = undefined;
    });
    return this.#underWay;
  }

  refuse(version: number): void {
    if (version === this.#version) this.#refused = this.#held !== undefined;
  }

  forget(): void {
    this.#held = undefined;
    this.#refused = false;
    this.#more = [];
    this.#denied = undefined;
    this.#fault = undefined;
    this.#failures = 0;
  }

  async widen(scopes: readonly string[], version: number): Promise<Result<string, NoScope>> {
    // A token that is being fetched was asked for less; whoever wants the same meanwhile waits for one that is wider.
    await this.#underWay;
    while (this.#widening) await this.#widening;
    const held = this.#held;
    if (held && version !== this.#version) return ok(`Bearer ${held.tokens.access}`);
    const has = held?.scope?.split(' ') ?? [];
    const missing = scopes.filter((one) => !has.includes(one));
    const no = (why: string) => {
      const wants = scopes.join(' ') || 'more scopes, and does not say which';
      return refused({ login: false, message: `server "${this.#target.name}" wants ${wants}: ${why}` });
    };
    if (missing.length === 0) return no('its token was asked for that, and it has to say what else it needs');
    // What somebody wrote down for a machine is all that it may get; nobody is asked when it gets more.
    if (this.#target.auth.scopes) return no('add it to scopes of its auth, if the machine may have it');
    const denied = this.#denied;
    if (denied && denied.until > Date.now() && missing.every((one) => denied.scopes.includes(one)))
      return no(denied.message);
    const work = this.#widen(missing).finally(() => {
      this.#widening = undefined;
    });
    this.#widening = work;
    const wider = await work;
    return wider.ok ? wider : no(wider.error);
  }

  async #widen(missing: readonly string[]): Promise<Result<string, string>> {
    const before = this.#more;
    this.#more = [...before, ...missing];
    const wider = await this.#fetch();
    if (wider.ok) return ok(this.#keep(wider.value));
    this.#more = before;
    this.#denied = { scopes: missing, message: wider.error.message, until: Date.now() + DENIED_MS };
    return refused(wider.error.message);
  }

  async #look(): Promise<Result<string, NoToken>> {
    const now = Date.now();
    const held = this.#held;
    if (held && this.ready) return ok(`Bearer ${held.tokens.access}`);
    const usable = held && !this.#refused && !isOver(held.tokens, now);
    if (held && this.#refused && now - held.tokens.issuedAt < REFUSED_EARLY_MS)
      this.#rest({ final: true, message: 'the server refuses the token that it was just issued' });
    if (!this.#fault || this.#fault.until <= now) {
      const got = await this.#fetchAnew();
      if (got.ok) return ok(this.#keep(got.value));
      this.#rest(got.error);
    }
    if (usable) return ok(`Bearer ${held.tokens.access}`);
    const { final = false, message = '', until = 0 } = this.#fault ?? {};
    return refused({
      login: final,
      message: `server "${this.#target.name}" cannot be signed in to: ${message}`,
      retryAfterMs: Math.max(1, until - Date.now()),
    });
  }

  #keep(held: Held): string {
    this.#held = held;
    this.#version += 1;
    this.#refused = false;
    this.#fault = undefined;
    this.#failures = 0;
    return `Bearer ${held.tokens.access}`;
  }

  #rest(fault: Fault): void {
    if (fault.final && this.#fault?.message !== fault.message) this.#deps.onLost(this.#target, fault.message);
    if (this.#refused) this.#held = undefined;
    this.#refused = false;
    this.#failures += 1;
    const rest = Math.min(MAX_REST_MS, 1_000 * 2 ** Math.min(this.#failures, 9));
    this.#fault = { ...fault, until: Date.now() + Math.max(rest, fault.retryAfterMs ?? 0) };
  }

  /** What one call wanted may not cost all others their token. */
  async #fetchAnew(): Promise<Result<Held, Fault>> {
    const got = await this.#fetch();
    if (got.ok || !got.error.ofScope || this.#more.length === 0) return got;
    this.#more = [];
    return this.#fetch();
  }

  async #fetch(): Promise<Result<Held, Fault>> {
    const found = await discover(this.#deps.http, this.#target);
    if (!found.ok) return refused({ final: !found.error.passing, message: found.error.message });
    const vendor = found.value;
    const { auth } = this.#target;
    const client = configuredClient(auth.clientId ?? '', auth, vendor);
    if (!client.ok) return refused({ final: true, message: client.error });
    const scope = unionOf(vendor.scope, this.#more);
    const fields = { grant_type: 'client_credentials', scope, resource: vendor.resource };
    const { tokenEndpoint } = vendor;
    const answer = await this.#deps.http.form(tokenEndpoint, originsOf(this.#target), fields, client.value);
    if (!answer.ok) return refused({ final: false, message: `${vendor.issuer} ${answer.error}` });
    const { status, error, json, retryAfterMs } = answer.value;
    if (status === 200 && error === undefined) return this.#read(json, scope, vendor);
    const final =
      status < 500 && status !== 429 && error !== undefined && error !== 'temporarily_unavailable';
    const message = `${vendor.issuer} issued no token (${error ?? `HTTP ${status}`})`;
    return refused({
      ...{ final, message, ofScope: error === 'invalid_scope' },
      ...(retryAfterMs !== undefined && { retryAfterMs }),
    });
  }

  #read(json: unknown, scope: string | undefined, { issuer }: Vendor): Result<Held, Fault> {
    const tokens = tokensOf(json, Date.now());
    if (tokens.ok) return ok({ tokens: tokens.value, scope });
    return refused({ final: false, message: `${issuer} issued no token that can be used: ${tokens.error}` });
  }
}
