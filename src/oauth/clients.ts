/** How a client proves itself at the token endpoint (RFC 7591 section 2). */
export type ClientAuthMethod = 'none' | 'client_secret_basic' | 'client_secret_post' | 'private_key_jwt';

/** What a client is, wherever it is kept. */
export type ClientRecord = {
  clientId: string;
  name: string;
  source: 'registered' | 'metadata-document' | 'dynamic' | 'built-in';
  /** Exact; of a loopback one (RFC 8252 section 7.3) the port may vary. */
  redirectUris: readonly string[];
  tokenEndpointAuthMethod: ClientAuthMethod;
  /** SHA-256 of each secret, hex; several while a rotation overlaps. `expiresAt` in ms since 1970. */
  secretHashes?: readonly { hash: string; expiresAt?: number }[];
  /** JSON Web Key Set for `private_key_jwt`; whoever finds the client has fetched it where it lies elsewhere. */
  jwks?: { keys: readonly Record<string, unknown>[] };
  /** As in RFC 7591: `authorization_code`, `refresh_token`, `client_credentials`, the device grant's URN. */
  grantTypes: readonly string[];
  /** E-mail of the user that it acts for without one at the browser: client credentials and `autoApprove`. */
  user?: string;
  /** Name of the one project that it may ask for; undefined: any. */
  project?: string;
  /** Scopes that it may ask for; undefined: any. */
  scopes?: readonly string[];
  autoApprove?: boolean;
  applicationType?: 'native' | 'web';
};

export type ClientLookUp = {
  /** A person is signed in at the browser that asks: only then may a look-up leave this machine. */
  mayFetch: boolean;
};

/** One place where clients are kept. */
export interface ClientSource {
  /** Undefined: not one of these. A client that must not be used now is none. */
  find(clientId: string, lookUp: ClientLookUp): Promise<ClientRecord | undefined>;
}

/** All clients: the sources are asked in turn, and the first that knows an id has it. */
export class Clients implements ClientSource {
  readonly #sources: readonly ClientSource[];

  constructor(sources: readonly ClientSource[]) {
    this.#sources = sources;
  }

  async find(clientId: string, lookUp: ClientLookUp): Promise<ClientRecord | undefined> {
    for (const source of this.#sources) {
      const found = await source.find(clientId, lookUp);
      if (found) return found;
    }
    return undefined;
  }
}
