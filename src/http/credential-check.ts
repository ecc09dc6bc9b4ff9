import type { IncomingMessage } from 'node:http';
import { sha256Hex } from '../base/ids.ts';
import type { Authenticator } from '../identity/authenticator.ts';
import type { AuthenticatedCaller } from '../identity/caller.ts';
import type { AuthenticationError } from '../identity/tokens.ts';
import type { AddressLimiter } from '../limits/address-limiter.ts';
import type { RequestAddresses } from './request-addresses.ts';

/** Whom a caller wants to act as: `User:…` or `McpToken:…`. */
const AS_HEADER = 'castellan-as';

export type Checked =
  | { ok: true; value: AuthenticatedCaller }
  | { ok: false; error: AuthenticationError }
  /** Nobody looked at the credential: too many wrong ones came from there. */
  | { ok: false; error: 'too many'; retryAfterSeconds: number };

/** Checks credentials as they come from the network: each address may be wrong only so often. */
export class CredentialCheck {
  readonly #authenticator: Authenticator;
  readonly #addresses: RequestAddresses;
  readonly #limiter: AddressLimiter;

  constructor(authenticator: Authenticator, addresses: RequestAddresses, limiter: AddressLimiter) {
    this.#authenticator = authenticator;
    this.#addresses = addresses;
    this.#limiter = limiter;
  }

  /** Who made the request, when that was proven a moment ago; undefined means: ask `check`. */
  known(req: IncomingMessage, raw: string): AuthenticatedCaller | undefined {
    return req.headers[AS_HEADER] === undefined ? this.#authenticator.peek(raw) : undefined;
  }

  /** Rejects with a Refusal `unavailable` alone, when the database is away. */
  async check(req: IncomingMessage, raw: string): Promise<Checked> {
    const address = this.#addresses.network(req);
    const wait = this.#limiter.wait(address, () => sha256Hex(raw));
    if (wait !== undefined)
      return { ok: false, error: 'too many', retryAfterSeconds: Math.ceil(wait / 1_000) };
    const found = await this.#authenticator.authenticate(raw);
    if (found.ok) this.#limiter.right(sha256Hex(raw));
    else this.#limiter.wrong(address);
    return found;
  }

  /** Who makes the request, asked once more while it is served: nobody guesses there, so no address is counted. */
  async again(req: IncomingMessage, raw: string): Promise<AuthenticatedCaller | undefined> {
    const found = await this.#authenticator.authenticate(raw);
    return found.ok ? this.acting(req, found.value) : undefined;
  }

  /** The caller as whom the request is made. Rejects with a Refusal that says why not as somebody else. */
  async acting({ headers }: IncomingMessage, caller: AuthenticatedCaller): Promise<AuthenticatedCaller> {
    const as = headers[AS_HEADER];
    return as === undefined ? caller : this.#authenticator.impersonate(caller, String(as));
  }
}
