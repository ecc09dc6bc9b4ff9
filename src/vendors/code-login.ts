import { createHash, randomBytes, randomUUID } from 'node:crypto';
import { Refusal } from '../base/errors.ts';
import type { VendorClient } from './client-proof.ts';
import type { Vendor } from './discovery.ts';
import type { Flow, KeptLogin } from './grants.ts';

/** What a person needs to go on. */
export type LoginStep = {
  /** Of this sign-in: others may be under way beside it. */
  id: string;
  flow: Flow;
  /** To be opened in a browser; anywhere, unless the flow is `browser`. */
  url: string;
  /** To be typed or compared there. */
  userCode?: string;
  /** Where the browser comes back to, whether it gets there or not. */
  redirectUri?: string;
  /** ISO 8601. */
  expiresAt: string;
};

/** What is still needed of a vendor once a sign-in has begun. */
const KEPT = ['issuer', 'namesItself', 'tokenEndpoint', 'revocationEndpoint', 'resource', 'scope'] as const;

/** What is kept of a sign-in under way, sealed. */
export type LoginDetails = {
  step: Omit<LoginStep, 'id' | 'flow' | 'expiresAt'>;
  vendor: Pick<Vendor, (typeof KEPT)[number]>;
  client: VendorClient;
  /** Of the server. */
  url: string;
  /** Of the device, or of the code. */
  deviceCode?: string;
  intervalMs?: number;
  state?: string;
  verifier?: string;
  /** The browser that alone may come back with the answer. */
  browser?: string | undefined;
};

export type UnderWay = KeptLogin<LoginDetails>;

const CODE_MS = 30 * 60_000;
const MAX_TEXT = 8 * 1024;
const ERROR_CODE = /^[a-z_]{1,64}$/;

export function keptOf(vendor: Vendor): LoginDetails['vendor'] {
  return Object.fromEntries(KEPT.map((name) => [name, vendor[name]])) as LoginDetails['vendor'];
}

/** A sign-in by an address that a browser comes back to (RFC 6749 section 4.1, RFC 7636). */
export function codeLogin(
  flow: Flow,
  server: string,
  vendor: Vendor,
  {
    client,
    redirectUri,
    browser,
  }: { client: VendorClient; redirectUri: string; browser: string | undefined },
): UnderWay {
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
  const step = { url: url.href, redirectUri };
  const details = { step, vendor: keptOf(vendor), client, url: server, state, verifier, browser };
  return { id: randomUUID(), flow, details, pollAt: 0, expiresAt: Date.now() + CODE_MS };
}

/**
 * The address that a browser came back to, and the sign-in that it answers.
 * @throws Refusal `invalid`: every sign-in goes on
 */
export function answeredLogin(text: string, logins: readonly UnderWay[]): { url: URL; login: UnderWay } {
  const url = text.length > MAX_TEXT ? null : URL.parse(text.trim());
  if (!url || !/^https?:$/.test(url.protocol))
    throw wrong(
      'is no address: paste the whole of it, not the code alone, for its state says that it is the answer to this sign-in',
    );
  const state = digest(one(url, 'state') ?? '');
  const login = logins.find(({ details }) => details.state !== undefined && digest(details.state) === state);
  if (!login) throw wrong('answers another sign-in (state): paste the address that this one came back to');
  return { url, login };
}

/** The code in the answer to a sign-in. @throws Refusal `invalid`: the sign-in goes on */
export function codeIn(url: URL, { step, vendor }: LoginDetails): { code: string } | { denied: string } {
  const expected = new URL(step.redirectUri ?? '');
  if (url.origin !== expected.origin || url.pathname !== expected.pathname)
    throw wrong(`is not where the browser comes back to: its beginning has to be ${step.redirectUri}`);
  const iss = one(url, 'iss');
  if (vendor.namesItself === true && iss === undefined)
    throw wrong('does not name its issuer (iss), although the vendor says that it always does');
  if (vendor.namesItself !== undefined && iss !== undefined && iss !== vendor.issuer)
    throw wrong('comes from another issuer (iss) than the one that was asked: do not go on');
  const error = one(url, 'error');
  if (error !== undefined) return { denied: ERROR_CODE.test(error) ? error : 'unnamed' };
  const code = one(url, 'code');
  if (!code) throw wrong('has no code: paste the address as the browser shows it after you agreed');
  return { code };
}

function one(url: URL, name: string): string | undefined {
  const [value, ...more] = url.searchParams.getAll(name);
  if (more.length > 0) throw wrong(`has ${name} twice: paste the address as the browser shows it`);
  return value;
}

/** Compared instead of the texts, so that the time it takes tells nothing of them. */
const digest = (text: string) => createHash('sha256').update(text).digest('hex');
const wrong = (message: string) => new Refusal('invalid', `url: ${message}`);
