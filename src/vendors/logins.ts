/**
 * Signing in for one server. A sign-in under way is a sealed row: it outlives the process and the terminal that began
 * it, and any process can finish it.
 *
 * begun      a person has an address to go to; a new beginning replaces it
 * finished   its tokens are the server's grant, and the row is gone
 * over       the vendor refused it, or its time is up; the row is gone
 *
 * A wrong answer (another state, another issuer, an address that is none) changes nothing.
 */
import { createHash, randomBytes, randomUUID } from 'node:crypto';
import type { Audit } from '../audit/audit.ts';
import { Refusal } from '../base/errors.ts';
import { endpointFault } from '../resources/endpoint-url.ts';
import type { VendorClient } from './client-proof.ts';
import type { CredentialTarget } from './credentials.ts';
import { discover, type Vendor } from './discovery.ts';
import { DEVICE_GRANT, type OwnAddresses, registeredClient } from './registration.ts';
import { tokensOf } from './tokens.ts';
import type { Flow, Grant, KeptLogin, Vault } from './vault.ts';
import type { VendorAnswer, VendorHttp } from './vendor-http.ts';

/** What a person needs to go on. */
export type LoginStep = {
  flow: Flow;
  /** To be opened in a browser, anywhere. */
  url: string;
  /** To be typed or compared there. */
  userCode?: string;
  /** Where the browser comes back to, whether it gets there or not. */
  redirectUri?: string;
  /** ISO 8601. */
  expiresAt: string;
};

export type LoginProgress = { state: 'signed_in' } | { state: 'pending'; retryAfterMs: number };

type Details = {
  step: Omit<LoginStep, 'flow' | 'expiresAt'>;
  vendor: Pick<Vendor, 'issuer' | 'namesItself' | 'tokenEndpoint' | 'resource' | 'scope'>;
  client: VendorClient;
  /** Of the server. */
  url: string;
  /** Of the device, or of the code. */
  deviceCode?: string;
  intervalMs?: number;
  state?: string;
  verifier?: string;
};

export type LoginDeps = {
  vault: Vault;
  http: VendorHttp;
  own: () => OwnAddresses;
  audit: Pick<Audit, 'record' | 'origin'>;
  /** There is a grant now, or none any more. */
  onChange(server: string): void;
};

const PASTE_MS = 30 * 60_000;
const MAX_DEVICE_MS = 60 * 60_000;
const INTERVAL_MS = 5_000;
const MAX_INTERVAL_MS = 60_000;
const MAX_TEXT = 8 * 1024;

export class VendorLogins {
  readonly #deps: LoginDeps;

  constructor(deps: LoginDeps) {
    this.#deps = deps;
  }

  /** Begins a sign-in, by device where the vendor offers it unless told how. @throws Refusal with the fix */
  async begin(target: CredentialTarget, wanted: Flow | undefined): Promise<LoginStep> {
    const { http, own } = this.#deps;
    const found = await discover(http, target);
    if (!found.ok) throw new Refusal('conflict', found.error.message);
    const vendor = found.value;
    const flow = wanted ?? (vendor.deviceAuthorizationEndpoint === undefined ? 'paste' : 'device');
    refuseMissing(target, vendor, flow);
    const registered = await registeredClient(http, target, vendor, own());
    if (!registered.ok) throw new Refusal('conflict', registered.error);
    const { client, redirectUri } = registered.value;
    const login =
      flow === 'device'
        ? await this.#device(target, vendor, client)
        : pasteLogin(target, vendor, client, redirectUri);
    await this.#deps.vault.begin(target.uid, login);
    this.#tell('login.started', 'ok', target, { flow, issuer: vendor.issuer });
    return stepOf(login);
  }

  /** The sign-in that was begun last and can still be finished. */
  async pending(target: CredentialTarget): Promise<LoginStep | undefined> {
    const login = await this.#deps.vault.login<Details>(target.uid);
    return login && stepOf(login);
  }

  /** Which servers have a sign-in under way, by their uid. */
  underWay(): ReturnType<Vault['logins']> {
    return this.#deps.vault.logins();
  }

  /**
   * Goes on with the sign-in under way: with the address that the browser came back to, or by asking about the device.
   * @throws Refusal that says what is wrong, and whether the sign-in goes on
   */
  async goOn(target: CredentialTarget, cameBack: string | undefined): Promise<LoginProgress> {
    const login = await this.#deps.vault.login<Details>(target.uid);
    if (!login) {
      const fix = `run \`castellan mcp login ${target.name}\``;
      throw new Refusal('conflict', `no sign-in of ${target.name} is under way, or its time is up: ${fix}`);
    }
    if (login.details.url !== target.url) {
      await this.#end(target, login, 'moved');
      throw new Refusal(
        'conflict',
        `${target.name} has another url than when this began: begin another sign-in`,
      );
    }
    if (login.flow === 'device') return this.#poll(target, login);
    if (cameBack === undefined)
      throw new Refusal('invalid', 'url: is missing: paste the address that the browser came back to');
    const { details } = login;
    const code = codeOf(cameBack, details);
    if ('denied' in code) {
      await this.#end(target, login, code.denied);
      throw new Refusal('conflict', `the vendor refused the sign-in (${code.denied}): begin another one`);
    }
    const { vendor, client, step } = details;
    const fields = {
      ...{ grant_type: 'authorization_code', code: code.code, redirect_uri: step.redirectUri },
      ...{ code_verifier: details.verifier, resource: vendor.resource },
    };
    const answer = await this.#ask(target, vendor.tokenEndpoint, fields, client);
    if (answer.error === undefined && answer.status === 200) return this.#finish(target, login, answer);
    if (answer.status >= 500 || answer.error === undefined)
      throw new Refusal('conflict', `${vendor.issuer} answered HTTP ${answer.status}: paste it again`);
    await this.#end(target, login, answer.error);
    throw new Refusal(
      'conflict',
      `${vendor.issuer} did not take the code (${answer.error}): begin another one`,
    );
  }

  /** Forgets the grant and whatever sign-in is under way. False: there was neither. */
  async end(target: CredentialTarget): Promise<boolean> {
    const removed = await this.#deps.vault.remove(target.uid);
    if (removed) {
      this.#tell('login.ended', 'ok', target, {});
      this.#deps.onChange(target.name);
    }
    return removed;
  }

  async #device(target: CredentialTarget, vendor: Vendor, client: VendorClient): Promise<KeptLogin<Details>> {
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
    return {
      id: randomUUID(),
      flow: 'device',
      details: {
        step: { url, userCode },
        vendor: kept(vendor),
        client,
        url: target.url,
        deviceCode,
        intervalMs,
      },
      pollAt: now + intervalMs,
      expiresAt: now + Math.min(MAX_DEVICE_MS, seconds(said.expires_in) ?? PASTE_MS),
    };
  }

  /** Asks once, and not sooner than the vendor allows (RFC 8628 section 3.5). */
  async #poll(target: CredentialTarget, login: KeptLogin<Details>): Promise<LoginProgress> {
    const { vendor, client, deviceCode, intervalMs = INTERVAL_MS } = login.details;
    const now = Date.now();
    const pending = (retryAfterMs: number) => ({ state: 'pending', retryAfterMs }) as const;
    if (login.pollAt > now) return pending(login.pollAt - now);
    if (!(await this.#deps.vault.takePoll(target.uid, login, now + intervalMs))) return pending(intervalMs);
    const fields = { grant_type: DEVICE_GRANT, device_code: deviceCode, resource: vendor.resource };
    const answer = await this.#ask(target, vendor.tokenEndpoint, fields, client);
    const { error, status } = answer;
    if (error === undefined && status === 200) return this.#finish(target, login, answer);
    if (error === 'authorization_pending' || status >= 500 || status === 429 || error === undefined)
      return pending(Math.max(intervalMs, answer.retryAfterMs ?? 0));
    if (error === 'slow_down') {
      const slower = Math.min(MAX_INTERVAL_MS, intervalMs + INTERVAL_MS);
      await this.#deps.vault.slowDown(
        target.uid,
        login,
        { ...login.details, intervalMs: slower },
        now + slower,
      );
      return pending(slower);
    }
    await this.#end(target, login, error);
    const what = error === 'access_denied' ? 'somebody refused it' : `the vendor ended it (${error})`;
    throw new Refusal('conflict', `the sign-in of ${target.name} is over, ${what}: begin another one`);
  }

  async #finish(
    target: CredentialTarget,
    login: KeptLogin<Details>,
    answer: VendorAnswer,
  ): Promise<LoginProgress> {
    const { vendor, client, url } = login.details;
    const tokens = tokensOf(answer.json, Date.now());
    if (!tokens.ok) {
      await this.#end(target, login, 'malformed');
      throw new Refusal('conflict', `${vendor.issuer} issued no token that can be used: ${tokens.error}`);
    }
    const { issuer, resource, tokenEndpoint } = vendor;
    const scope = tokens.value.scope ?? vendor.scope;
    const grant: Grant = { tokens: { ...tokens.value, scope }, issuer, url, resource, tokenEndpoint, client };
    if (!(await this.#deps.vault.settle(target.uid, login.id, grant)))
      throw new Refusal('conflict', `another sign-in of ${target.name} began meanwhile: finish that one`);
    this.#tell('login.completed', 'ok', target, { flow: login.flow, issuer, scopes: scope });
    this.#deps.onChange(target.name);
    return { state: 'signed_in' };
  }

  async #ask(
    { url, auth }: CredentialTarget,
    endpoint: string,
    fields: Readonly<Record<string, string | undefined>>,
    client: VendorClient,
  ): Promise<VendorAnswer> {
    const origins = [new URL(url).origin, ...auth.allowOrigins];
    const answer = await this.#deps.http.form(endpoint, origins, fields, client);
    if (answer.ok) return answer.value;
    throw new Refusal(
      'conflict',
      `${new URL(endpoint).origin} ${answer.error}; the sign-in goes on, try again`,
    );
  }

  async #end(target: CredentialTarget, { id, flow }: KeptLogin<Details>, reason: string): Promise<void> {
    await this.#deps.vault.endLogin(target.uid, id);
    this.#tell('login.failed', 'error', target, { flow, reason });
  }

  #tell(
    event: 'login.started' | 'login.completed' | 'login.failed' | 'login.ended',
    outcome: 'ok' | 'error',
    { name }: CredentialTarget,
    detail: Record<string, unknown>,
  ): void {
    const { audit } = this.#deps;
    audit.record({ event, outcome, ...audit.origin(), server: name, detail });
  }
}

function refuseMissing({ name, auth }: CredentialTarget, vendor: Vendor, flow: Flow): void {
  const { authorizationEndpoint, deviceAuthorizationEndpoint } = vendor;
  if (flow === 'device' && deviceAuthorizationEndpoint === undefined) {
    const fix = auth.custom
      ? 'set auth.deviceAuthorizationEndpoint, or use --paste'
      : 'the vendor offers none, use --paste';
    throw new Refusal('conflict', `server "${name}" has no device endpoint: ${fix}`);
  }
  if (flow === 'paste' && authorizationEndpoint === undefined) {
    const fix = auth.custom ? 'set auth.authorizationEndpoint; ' : '';
    throw new Refusal(
      'conflict',
      `server "${name}" has no authorization endpoint: ${fix}device endpoint present: use --device`,
    );
  }
}

function pasteLogin(
  { url: server }: CredentialTarget,
  vendor: Vendor,
  client: VendorClient,
  redirectUri: string,
): KeptLogin<Details> {
  const state = randomBytes(32).toString('base64url');
  const verifier = randomBytes(48).toString('base64url');
  const url = new URL(vendor.authorizationEndpoint ?? '');
  const asked = {
    ...{ response_type: 'code', client_id: client.id, redirect_uri: redirectUri, state },
    code_challenge: createHash('sha256').update(verifier).digest('base64url'),
    code_challenge_method: 'S256',
    ...{ scope: vendor.scope, resource: vendor.resource, ...vendor.parameters },
    // OpenID Connect providers give offline access only where consent is asked for.
    ...(vendor.scope?.split(' ').includes('offline_access') && { prompt: 'consent' }),
  };
  for (const [name, value] of Object.entries(asked))
    if (value !== undefined) url.searchParams.set(name, value);
  return {
    id: randomUUID(),
    flow: 'paste',
    details: {
      step: { url: url.href, redirectUri },
      vendor: kept(vendor),
      client,
      url: server,
      state,
      verifier,
    },
    pollAt: 0,
    expiresAt: Date.now() + PASTE_MS,
  };
}

function kept({ issuer, namesItself, tokenEndpoint, resource, scope }: Vendor): Details['vendor'] {
  return { issuer, namesItself, tokenEndpoint, resource, scope };
}

function stepOf({ flow, details, expiresAt }: KeptLogin<Details>): LoginStep {
  return { flow, ...details.step, expiresAt: new Date(expiresAt).toISOString() };
}

/** The code in the address that a browser came back to. @throws Refusal `invalid`: the sign-in goes on */
function codeOf(text: string, details: Details): { code: string } | { denied: string } {
  const { step, state, vendor } = details;
  const wrong = (message: string) => new Refusal('invalid', `url: ${message}`);
  const url = text.length > MAX_TEXT ? null : URL.parse(text.trim());
  if (!url || !/^https?:$/.test(url.protocol))
    throw wrong(
      'is no address: paste the whole of it, not the code alone, for its state says that it is the answer to this sign-in',
    );
  const expected = new URL(step.redirectUri ?? '');
  if (url.origin !== expected.origin || url.pathname !== expected.pathname)
    throw wrong(`is not where the browser comes back to: its beginning has to be ${step.redirectUri}`);
  const given = (name: string) => {
    const [value, ...more] = url.searchParams.getAll(name);
    if (more.length > 0) throw wrong(`has ${name} twice: paste the address as the browser shows it`);
    return value;
  };
  const [ours, theirs] = [state ?? '', given('state') ?? ''].map((one) =>
    createHash('sha256').update(one).digest('hex'),
  );
  if (ours !== theirs) throw wrong('answers another sign-in (state): paste that of the one begun last');
  const iss = given('iss');
  if (vendor.namesItself === true && iss === undefined)
    throw wrong('does not name its issuer (iss), although the vendor says that it always does');
  if (vendor.namesItself !== undefined && iss !== undefined && iss !== vendor.issuer)
    throw wrong('comes from another issuer (iss) than the one that was asked: do not go on');
  const error = given('error');
  if (error !== undefined) return { denied: error.replace(/[^a-z_]/g, '').slice(0, 64) || 'unnamed' };
  const code = given('code');
  if (!code) throw wrong('has no code: paste the address as the browser shows it after you agreed');
  return { code };
}
