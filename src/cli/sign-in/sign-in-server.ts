import * as oauth from 'oauth4webapi';
import { messageOf } from '../../base/errors.ts';
import type { SignIn } from '../contexts.ts';
import { transportFault } from '../endpoint/endpoint-fault.ts';
import { CommandFailure, Exit, failed } from '../exit.ts';
import { cleanLine } from '../terminal.ts';

/** This command line, as every Castellan knows it: a public client, so it proves itself with nothing. */
const CLIENT: oauth.Client = { client_id: 'castellan-cli' };
const PUBLIC = oauth.None();
/** The REST API, with all that the person may do there. */
const SCOPE = 'api';
const TIMEOUT_MS = 30_000;

/** A sign-in that a browser is to go through. */
export type PendingSignIn = { url: URL; redirectUri: string; state: string; verifier: string };
/** A sign-in that happens on another machine (RFC 8628). */
export type PendingDevice = oauth.DeviceAuthorizationResponse;

/** The authorization server of one Castellan. Every method throws a CommandFailure that names the fault and the fix. */
export class SignInServer {
  readonly #server: oauth.AuthorizationServer;
  readonly #url: URL;

  private constructor(server: oauth.AuthorizationServer, url: URL) {
    this.#server = server;
    this.#url = url;
  }

  static async find(url: URL): Promise<SignInServer> {
    const issuer = new URL(url.origin);
    return answered(url, async () => {
      const response = await oauth.discoveryRequest(issuer, { algorithm: 'oauth2', ...options(url) });
      if (response.status === 404) throw nobodySignsIn(url);
      const text = await response.clone().text();
      const named = nameOf(text);
      if (named !== undefined && named !== url.origin)
        throw failed(`the server calls itself ${cleanLine(named)}: log in there, with that very address`);
      return new SignInServer(await oauth.processDiscoveryResponse(issuer, response), url);
    });
  }

  /** @param redirectUri where this process listens */
  async begin(redirectUri: string): Promise<PendingSignIn> {
    const url = new URL(this.#server.authorization_endpoint ?? '/authorize', this.#url);
    // A desktop opens files and programs as well, and so much a server must not decide.
    if (!url.href.startsWith(`${this.#url.origin}/`))
      throw failed(`${this.#url.origin} leads to another place to sign in; is it a Castellan server?`);
    const state = oauth.generateRandomState();
    const verifier = oauth.generateRandomCodeVerifier();
    const asked = {
      client_id: CLIENT.client_id,
      ...this.#access(),
      response_type: 'code',
      redirect_uri: redirectUri,
      state,
      code_challenge: await oauth.calculatePKCECodeChallenge(verifier),
      code_challenge_method: 'S256',
    };
    for (const [name, value] of Object.entries(asked)) url.searchParams.set(name, value);
    return { url, redirectUri, state, verifier };
  }

  /** @param query what the browser brought back */
  redeem(query: URLSearchParams, { redirectUri, state, verifier }: PendingSignIn): Promise<SignIn> {
    return this.#tokens(async () => {
      const parameters = oauth.validateAuthResponse(this.#server, CLIENT, query, state);
      const response = await oauth.authorizationCodeGrantRequest(
        this.#server,
        CLIENT,
        PUBLIC,
        parameters,
        redirectUri,
        verifier,
        this.#options(),
      );
      return oauth.processAuthorizationCodeResponse(this.#server, CLIENT, response);
    });
  }

  beginDevice(): Promise<PendingDevice> {
    return answered(this.#url, async () => {
      const response = await oauth.deviceAuthorizationRequest(
        this.#server,
        CLIENT,
        PUBLIC,
        this.#access(),
        this.#options(),
      );
      return oauth.processDeviceAuthorizationResponse(this.#server, CLIENT, response);
    });
  }

  /** Whether somebody has decided by now: `wait`, and `slower` where the server wants to be asked less often. */
  async askDevice({ device_code: code }: PendingDevice): Promise<SignIn | 'wait' | 'slower'> {
    try {
      return await this.#tokens(async () => {
        const options = this.#options();
        const response = await oauth.deviceCodeGrantRequest(this.#server, CLIENT, PUBLIC, code, options);
        return oauth.processDeviceCodeResponse(this.#server, CLIENT, response);
      });
    } catch (error) {
      const { cause } = error as CommandFailure;
      if (cause instanceof oauth.ResponseBodyError) {
        if (cause.error === 'authorization_pending') return 'wait';
        if (cause.error === 'slow_down') return 'slower';
      }
      throw error;
    }
  }

  refresh({ refreshToken }: SignIn): Promise<SignIn> {
    return this.#tokens(async () => {
      const options = this.#options();
      const response = await oauth.refreshTokenGrantRequest(
        this.#server,
        CLIENT,
        PUBLIC,
        refreshToken,
        options,
      );
      return oauth.processRefreshTokenResponse(this.#server, CLIENT, response);
    });
  }

  /** Ends the sign-in at the server, its access tokens too. */
  revoke({ refreshToken }: SignIn): Promise<void> {
    return answered(this.#url, async () => {
      const options = this.#options();
      const response = await oauth.revocationRequest(this.#server, CLIENT, PUBLIC, refreshToken, options);
      await oauth.processRevocationResponse(response);
    });
  }

  #access(): { resource: string; scope: string } {
    return { resource: `${this.#server.issuer}/api/v1`, scope: SCOPE };
  }

  #options() {
    return options(this.#url);
  }

  #tokens(ask: () => Promise<oauth.TokenEndpointResponse>): Promise<SignIn> {
    return answered(this.#url, async () => {
      const askedAt = Date.now();
      const { access_token: accessToken, refresh_token: refreshToken, expires_in: seconds } = await ask();
      if (refreshToken === undefined || seconds === undefined)
        throw failed(`${this.#url.origin} gave tokens that cannot be renewed; is it a Castellan server?`);
      return { accessToken, refreshToken, expiresAt: askedAt + seconds * 1000 };
    });
  }
}

function options(url: URL) {
  return {
    signal: AbortSignal.timeout(TIMEOUT_MS),
    // Plain HTTP has an authorization server on loopback alone.
    [oauth.allowInsecureRequests]: url.protocol === 'http:',
  };
}

function nameOf(metadata: string): string | undefined {
  try {
    const { issuer } = JSON.parse(metadata) as { issuer?: unknown };
    return typeof issuer === 'string' ? issuer : undefined;
  } catch {
    return undefined;
  }
}

function nobodySignsIn(url: URL): CommandFailure {
  return failed(
    `nobody signs in at ${url.origin}: log in with a token and --token-from, or give the server an https address`,
  );
}

/** What is refused in the words of the person who waits. */
const REFUSALS: Readonly<Record<string, string>> = {
  access_denied: 'access was refused on the page',
  expired_token: 'nobody entered the code in time: run castellan login again',
  invalid_grant: 'the sign-in has ended: run castellan login again',
};

async function answered<T>(url: URL, ask: () => Promise<T>): Promise<T> {
  try {
    return await ask();
  } catch (error) {
    if (error instanceof CommandFailure) throw error;
    throw Object.assign(failureOf(url, error), { cause: error });
  }
}

function failureOf(url: URL, error: unknown): CommandFailure {
  if (error instanceof oauth.ResponseBodyError || error instanceof oauth.AuthorizationResponseError) {
    const said = REFUSALS[error.error] ?? cleanLine(error.error_description ?? error.error);
    const isAway = error instanceof oauth.ResponseBodyError && (error.status >= 500 || error.status === 429);
    return new CommandFailure(isAway ? Exit.unreachable : Exit.notPermitted, `${url.origin}: ${said}`);
  }
  if (error instanceof oauth.OperationProcessingError || error instanceof oauth.UnsupportedOperationError) {
    const said = `${url.origin} does not answer as an authorization server does: ${cleanLine(messageOf(error))}`;
    return failed(`${said}; is it a Castellan server?`);
  }
  return new CommandFailure(Exit.unreachable, transportFault(url, error, TIMEOUT_MS).message);
}
