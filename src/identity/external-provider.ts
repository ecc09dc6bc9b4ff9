import * as oauth from 'oauth4webapi';
import { Refusal } from '../base/errors.ts';
import type { Sealer } from '../base/seal.ts';
import type { ExternalClaims } from './external-people.ts';

/** How people sign in at somebody else's OpenID provider. */
export type ExternalProviderSettings = {
  issuer: string;
  clientId: string;
  clientSecret: string;
  /** On the button. */
  name: string;
  /** From the provider's groups to ours; empty: groups are ours alone. */
  groups: ReadonlyMap<string, string>;
  /** Claim that lists the groups. */
  groupsClaim: string;
};

/** A sign-in on its way: sealed, and kept by the browser that began it alone. */
type Pending = { state: string; nonce: string; verifier: string; next: string; again: boolean; at: number };

/** `provenAt` is when the person was proven there, ms since 1970; 0 when the provider does not say. */
export type ExternalProof = { claims: ExternalClaims; next: string; state: string; provenAt: number };

const PENDING_MS = 10 * 60_000;
const METADATA_MS = 3_600_000;
const TIMEOUT_MS = 10_000;
const SEAL_PURPOSE = 'external-sign-in';
/** Whoever is asked for a new proof may have given one there this many seconds ago. */
const FRESH_SECONDS = 60;

/**
 * Signs people in at an OpenID provider: authorization code with PKCE, `state`, `nonce` and `iss` (OpenID Connect Core 1.0
 * section 3.1, RFC 9700, RFC 9207). It fetches from the issuer and the endpoints that its metadata names, which the
 * operator trusts.
 */
export class ExternalProvider {
  readonly name: string;
  readonly #settings: ExternalProviderSettings;
  readonly #sealer: Sealer;
  #metadata: { value: Promise<oauth.AuthorizationServer>; until: number } | undefined;

  constructor(settings: ExternalProviderSettings, sealer: Sealer) {
    this.name = settings.name;
    this.#settings = settings;
    this.#sealer = sealer;
  }

  /** Where to send the browser, and what it keeps until it comes back. @throws Refusal `unavailable` */
  async begin(back: string, next: string, again: boolean): Promise<{ url: URL; pending: string }> {
    const server = await this.#server();
    const endpoint = server.authorization_endpoint ?? '';
    const url = URL.parse(endpoint);
    if (!url || !this.#mayUse(url)) throw unusable('its metadata names no authorization endpoint over https');
    const pending: Pending = {
      state: oauth.generateRandomState(),
      nonce: oauth.generateRandomNonce(),
      verifier: oauth.generateRandomCodeVerifier(),
      next,
      again,
      at: Date.now(),
    };
    const wantsGroups = this.#settings.groups.size > 0 && server.scopes_supported?.includes('groups');
    const asked: Record<string, string> = {
      client_id: this.#settings.clientId,
      response_type: 'code',
      redirect_uri: back,
      scope: `openid email profile${wantsGroups ? ' groups' : ''}`,
      state: pending.state,
      nonce: pending.nonce,
      code_challenge: await oauth.calculatePKCECodeChallenge(pending.verifier),
      code_challenge_method: 'S256',
      ...(again && { max_age: String(FRESH_SECONDS) }),
    };
    for (const [name, value] of Object.entries(asked)) url.searchParams.set(name, value);
    return { url, pending: this.#sealer.seal(SEAL_PURPOSE, JSON.stringify(pending)) };
  }

  /**
   * Who came back. @throws Refusal `unauthenticated` when it is not the sign-in that this browser began, or the provider
   * proves nobody; its detail is for the log
   */
  async finish(back: string, query: URLSearchParams, sealed: string): Promise<ExternalProof> {
    const pending = this.#opened(sealed);
    const server = await this.#server();
    const client: oauth.Client = { client_id: this.#settings.clientId };
    try {
      const answer = oauth.validateAuthResponse(server, client, query, pending.state);
      const options = this.#options();
      const response = await oauth.authorizationCodeGrantRequest(
        server,
        client,
        this.#authentication(server),
        answer,
        back,
        pending.verifier,
        options,
      );
      const tokens = await oauth.processAuthorizationCodeResponse(server, client, response, {
        expectedNonce: pending.nonce,
        requireIdToken: true,
        ...(pending.again && { maxAge: FRESH_SECONDS }),
      });
      await oauth.validateApplicationLevelSignature(server, response, options);
      const token = oauth.getValidatedIdTokenClaims(tokens);
      if (!token) throw new Error('no ID token');
      const claims = { ...(await this.#userInfo(server, client, tokens.access_token, token)), ...token };
      const provenAt =
        typeof token.auth_time === 'number' ? Math.min(token.auth_time * 1_000, Date.now()) : 0;
      return { claims: this.#claims(claims, token), next: pending.next, state: pending.state, provenAt };
    } catch (error) {
      throw notProven(reasonOf(error));
    }
  }

  #opened(sealed: string): Pending {
    const opened = this.#sealer.open(SEAL_PURPOSE, sealed);
    const pending = opened.ok ? (JSON.parse(opened.value) as Pending) : undefined;
    if (!pending || Date.now() - pending.at > PENDING_MS) throw notProven('this browser began no sign-in');
    return pending;
  }

  /** Providers differ in what they put into the token itself. */
  async #userInfo(
    server: oauth.AuthorizationServer,
    client: oauth.Client,
    accessToken: string,
    token: oauth.IDToken,
  ): Promise<Record<string, unknown>> {
    const complete = token.email !== undefined && token[this.#settings.groupsClaim] !== undefined;
    if (complete || server.userinfo_endpoint === undefined) return {};
    const response = await oauth.userInfoRequest(server, client, accessToken, this.#options());
    return oauth.processUserInfoResponse(server, client, token.sub, response);
  }

  #claims(claims: Record<string, unknown>, { iss, sub }: oauth.IDToken): ExternalClaims {
    const { email, email_verified: verified, name } = claims;
    const groups = claims[this.#settings.groupsClaim];
    return {
      issuer: iss,
      subject: sub,
      email: typeof email === 'string' && verified === true ? email.toLowerCase() : undefined,
      name: typeof name === 'string' ? name : undefined,
      groups: Array.isArray(groups) ? groups.filter((group) => typeof group === 'string') : [],
    };
  }

  #authentication(server: oauth.AuthorizationServer): oauth.ClientAuth {
    const methods = server.token_endpoint_auth_methods_supported ?? ['client_secret_basic'];
    const { clientSecret } = this.#settings;
    return methods.includes('client_secret_basic')
      ? oauth.ClientSecretBasic(clientSecret)
      : oauth.ClientSecretPost(clientSecret);
  }

  async #server(): Promise<oauth.AuthorizationServer> {
    const now = performance.now();
    if (!this.#metadata || this.#metadata.until <= now) {
      const value = this.#discover();
      this.#metadata = { value, until: now + METADATA_MS };
      value.catch(() => {
        if (this.#metadata?.value === value) this.#metadata = undefined;
      });
    }
    return this.#metadata.value;
  }

  async #discover(): Promise<oauth.AuthorizationServer> {
    const issuer = new URL(this.#settings.issuer);
    try {
      const response = await oauth.discoveryRequest(issuer, this.#options());
      return await oauth.processDiscoveryResponse(issuer, response);
    } catch (error) {
      throw unusable(reasonOf(error));
    }
  }

  #options() {
    return {
      signal: () => AbortSignal.timeout(TIMEOUT_MS),
      [oauth.allowInsecureRequests]: this.#settings.issuer.startsWith('http:'),
    };
  }

  #mayUse({ protocol }: URL): boolean {
    return protocol === 'https:' || (protocol === 'http:' && this.#settings.issuer.startsWith('http:'));
  }
}

/** What a stranger wrote is neither shown nor logged. */
function reasonOf(error: unknown): string {
  if (error instanceof oauth.AuthorizationResponseError)
    return `the provider answered ${shortCode(error.error)}`;
  if (error instanceof oauth.ResponseBodyError)
    return `its token endpoint answered ${shortCode(error.error)}`;
  if (error instanceof Refusal) return error.message;
  return error instanceof Error ? error.message.slice(0, 200) : 'unknown';
}

const shortCode = (text: string) => (/^[a-z_]{1,40}$/.test(text) ? text : 'an error');

function notProven(detail: string): Refusal {
  return new Refusal('unauthenticated', 'the sign-in did not come to its end: start again', detail);
}

function unusable(detail: string): Refusal {
  return new Refusal('unavailable', 'the provider for signing in cannot be used now', detail);
}
