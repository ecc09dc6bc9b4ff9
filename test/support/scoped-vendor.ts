import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { text } from 'node:stream/consumers';

type Denial = { status: number; error?: string };

/**
 * A vendor on one origin whose tools want scopes: `read` wants base, `write` wants write, `never` wants a scope that no
 * token is good enough for. Whoever asks at its authorization endpoint agrees; tokens have the scopes that were asked for.
 */
export class ScopedVendor implements AsyncDisposable {
  readonly origin: string;
  /** Bodies of the requests to the token endpoint, with their `Authorization`. */
  readonly exchanges: { form: URLSearchParams; proof: string | undefined }[] = [];
  /** Names of tools, and the scopes of the token that the call came with. */
  readonly calls: { tool: string; scopes: string[] }[] = [];
  /** Paths of all other requests. */
  readonly paths: string[] = [];
  /** What it says of itself beside the defaults. */
  metadata: Record<string, unknown> = {};
  resource: Record<string, unknown> = {};
  /** Where it says that its resource is described. */
  described: string | undefined;
  /** Where requests for these paths are sent instead. */
  readonly redirects = new Map<string, string>();
  /** Refuses a request to the token endpoint, if it wants to. */
  deny: (form: URLSearchParams) => Denial | undefined = () => undefined;
  lifeSeconds = 3_600;
  readonly #tokens = new Map<string, string[]>();
  readonly #codes = new Map<string, string>();
  readonly #server: Server;

  private constructor(server: Server) {
    this.#server = server;
    this.origin = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
    server.on('request', (req, res) => void this.#serve(req, res));
  }

  static async start(): Promise<ScopedVendor> {
    const server = createServer().listen(0, '127.0.0.1');
    await once(server, 'listening');
    return new ScopedVendor(server);
  }

  get url(): string {
    return `${this.origin}/mcp`;
  }

  /** No token counts any more. */
  revokeAll(): void {
    this.#tokens.clear();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise((resolve) => this.#server.close(resolve));
  }

  async #serve(req: IncomingMessage, res: ServerResponse): Promise<void> {
    const url = new URL(req.url ?? '/', this.origin);
    const body = await text(req);
    if (url.pathname === '/mcp') return this.#mcp(req, body, res);
    if (url.pathname === '/token') return this.#token(req, new URLSearchParams(body), res);
    this.paths.push(url.pathname);
    const elsewhere = this.redirects.get(url.pathname);
    if (elsewhere !== undefined) {
      res.writeHead(307, { location: elsewhere }).end();
      return;
    }
    if (url.pathname === '/.well-known/oauth-protected-resource/mcp')
      return send(res, { resource: this.url, authorization_servers: [this.origin], ...this.resource });
    if (url.pathname === '/.well-known/oauth-authorization-server')
      return send(res, {
        issuer: this.origin,
        authorization_endpoint: `${this.origin}/authorize`,
        token_endpoint: `${this.origin}/token`,
        registration_endpoint: `${this.origin}/register`,
        code_challenge_methods_supported: ['S256'],
        token_endpoint_auth_methods_supported: ['none', 'client_secret_basic', 'client_secret_post'],
        authorization_response_iss_parameter_supported: true,
        ...this.metadata,
      });
    if (url.pathname === '/register') return send(res, { client_id: 'registered' }, 201);
    if (url.pathname !== '/authorize') return send(res, {}, 404);
    const back = new URL(url.searchParams.get('redirect_uri') ?? '');
    const code = randomUUID();
    this.#codes.set(code, url.searchParams.get('scope') ?? '');
    const answer = { code, state: url.searchParams.get('state') ?? '', iss: this.origin };
    for (const [name, value] of Object.entries(answer)) back.searchParams.set(name, value);
    res.writeHead(302, { location: back.href }).end();
  }

  #token(req: IncomingMessage, form: URLSearchParams, res: ServerResponse): void {
    this.exchanges.push({ form, proof: req.headers.authorization });
    const denial = this.deny(form);
    if (denial) {
      send(res, denial.error ? { error: denial.error } : {}, denial.status);
      return;
    }
    const scope = form.get('scope') ?? this.#codes.get(form.get('code') ?? '') ?? '';
    const token = randomUUID();
    this.#tokens.set(token, scope.split(' '));
    send(res, { access_token: token, token_type: 'Bearer', expires_in: this.lifeSeconds, scope });
  }

  async #mcp(req: IncomingMessage, body: string, res: ServerResponse): Promise<void> {
    const scopes = this.#tokens.get(/^Bearer (\S+)$/.exec(req.headers.authorization ?? '')?.[1] ?? '');
    const challenge = (text: string, status: number) => {
      const metadata = this.described ?? `${this.origin}/.well-known/oauth-protected-resource/mcp`;
      res.setHeader('www-authenticate', `Bearer ${text}, resource_metadata="${metadata}"`);
      send(res, {}, status);
    };
    if (!scopes) return challenge('scope="base"', 401);
    if (req.method !== 'POST') return send(res, {}, 405);
    const { id, method, params } = JSON.parse(body) as {
      id?: unknown;
      method: string;
      params?: { name?: string };
    };
    const tool = params?.name ?? '';
    if (method === 'tools/call') {
      this.calls.push({ tool, scopes });
      const wanted = tool === 'read' ? 'base' : tool;
      if (tool === 'never' || !scopes.includes(wanted))
        return challenge(`error="insufficient_scope", scope="${wanted}"`, 403);
    }
    const tools = ['read', 'write', 'never'].map((name) => ({ name, inputSchema: { type: 'object' } }));
    const results: Record<string, object> = {
      'server/discover': { supportedVersions: ['2026-07-28'], capabilities: { tools: {} } },
      'tools/list': { tools },
      'tools/call': { content: [{ type: 'text', text: 'done' }] },
    };
    send(res, { jsonrpc: '2.0', id, result: { resultType: 'complete', ...results[method] } });
  }
}

function send(res: ServerResponse, value: object, status = 200): void {
  res.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(value));
}
