import { createHash, generateKeyPairSync, type KeyObject, randomBytes, sign } from 'node:crypto';
import { once } from 'node:events';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { text } from 'node:stream/consumers';

type Claims = Record<string, unknown>;
type Code = { challenge: string; nonce: string; claims: Claims; maxAge: string | null };

/** An OpenID provider that signs in whoever the test says, and lies as the test says. */
export class OracleProvider implements AsyncDisposable {
  /** Who signs in next. */
  claims: Claims = {};
  /** Claims that only the user-info endpoint tells. */
  userInfo: Claims = {};
  /** Changes the parameters that come back to the client. */
  answer: (answer: URLSearchParams) => void = () => {};
  /** Changes the claims of the token. */
  token: (claims: Claims) => void = () => {};
  /** Changes the metadata. */
  metadata: (metadata: Claims) => void = () => {};
  /** Bodies of the requests to the token endpoint. */
  readonly exchanged: URLSearchParams[] = [];
  readonly issuer: string;
  readonly #server: Server;
  readonly #keys: { privateKey: KeyObject; publicKey: KeyObject };
  readonly #codes = new Map<string, Code>();

  private constructor(server: Server) {
    this.#server = server;
    this.issuer = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
    this.#keys = generateKeyPairSync('ec', { namedCurve: 'P-256' });
    server.on('request', (req, res) => void this.#serve(req, res));
  }

  static async start(): Promise<OracleProvider> {
    const server = createServer().listen(0, '127.0.0.1');
    await once(server, 'listening');
    return new OracleProvider(server);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise((resolve) => this.#server.close(resolve));
  }

  async #serve(req: IncomingMessage, res: ServerResponse): Promise<void> {
    const url = new URL(req.url ?? '/', this.issuer);
    const handlers: Record<string, () => unknown> = {
      '/.well-known/openid-configuration': () => this.#metadataNow(),
      '/authorize': () => this.#authorize(url.searchParams, res),
      '/jwks': () => ({
        keys: [{ ...this.#keys.publicKey.export({ format: 'jwk' }), kid: 'k', alg: 'ES256' }],
      }),
      '/userinfo': () => ({ sub: this.claims.sub, ...this.userInfo }),
      '/token': async () => this.#exchange(new URLSearchParams(await text(req))),
    };
    const body = await handlers[url.pathname]?.();
    if (res.headersSent) return;
    res.writeHead(body ? 200 : 400, { 'content-type': 'application/json' });
    res.end(JSON.stringify(body ?? { error: 'invalid_grant', error_description: '<b>canary</b>' }));
  }

  #metadataNow(): Claims {
    const { issuer } = this;
    const metadata = {
      issuer,
      authorization_endpoint: `${issuer}/authorize`,
      token_endpoint: `${issuer}/token`,
      userinfo_endpoint: `${issuer}/userinfo`,
      jwks_uri: `${issuer}/jwks`,
      id_token_signing_alg_values_supported: ['ES256'],
      authorization_response_iss_parameter_supported: true,
    };
    this.metadata(metadata);
    return metadata;
  }

  #authorize(query: URLSearchParams, res: ServerResponse): void {
    const code = randomBytes(16).toString('hex');
    const asked = (name: string) => query.get(name) ?? '';
    const maxAge = query.get('max_age');
    this.#codes.set(code, {
      challenge: asked('code_challenge'),
      nonce: asked('nonce'),
      claims: this.claims,
      maxAge,
    });
    const answer = new URLSearchParams({ code, state: asked('state'), iss: this.issuer });
    this.answer(answer);
    res.writeHead(302, { location: `${asked('redirect_uri')}?${answer}` }).end();
  }

  #exchange(form: URLSearchParams): Claims | undefined {
    this.exchanged.push(form);
    const code = this.#codes.get(form.get('code') ?? '');
    this.#codes.delete(form.get('code') ?? '');
    const hash = createHash('sha256')
      .update(form.get('code_verifier') ?? '')
      .digest('base64url');
    if (!code || hash !== code.challenge) return undefined;
    const now = Math.floor(Date.now() / 1_000);
    const claims: Claims = {
      iss: this.issuer,
      aud: 'castellan',
      iat: now,
      exp: now + 60,
      nonce: code.nonce,
      ...(code.maxAge !== null && { auth_time: now }),
      ...code.claims,
    };
    this.token(claims);
    return { access_token: 'at', token_type: 'Bearer', expires_in: 60, id_token: this.#signed(claims) };
  }

  #signed(claims: Claims): string {
    const part = (value: object) => Buffer.from(JSON.stringify(value)).toString('base64url');
    const text = `${part({ alg: 'ES256', kid: 'k' })}.${part(claims)}`;
    const key = { key: this.#keys.privateKey, dsaEncoding: 'ieee-p1363' } as const;
    return `${text}.${sign('sha256', Buffer.from(text), key).toString('base64url')}`;
  }
}
