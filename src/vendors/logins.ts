/**
 * Signing in for one server, or for one user at it. A sign-in under way is a sealed row: it outlives the process and the
 * terminal that began it, and any process can finish it. Several may be under way at once; each is told by its state.
 *
 * begun      a person has an address to go to; a device's replaces another device's
 * finished   its tokens are the grant, and the row is gone
 * over       the vendor refused it, or its time is up; the row is gone
 *
 * A wrong answer (another state, another issuer, an address that is none) changes nothing.
 */
import { createHash, randomUUID } from 'node:crypto';
import type { Audit } from '../audit/audit.ts';
import { Refusal } from '../base/errors.ts';
import { endpointFault } from '../resources/endpoint-url.ts';
import { scopesIn, unionOf } from './challenge.ts';
import type { VendorClient } from './client-proof.ts';
import {
  answeredLogin,
  codeIn,
  codeLogin,
  keptOf,
  type LoginDetails,
  type LoginStep,
  type UnderWay,
} from './code-login.ts';
import { type CredentialTarget, untilStored } from './credentials.ts';
import { discover, originsOf, type Vendor } from './discovery.ts';
import type { Flow, Grant, GrantKey, GrantStore, LoginUnderWay } from './grants.ts';
import { DEVICE_GRANT, type OwnAddresses, registeredClient } from './registration.ts';
import { tokensOf } from './tokens.ts';
import type { VendorAnswer, VendorHttp } from './vendor-http.ts';
import type { ScopeMemory } from './wanted-scopes.ts';

export type { LoginStep } from './code-login.ts';

export type LoginProgress = { state: 'signed_in' } | { state: 'pending'; retryAfterMs: number };

/**
 * `atVendor`: what became of the grant there: it was taken back, it was not although the vendor was told, or there is no
 * way to tell it. Undefined: there was no grant.
 */
export type LoginEnded = { ended: boolean; atVendor?: 'revoked' | 'kept' | 'untold' };

/** How a browser comes back: to a port of this person's machine, or to a page, in that very browser session. */
export type WayBack =
  | { flow: 'browser'; redirectUri: string }
  | { flow: 'page'; redirectUri: string; browser: string };

export type LoginDeps = {
  store: GrantStore;
  http: VendorHttp;
  scopes: ScopeMemory;
  own: () => OwnAddresses;
  audit: Pick<Audit, 'record' | 'origin'>;
  /** There is a grant now, or none any more. */
  onChange(target: CredentialTarget): void;
};

const DEVICE_MS = 30 * 60_000;
const MAX_DEVICE_MS = 60 * 60_000;
const INTERVAL_MS = 5_000;
const MAX_INTERVAL_MS = 60_000;
/** Whoever finishes a sign-in and dies is waited for so long. */
const FINISH_MS = 30_000;

export class VendorLogins {
  readonly #deps: LoginDeps;

  constructor(deps: LoginDeps) {
    this.#deps = deps;
  }

  /**
   * Begins a sign-in, by device where the vendor offers it unless told how.
   * @throws Refusal with the fix
   */
  async begin(
    target: CredentialTarget,
    wanted: 'device' | 'paste' | WayBack | undefined,
  ): Promise<LoginStep> {
    const { http, scopes, own } = this.#deps;
    const way = typeof wanted === 'object' ? wanted : undefined;
    const found = await discover(http, target);
    if (!found.ok) throw new Refusal('conflict', found.error.message);
    const more = scopesIn((await scopes.of(keyOf(target))) ?? '');
    const vendor = { ...found.value, scope: unionOf(found.value.scope, more) };
    const offered = vendor.deviceAuthorizationEndpoint === undefined ? 'paste' : 'device';
    const flow = way ? way.flow : typeof wanted === 'string' ? wanted : offered;
    refuseMissing(target, vendor, flow);
    const addresses = way ? comingBackTo(way, target, own()) : own();
    const registered = await registeredClient(http, target, vendor, addresses);
    if (!registered.ok) throw new Refusal('conflict', registered.error);
    const { client, redirectUri } = registered.value;
    const browser = way?.flow === 'page' ? digest(way.browser) : undefined;
    const login =
      flow === 'device'
        ? await this.#device(target, vendor, client)
        : codeLogin(flow, target.url, vendor, { client, redirectUri, browser });
    await this.#deps.store.begin(keyOf(target), login);
    this.#tell('login.started', 'ok', target, { flow, issuer: vendor.issuer });
    return stepOf(login);
  }

  /** The sign-in that was begun last and can still be finished. */
  async pending(target: CredentialTarget): Promise<LoginStep | undefined> {
    const [login] = (await this.#logins(target)).filter(isResumable);
    return login && stepOf(login);
  }

  /** The sign-ins under way that can be gone on with, of all servers and users. */
  async underWay(): Promise<LoginUnderWay[]> {
    return (await this.#deps.store.underWay()).filter(isResumable);
  }

  /**
   * Goes on with a sign-in under way: with the address that the browser came back to, or by asking about the device.
   * @param id of the device's sign-in; without it the one begun last
   * @throws Refusal that says what is wrong, and whether the sign-in goes on
   */
  async goOn(target: CredentialTarget, cameBack: string | undefined, id?: string): Promise<LoginProgress> {
    const logins = (await this.#logins(target)).filter(isResumable);
    const asked = id === undefined ? logins[0] : logins.find((login) => login.id === id);
    if (!asked) throw nothingUnderWay(target, id);
    if (cameBack === undefined) {
      if (asked.flow !== 'device')
        throw new Refusal('invalid', 'url: is missing: paste the address that the browser came back to');
      await this.#refuseMoved(target, asked);
      return this.#poll(target, asked);
    }
    const { url, login } = answeredLogin(cameBack, logins);
    return this.#exchange(target, login, url);
  }

  /**
   * Finishes a sign-in that began on a page, with the address that the same browser came back to.
   * @throws Refusal when it answers none of this user in this browser; nothing has changed then
   */
  async comeBack(target: CredentialTarget, cameBack: string, browser: string): Promise<void> {
    const own = (await this.#logins(target)).filter(({ details }) => details.browser === digest(browser));
    const { url, login } = answeredLogin(cameBack, own);
    await this.#exchange(target, login, url);
  }

  /** Forgets the grant, at the vendor too where that can be told, and the sign-ins under way. */
  async end(target: CredentialTarget): Promise<LoginEnded> {
    const { grant, any } = await this.#deps.store.remove(keyOf(target));
    await this.#deps.scopes.forget(keyOf(target));
    if (!any) return { ended: false };
    const told = grant && { atVendor: await this.#revoke(target, grant) };
    this.#tell('login.ended', 'ok', target, { ...told });
    this.#deps.onChange(target);
    return { ended: true, ...told };
  }

  #logins(target: CredentialTarget): Promise<UnderWay[]> {
    return this.#deps.store.logins<LoginDetails>(keyOf(target));
  }

  async #refuseMoved(target: CredentialTarget, login: UnderWay): Promise<void> {
    if (login.details.url === target.url) return;
    await this.#end(target, login, 'moved');
    throw new Refusal(
      'conflict',
      `${target.name} has another url than when this began: begin another sign-in`,
    );
  }

  async #exchange(target: CredentialTarget, login: UnderWay, url: URL): Promise<LoginProgress> {
    await this.#refuseMoved(target, login);
    const { details } = login;
    const found = codeIn(url, details);
    if ('denied' in found) {
      await this.#end(target, login, found.denied);
      throw new Refusal('conflict', `the vendor refused the sign-in (${found.denied}): begin another one`);
    }
    const { vendor, client, step } = details;
    // A vendor that sees a code twice takes back what it gave for it.
    const now = Date.now();
    const mine =
      login.pollAt <= now && (await this.#deps.store.takePoll(keyOf(target), login, now + FINISH_MS));
    if (!mine) throw new Refusal('conflict', `this sign-in of ${target.name} is being finished already`);
    const fields = {
      ...{ grant_type: 'authorization_code', code: found.code, redirect_uri: step.redirectUri },
      ...{ code_verifier: details.verifier, resource: vendor.resource },
    };
    let answer: VendorAnswer;
    try {
      answer = await this.#ask(target, vendor.tokenEndpoint, fields, client);
    } catch (error) {
      await this.#deps.store.slowDown(keyOf(target), login, details, 0);
      throw error;
    }
    if (answer.error === undefined && answer.status === 200) return this.#finish(target, login, answer);
    if (answer.status >= 500 || answer.error === undefined) {
      await this.#deps.store.slowDown(keyOf(target), login, details, 0);
      throw new Refusal('conflict', `${vendor.issuer} answered HTTP ${answer.status}: paste it again`);
    }
    await this.#end(target, login, answer.error);
    const registered =
      target.auth.clientId === undefined
        ? ''
        : `; the redirect URI must match the one registered with the provider, ${step.redirectUri}`;
    throw new Refusal(
      'conflict',
      `${vendor.issuer} did not take the code (${answer.error})${registered}: begin another one`,
    );
  }

  async #device(target: CredentialTarget, vendor: Vendor, client: VendorClient): Promise<UnderWay> {
    const endpoint = vendor.deviceAuthorizationEndpoint ?? '';
    const fields = { scope: vendor.scope, resource: vendor.resource };
    const { status, json, error } = await this.#ask(target, endpoint, fields, client);
    const said = (json ?? {}) as Record<string, unknown>;
    const { device_code: deviceCode, user_code: userCode, verification_uri: plain } = said;
    const whole = said.verification_uri_complete;
    const url = typeof whole === 'string' && endpointFault(whole) === undefined ? whole : plain;
    if (status !== 200 || typeof deviceCode !== 'string' || typeof userCode !== 'string')
      throw new Refusal(
        'conflict',
        `${vendor.issuer} began no sign-in of a device (${error ?? `HTTP ${status}`})`,
      );
    if (typeof url !== 'string' || endpointFault(url) !== undefined || !/^[\x20-\x7e]{1,64}$/.test(userCode))
      throw new Refusal('conflict', `${vendor.issuer} names no address that somebody could be sent to`);
    const seconds = (value: unknown) => (typeof value === 'number' && value > 0 ? value * 1_000 : undefined);
    const intervalMs = Math.min(MAX_INTERVAL_MS, seconds(said.interval) ?? INTERVAL_MS);
    const now = Date.now();
    const step = { url, userCode };
    const details = { step, vendor: keptOf(vendor), client, url: target.url, deviceCode, intervalMs };
    return {
      id: randomUUID(),
      flow: 'device',
      details,
      pollAt: now + intervalMs,
      expiresAt: now + Math.min(MAX_DEVICE_MS, seconds(said.expires_in) ?? DEVICE_MS),
    };
  }

  /** Asks once, and not sooner than the vendor allows (RFC 8628 section 3.5). */
  async #poll(target: CredentialTarget, login: UnderWay): Promise<LoginProgress> {
    const { store } = this.#deps;
    const { vendor, client, deviceCode, intervalMs = INTERVAL_MS } = login.details;
    const now = Date.now();
    const pending = (retryAfterMs: number) => ({ state: 'pending', retryAfterMs }) as const;
    if (login.pollAt > now) return pending(login.pollAt - now);
    if (!(await store.takePoll(keyOf(target), login, now + intervalMs))) return pending(intervalMs);
    const fields = { grant_type: DEVICE_GRANT, device_code: deviceCode, resource: vendor.resource };
    const answer = await this.#ask(target, vendor.tokenEndpoint, fields, client);
    const { error, status } = answer;
    if (error === undefined && status === 200) return this.#finish(target, login, answer);
    if (error === 'authorization_pending' || status >= 500 || status === 429 || error === undefined)
      return pending(Math.max(intervalMs, answer.retryAfterMs ?? 0));
    if (error === 'slow_down') {
      const slower = Math.min(MAX_INTERVAL_MS, intervalMs + INTERVAL_MS);
      const details = { ...login.details, intervalMs: slower };
      await store.slowDown(keyOf(target), login, details, now + slower);
      return pending(slower);
    }
    await this.#end(target, login, error);
    const what = error === 'access_denied' ? 'somebody refused it' : `the vendor ended it (${error})`;
    throw new Refusal('conflict', `the sign-in of ${target.name} is over, ${what}: begin another one`);
  }

  async #finish(target: CredentialTarget, login: UnderWay, answer: VendorAnswer): Promise<LoginProgress> {
    const { vendor, client, url } = login.details;
    const tokens = tokensOf(answer.json, Date.now());
    if (!tokens.ok) {
      await this.#end(target, login, 'malformed');
      throw new Refusal('conflict', `${vendor.issuer} issued no token that can be used: ${tokens.error}`);
    }
    const { issuer, resource, tokenEndpoint, revocationEndpoint } = vendor;
    const scope = tokens.value.scope ?? vendor.scope;
    const where = { issuer, url, resource, tokenEndpoint, revocationEndpoint };
    const grant: Grant = { tokens: { ...tokens.value, scope }, ...where, client };
    if (!(await untilStored(() => this.#deps.store.settle(keyOf(target), login.id, grant))))
      throw new Refusal('conflict', `this sign-in of ${target.name} was ended meanwhile: begin another one`);
    await this.#deps.scopes.signedIn(keyOf(target));
    this.#tell('login.completed', 'ok', target, { flow: login.flow, issuer, scopes: scope });
    this.#deps.onChange(target);
    return { state: 'signed_in' };
  }

  /** Best effort: a vendor that is away, or knows no such thing, keeps nobody signed in here. */
  async #revoke(target: CredentialTarget, grant: Grant): Promise<NonNullable<LoginEnded['atVendor']>> {
    const { revocationEndpoint, tokens, client } = grant;
    if (revocationEndpoint === undefined) return 'untold';
    const refresh = tokens.refresh !== undefined;
    const fields = {
      token: tokens.refresh ?? tokens.access,
      token_type_hint: refresh ? 'refresh_token' : 'access_token',
    };
    const answer = await this.#form(target, revocationEndpoint, fields, client);
    return answer.ok && answer.value.status === 200 ? 'revoked' : 'kept';
  }

  async #ask(
    target: CredentialTarget,
    endpoint: string,
    fields: Readonly<Record<string, string | undefined>>,
    client: VendorClient,
  ): Promise<VendorAnswer> {
    const answer = await this.#form(target, endpoint, fields, client);
    if (answer.ok) return answer.value;
    throw new Refusal(
      'conflict',
      `${new URL(endpoint).origin} ${answer.error}; the sign-in goes on, try again`,
    );
  }

  #form(
    target: CredentialTarget,
    endpoint: string,
    fields: Readonly<Record<string, string | undefined>>,
    client: VendorClient,
  ): ReturnType<VendorHttp['form']> {
    return this.#deps.http.form(endpoint, originsOf(target), fields, client);
  }

  async #end(target: CredentialTarget, { id, flow }: UnderWay, reason: string): Promise<void> {
    await this.#deps.store.endLogin(keyOf(target), id);
    this.#tell('login.failed', 'error', target, { flow, reason });
  }

  #tell(
    event: 'login.started' | 'login.completed' | 'login.failed' | 'login.ended',
    outcome: 'ok' | 'error',
    { name, owner }: CredentialTarget,
    detail: Record<string, unknown>,
  ): void {
    const { audit } = this.#deps;
    const of = owner === '' ? detail : { ...detail, user: owner };
    audit.record({ event, outcome, ...audit.origin(), server: name, detail: of });
  }
}

/** What began on a page goes on in that very browser alone. */
const isResumable = ({ flow }: { flow: Flow }) => flow !== 'page';

function nothingUnderWay({ name }: CredentialTarget, id: string | undefined): Refusal {
  const what = id === undefined ? 'is under way' : 'of this kind goes on, another one may have begun';
  return new Refusal(
    'conflict',
    `no sign-in of ${name} ${what}, or its time is up: run \`castellan mcp login ${name}\``,
  );
}

function refuseMissing({ name, auth }: CredentialTarget, vendor: Vendor, flow: Flow): void {
  const { authorizationEndpoint, deviceAuthorizationEndpoint } = vendor;
  if (flow === 'device' && deviceAuthorizationEndpoint === undefined) {
    const fix = auth.custom
      ? 'set auth.deviceAuthorizationEndpoint, or use --paste'
      : 'the vendor offers none, use --paste';
    throw new Refusal('conflict', `server "${name}" has no device endpoint: ${fix}`);
  }
  if (flow !== 'device' && authorizationEndpoint === undefined) {
    const fix = auth.custom ? 'set auth.authorizationEndpoint; ' : '';
    throw new Refusal(
      'conflict',
      `server "${name}" has no authorization endpoint: ${fix}device endpoint present: use --device`,
    );
  }
}

/** Our addresses, with the one that this very browser comes back to (RFC 8252 section 7.3, where it is a port). */
function comingBackTo(
  { flow, redirectUri }: WayBack,
  { name, auth }: CredentialTarget,
  own: OwnAddresses,
): OwnAddresses {
  const url = endpointFault(redirectUri) === undefined ? URL.parse(redirectUri) : null;
  const local = url?.protocol === 'http:' && ['127.0.0.1', '[::1]'].includes(url.hostname);
  if (flow === 'browser' && !local)
    throw new Refusal('invalid', 'redirectUri: must be http://127.0.0.1 or http://[::1], with a port');
  if (auth.redirectUri !== undefined && auth.redirectUri !== redirectUri)
    throw new Refusal(
      'conflict',
      `server "${name}" has another redirectUri registered: run castellan mcp login ${name} --paste`,
    );
  return { ...own, redirect: () => redirectUri, ...(local && { documentRedirect: redirectUri }) };
}

function stepOf({ id, flow, details, expiresAt }: UnderWay): LoginStep {
  return { id, flow, ...details.step, expiresAt: new Date(expiresAt).toISOString() };
}

const keyOf = ({ uid, owner }: CredentialTarget): GrantKey => ({ server: uid, owner });
const digest = (text: string) => createHash('sha256').update(text).digest('hex');
