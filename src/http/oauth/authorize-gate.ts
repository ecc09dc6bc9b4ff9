import type { IncomingMessage } from 'node:http';
import { KeyedRate } from '../../limits/keyed-rate.ts';
import { documentUrl } from '../../oauth/client-document.ts';
import type { ClientSource } from '../../oauth/clients.ts';

/** Codes that one client may get with nobody at a browser. */
const CODES = { calls: 60, perMs: 60_000 };

export type GateDeps = {
  readonly clients: ClientSource;
  /** Whether somebody is signed in at the browser that asks. */
  isSignedIn(req: IncomingMessage): Promise<boolean>;
};

export type Detour = { signIn: string } | { waitSeconds: number };

/** What comes before a request for a code is looked at. */
export class AuthorizeGate {
  readonly #deps: GateDeps;
  readonly #codes = new KeyedRate(CODES, () => performance.now());

  constructor(deps: GateDeps) {
    this.#deps = deps;
  }

  /**
   * A client whose id is the address of a document is looked at for a person alone, who therefore signs in first; one
   * that needs no person gets only so many codes. Undefined: go on.
   */
  async detour(req: IncomingMessage): Promise<Detour | undefined> {
    const { pathname, searchParams } = new URL(req.url ?? '/', 'http://localhost');
    const clientId = searchParams.get('client_id');
    if (pathname !== '/authorize' || clientId === null) return undefined;
    if (documentUrl(clientId)) {
      if (await this.#deps.isSignedIn(req)) return undefined;
      return { signIn: `/sign-in?next=${encodeURIComponent(req.url ?? '/')}` };
    }
    if (!(await this.#deps.clients.find(clientId, { mayFetch: false }))?.autoApprove) return undefined;
    const wait = this.#codes.take(clientId);
    return wait === undefined ? undefined : { waitSeconds: Math.ceil(wait / 1000) };
  }
}
