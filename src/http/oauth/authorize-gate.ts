import type { IncomingMessage } from 'node:http';
import { KeyedRate } from '../../limits/keyed-rate.ts';
import { documentUrl } from '../../oauth/client-document.ts';
import type { ClientSource } from '../../oauth/clients.ts';

/** Codes that one client may get with nobody at a browser: for one network, and for all, since anybody may ask. */
const CODES = { calls: 60, perMs: 60_000 };
const CODES_OF_ALL = { calls: 600, perMs: 60_000 };
/**
 * Requests that wait for a person, from one network with nobody signed in: there is room for so many, and the oldest give
 * way, which must not be those of everybody else.
 */
const WAITING = { calls: 300, perMs: 600_000 };

export type GateDeps = {
  readonly clients: ClientSource;
  /** Whether somebody is signed in at the browser that asks. */
  isSignedIn(req: IncomingMessage): Promise<boolean>;
  /** Whose request it is, as limits count. */
  networkOf(req: IncomingMessage): string;
};

export type Detour = { signIn: string } | { waitSeconds: number };

/** What comes before a request for a code is looked at. */
export class AuthorizeGate {
  readonly #deps: GateDeps;
  readonly #codes = new KeyedRate(CODES, () => performance.now());
  readonly #codesOfAll = new KeyedRate(CODES_OF_ALL, () => performance.now());
  readonly #waiting = new KeyedRate(WAITING, () => performance.now());

  constructor(deps: GateDeps) {
    this.#deps = deps;
  }

  /**
   * A client whose id is the address of a document is looked at for a person alone, who therefore signs in first; one
   * that needs no person gets only so many codes. Undefined: go on.
   */
  async detour(req: IncomingMessage): Promise<Detour | undefined> {
    const { pathname, searchParams } = new URL(req.url ?? '/', 'http://localhost');
    const network = this.#deps.networkOf(req);
    if (pathname === '/device_authorization') return waitOf(this.#waiting.take(network));
    const clientId = searchParams.get('client_id');
    if (pathname !== '/authorize' || clientId === null) return undefined;
    if (documentUrl(clientId)) {
      if (await this.#deps.isSignedIn(req)) return undefined;
      return { signIn: `/sign-in?next=${encodeURIComponent(req.url ?? '/')}` };
    }
    if ((await this.#deps.clients.find(clientId, { mayFetch: false }))?.autoApprove)
      return waitOf(this.#codes.take(`${clientId} ${network}`) ?? this.#codesOfAll.take(clientId));
    return (await this.#deps.isSignedIn(req)) ? undefined : waitOf(this.#waiting.take(network));
  }
}

function waitOf(ms: number | undefined): Detour | undefined {
  return ms === undefined ? undefined : { waitSeconds: Math.ceil(ms / 1000) };
}
