const LOOPBACK_HOST = /^(?:localhost|127(?:\.\d{1,3}){3}|\[::1\])(?::\d{1,5})?$/i;
const LOOPBACK_ORIGIN = /^http:\/\/(?:localhost|127(?:\.\d{1,3}){3}|\[::1\])(?::\d{1,5})?$/;

/**
 * Under which names this server is an issuer (RFC 8414): the public URL, or, on loopback without one, whatever loopback
 * name the client asked for. Plain HTTP for other machines has none: nobody signs in there.
 */
export class Issuers {
  readonly #publicUrl: string | undefined;
  readonly #loopback: boolean;

  /** @param publicUrl an origin */
  constructor({ publicUrl, loopback }: { publicUrl: string | undefined; loopback: boolean }) {
    this.#publicUrl = publicUrl?.startsWith('https:') || loopback ? publicUrl : undefined;
    this.#loopback = loopback;
  }

  /** @param host the Host header of a request that is allowed here; undefined: there is no signing in */
  of(host: string | undefined): string | undefined {
    if (this.#publicUrl !== undefined) return this.#publicUrl;
    return this.#loopback && host !== undefined && LOOPBACK_HOST.test(host)
      ? `http://${host.toLowerCase()}`
      : undefined;
  }

  /** Whether an origin is this server, by any of its names; a port of loopback may be one that is forwarded here. */
  owns(origin: string): boolean {
    return origin === this.#publicUrl || (this.#loopback && LOOPBACK_ORIGIN.test(origin));
  }
}

/**
 * Whether a client that asks an issuer for access to a URL of `origin` asks for this very server. Whatever else listens
 * on loopback must not get tokens of this one by naming it as its authorization server.
 */
export function isSameServer(origin: string, issuer: string): boolean {
  if (origin === issuer) return true;
  const bothLocal = LOOPBACK_ORIGIN.test(origin) && LOOPBACK_ORIGIN.test(issuer);
  return bothLocal && new URL(origin).port === new URL(issuer).port;
}
