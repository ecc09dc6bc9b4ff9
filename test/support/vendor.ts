import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { text } from 'node:stream/consumers';
import { Provider } from 'oidc-provider';

/** Names who sits at a browser; without it Ann does. */
const ACCOUNT = 'x-account';

/**
 * A vendor on one origin: an MCP server that takes tokens alone, and the authorization server that issues them, which
 * is oidc-provider with refresh tokens that rotate. Whoever asks is signed in and agrees.
 */
export class Vendor implements AsyncDisposable {
  readonly origin: string;
  readonly provider: Provider;
  /** Bodies of the requests to the token endpoint. */
  readonly exchanges: URLSearchParams[] = [];
  /** Tokens that MCP requests came with. */
  readonly presented: (string | undefined)[] = [];
  /** Every code, token and secret that was given out. */
  readonly issued = new Set<string>();
  /** Seconds that a token lives. */
  lifeSeconds = 3_600;
  /** Answers a request to the token endpoint instead of the provider, if it wants to. */
  lie: ((form: URLSearchParams, res: ServerResponse) => boolean | Promise<boolean>) | undefined;
  /** Holds an answer of the token endpoint back: what it says is done. */
  answered: ((form: URLSearchParams) => Promise<void>) | undefined;
  /** How long a refresh token that was replaced counts again, seconds; another use after that ends the grant. */
  graceSeconds = 0;
  /** Changes what the provider says of itself. */
  metadata: (metadata: Record<string, unknown>) => void = () => {};
  readonly #server: Server;

  private constructor(server: Server) {
    this.#server = server;
    this.origin = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
    this.provider = this.#newProvider();
    server.on('request', (req, res) => void this.#serve(req, res));
  }

  static async start(): Promise<Vendor> {
    const server = createServer().listen(0, '127.0.0.1');
    await once(server, 'listening');
    return new Vendor(server);
  }

  get url(): string {
    return `${this.origin}/mcp`;
  }

  get refreshes(): number {
    return this.exchanges.filter((form) => form.get('grant_type') === 'refresh_token').length;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise((resolve) => this.#server.close(resolve));
  }

  /** Goes to an address as a browser would, and answers where it is sent in the end, outside of the vendor. */
  async visit(address: string, account = 'ann'): Promise<string> {
    const url = await visited(address, this.origin, account);
    this.#remember(new URL(url).searchParams.get('code'));
    return url;
  }

  /** Agrees to what a device asks for. */
  async agree(userCode: string): Promise<void> {
    const { DeviceCode, Grant } = this.provider;
    const code = await DeviceCode.findByUserCode(userCode.replace(/[^A-Z0-9]/gi, '').toUpperCase());
    assert.ok(code, 'there is such a code');
    const grant = new Grant({ accountId: 'ann', clientId: String(code.clientId) });
    grant.addOIDCScope('openid offline_access mcp');
    grant.addResourceScope(this.url, 'mcp');
    const grantId = await grant.save();
    const more = { accountId: 'ann', grantId, authTime: Math.floor(Date.now() / 1_000), claims: {} };
    Object.assign(code, more, { scope: 'openid offline_access mcp', resource: this.url });
    await code.save();
  }

  #remember(secret: unknown): void {
    if (typeof secret === 'string') this.issued.add(secret);
  }

  async #serve(req: IncomingMessage, res: ServerResponse): Promise<void> {
    const { pathname } = new URL(req.url ?? '/', this.origin);
    if (pathname === '/mcp') return this.#mcp(req, res);
    if (pathname === '/.well-known/oauth-protected-resource/mcp')
      return send(res, {
        resource: this.url,
        authorization_servers: [this.origin],
        scopes_supported: ['mcp'],
      });
    if (pathname.startsWith('/interaction/')) return this.#agree(req, res);
    if (pathname === '/token') {
      const body = await text(req);
      const form = new URLSearchParams(body);
      this.exchanges.push(form);
      if (await this.lie?.(form, res)) return;
      if (this.answered) holdBack(res, () => this.answered?.(form));
      for (const name of ['code_verifier', 'refresh_token', 'device_code']) this.#remember(form.get(name));
      Object.assign(req, { body: Object.fromEntries(form) });
    }
    this.#rewritten(pathname, res);
    await this.provider.callback()(req, res);
  }

  /** Reads what the provider answers, and changes what it says of itself. */
  #rewritten(pathname: string, res: ServerResponse): void {
    const end = res.end.bind(res);
    res.end = ((chunk?: unknown) => {
      const body = Buffer.isBuffer(chunk) || typeof chunk === 'string' ? String(chunk) : '';
      if (!body.startsWith('{')) return chunk === undefined ? end() : end(chunk);
      const said = JSON.parse(body) as Record<string, unknown>;
      if (pathname.startsWith('/.well-known/')) this.metadata(said);
      for (const name of ['access_token', 'refresh_token', 'client_secret', 'device_code'])
        this.#remember(said[name]);
      const changed = JSON.stringify(said);
      res.setHeader('content-length', Buffer.byteLength(changed));
      return end(changed);
    }) as typeof res.end;
  }

  async #agree(req: IncomingMessage, res: ServerResponse): Promise<void> {
    const details = await this.provider.interactionDetails(req, res);
    const accountId = String(req.headers[ACCOUNT]);
    if (details.prompt.name === 'login')
      return this.provider.interactionFinished(req, res, { login: { accountId } });
    const grant = new this.provider.Grant({ accountId, clientId: String(details.params.client_id) });
    grant.addOIDCScope('openid offline_access mcp');
    grant.addResourceScope(this.url, 'mcp');
    await this.provider.interactionFinished(
      req,
      res,
      { consent: { grantId: await grant.save() } },
      { mergeWithLastSubmission: true },
    );
  }

  async #mcp(req: IncomingMessage, res: ServerResponse): Promise<void> {
    const body = await text(req);
    const token = /^Bearer (\S+)$/.exec(req.headers.authorization ?? '')?.[1];
    const found = token === undefined ? undefined : await this.provider.AccessToken.find(token);
    if (token === undefined || !found) {
      const metadata = `${this.origin}/.well-known/oauth-protected-resource/mcp`;
      res.setHeader('www-authenticate', `Bearer resource_metadata="${metadata}", scope="mcp"`);
      return send(res, { error: 'invalid_token' }, 401);
    }
    this.presented.push(token);
    if (req.method !== 'POST') return send(res, {}, 405);
    const { id, method } = JSON.parse(body) as { id?: unknown; method: string };
    const results: Record<string, object> = {
      'server/discover': { supportedVersions: ['2026-07-28'], capabilities: { tools: {} } },
      'tools/list': { tools: [{ name: 'echo', inputSchema: { type: 'object' } }] },
      'tools/call': { content: [{ type: 'text', text: `done for ${found.accountId}` }] },
    };
    const result = { resultType: 'complete', ...results[method] };
    send(res, { jsonrpc: '2.0', id, result });
  }

  #newProvider(): Provider {
    const provider = new Provider(this.origin, {
      scopes: ['openid', 'offline_access', 'mcp'],
      cookies: { keys: ['test'] },
      features: {
        devInteractions: { enabled: false },
        deviceFlow: { enabled: true },
        registration: { enabled: true },
        revocation: { enabled: true },
        resourceIndicators: {
          enabled: true,
          useGrantedResource: () => true,
          getResourceServerInfo: () => ({
            scope: 'mcp',
            audience: this.url,
            accessTokenTTL: this.lifeSeconds,
            accessTokenFormat: 'opaque',
          }),
        },
      },
      findAccount: (_ctx, id) => ({ accountId: id, claims: () => ({ sub: id }) }),
      interactions: { url: (_ctx, interaction) => `/interaction/${interaction.uid}` },
      issueRefreshToken: (_ctx, client) => client.grantTypeAllowed('refresh_token'),
      rotateRefreshToken: true,
    });
    const { adapter } = provider.RefreshToken as unknown as { adapter: { find(id: string): Promise<Kept> } };
    const find = adapter.find.bind(adapter);
    adapter.find = async (id) => {
      const kept = await find(id);
      const forgiven = kept?.consumed && Date.now() / 1_000 - kept.consumed < this.graceSeconds;
      return forgiven ? { ...kept, consumed: undefined } : kept;
    };
    return provider;
  }
}

type Kept = { consumed?: number | undefined } | undefined;

/** Goes to an address of a vendor as a browser would, and answers where it is sent in the end. */
export async function visited(address: string, origin: string, account: string): Promise<string> {
  const cookies = new Map<string, string>();
  let url = address;
  for (let step = 0; step < 10; step += 1) {
    const cookie = [...cookies].map(([name, value]) => `${name}=${value}`).join('; ');
    const response = await fetch(url, { redirect: 'manual', headers: { cookie, [ACCOUNT]: account } });
    for (const line of response.headers.getSetCookie()) {
      const [, name = '', value = ''] = /^([^=]+)=([^;]*)/.exec(line) ?? [];
      cookies.set(name, value);
    }
    const location = response.headers.get('location');
    assert.ok(location, `${url} answered ${response.status}: ${await response.text()}`);
    url = new URL(location, url).href;
    if (!url.startsWith(origin)) return url;
  }
  throw new Error(`${address} leads nowhere`);
}

function holdBack(res: ServerResponse, until: () => Promise<void> | undefined): void {
  const end = res.end.bind(res) as (...args: unknown[]) => ServerResponse;
  res.end = ((...args: unknown[]) => {
    void Promise.resolve(until()).then(() => end(...args));
    return res;
  }) as typeof res.end;
}

function send(res: ServerResponse, value: object, status = 200): void {
  res.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(value));
}
