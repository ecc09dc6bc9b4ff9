import assert from 'node:assert/strict';
import { createHash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { Audit } from '../../src/audit/audit.ts';
import { sha256Hex } from '../../src/base/ids.ts';
import { OAuthMount } from '../../src/http/oauth/mount.ts';
import type { ClientRecord, ClientSource } from '../../src/oauth/clients.ts';
import { OAuth } from '../../src/oauth/oauth.ts';
import type { Store } from '../../src/store/database.ts';
import { openAudit, type TestDatabase } from './databases.ts';
import { type Identity, openIdentity } from './identity.ts';

export const REDIRECT = 'http://127.0.0.1:9/callback';
const HOUR_MS = 3_600_000;

/** A public client, and one that proves itself with `SECRET`. */
export const SECRET = 'a secret of sufficient length for a test';
const CLIENTS: readonly ClientRecord[] = [
  {
    clientId: 'public',
    name: 'Public client',
    source: 'registered',
    redirectUris: [REDIRECT],
    tokenEndpointAuthMethod: 'none',
    grantTypes: ['authorization_code', 'refresh_token', 'urn:ietf:params:oauth:grant-type:device_code'],
  },
  {
    clientId: 'confidential',
    name: 'Confidential client',
    source: 'registered',
    redirectUris: [REDIRECT],
    tokenEndpointAuthMethod: 'client_secret_post',
    secretHashes: [{ hash: sha256Hex(SECRET) }],
    grantTypes: ['authorization_code', 'refresh_token', 'client_credentials'],
    user: 'alice@example.com',
    project: 'demo',
  },
  {
    clientId: 'native',
    name: 'Native client',
    source: 'registered',
    redirectUris: ['com.example.app:/callback'],
    tokenEndpointAuthMethod: 'none',
    grantTypes: ['authorization_code'],
  },
  ...['javascript:alert(1)', 'data:text/html,x', 'file:///etc/passwd', 'vbscript:x'].map(
    (redirectUri): ClientRecord => ({
      clientId: redirectUri,
      name: 'Hostile client',
      source: 'dynamic',
      redirectUris: [redirectUri],
      tokenEndpointAuthMethod: 'none',
      grantTypes: ['authorization_code'],
    }),
  ),
  {
    clientId: 'headless',
    name: 'Headless client',
    source: 'registered',
    redirectUris: [REDIRECT],
    tokenEndpointAuthMethod: 'client_secret_basic',
    secretHashes: [{ hash: sha256Hex(SECRET) }],
    grantTypes: ['authorization_code', 'refresh_token'],
    user: 'alice@example.com',
    project: 'demo',
    autoApprove: true,
  },
];

export type Tokens = { access_token: string; refresh_token?: string; scope?: string; expires_in: number };
export type Answer = { status: number; headers: Headers; body: Record<string, unknown> };

/**
 * One process of the authorization server on a database, over HTTP. Whoever is named in `x-test-user` is signed in at
 * the browser, and decides on `/sign-in/…` and `/consent/…` as `x-test-decision` says.
 */
export class OAuthRig implements AsyncDisposable {
  readonly identity: Identity;
  readonly oauth: OAuth;
  readonly base: string;
  /** How far its clock is ahead of the real one, ms. */
  readonly clock: { ahead: number };
  readonly store: Store;
  readonly audit: Audit;
  readonly #close: () => Promise<void>;
  #closed: Promise<void> | undefined;

  private constructor(
    parts: Pick<OAuthRig, 'identity' | 'oauth' | 'base' | 'clock' | 'store' | 'audit'>,
    close: () => Promise<void>,
  ) {
    this.identity = parts.identity;
    this.oauth = parts.oauth;
    this.base = parts.base;
    this.clock = parts.clock;
    this.store = parts.store;
    this.audit = parts.audit;
    this.#close = close;
  }

  /** Another process on the same database, where there can be one; `port` as another one had it. */
  static async start(
    database: TestDatabase,
    port = 0,
    more: (store: Store) => readonly ClientSource[] = () => [],
  ): Promise<OAuthRig> {
    const clock = { ahead: 0 };
    const { store, dataDir, close } = await database.open();
    const audit = await openAudit({ store, dataDir });
    const identity = await openIdentity({ store, dataDir }, database.logger);
    const { resources, authorizer, tokens } = identity;
    const browserUser = async ({ headers }: IncomingMessage) => {
      const email = headers['x-test-user'];
      return typeof email === 'string'
        ? { email, sessionId: `of ${email}`, provenAt: Date.now() }
        : undefined;
    };
    const oauth = new OAuth({
      store,
      resources,
      tokens,
      audit,
      logger: database.logger,
      publicUrl: undefined,
      loopback: true,
      authorizer,
      otherClients: [{ find: async (id) => CLIENTS.find((one) => one.clientId === id) }, ...more(store)],
      ways: { dynamic: false, metadataDocuments: false },
      accessTokenTtlMs: HOUR_MS,
      browserUser,
      addressOf: ({ socket }) => socket.remoteAddress ?? '',
      networkOf: ({ socket }) => socket.remoteAddress ?? '',
      errorPage: async (sentence) => sentence,
      now: () => Date.now() + clock.ahead,
    });
    resources.onChange(() => oauth.accessTokens.forget());
    const mount = new OAuthMount(oauth);
    const server = createServer((req, res) => {
      if (!mount.takes(req, res)) void decide(oauth, req, res);
    });
    server.listen(port, '127.0.0.1');
    await once(server, 'listening');
    const base = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
    return new OAuthRig({ identity, oauth, base, clock, store, audit }, async () => {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
      await oauth.close();
      await identity.close();
      await audit.close();
      await close();
    });
  }

  /** The projects and the user that the tests know. */
  async prepare(): Promise<void> {
    const { resources } = this.identity;
    for (const name of ['demo', 'other']) {
      await resources.put({ kind: 'Project', metadata: { name }, spec: { servers: [] } });
    }
    for (const name of ['alice@example.com', 'bob@example.com'])
      await resources.put({ kind: 'User', metadata: { name }, spec: {} });
  }

  get port(): number {
    return Number(new URL(this.base).port);
  }

  /** What the audit has of an event, oldest first. */
  async audited(event: string) {
    const rows = () =>
      this.store.db
        .selectFrom('audit_events')
        .selectAll()
        .where('event', '=', event)
        .orderBy('seq')
        .execute();
    await this.audit.flush();
    const deadline = Date.now() + 5_000;
    let found = await rows();
    while (found.length === 0 && Date.now() < deadline) {
      await new Promise((resolve) => setTimeout(resolve, 20));
      found = await rows();
    }
    return found;
  }

  resource(project = 'demo', surface = ''): string {
    return `${this.base}/projects/${project}/${surface}mcp`;
  }

  get(path: string, headers: Record<string, string> = {}): Promise<Response> {
    return fetch(new URL(path, this.base), { headers, redirect: 'manual' });
  }

  /** Goes through the pages as a browser does, and gives the address that it is sent back to. */
  async authorize(
    query: Record<string, string>,
    { user = 'alice@example.com', decision = 'consent' } = {},
  ): Promise<URL> {
    let next = new URL(`/authorize?${new URLSearchParams(query)}`, this.base);
    const cookies = new Map<string, string>();
    for (let step = 0; step < 8; step += 1) {
      const cookie = [...cookies].map(([name, value]) => `${name}=${value}`).join('; ');
      const headers = { 'x-test-user': user, 'x-test-decision': decision, cookie };
      const answer = await fetch(next, { headers, redirect: 'manual' });
      for (const set of answer.headers.getSetCookie()) {
        const [, name, value] = /^([^=]+)=([^;]*)/.exec(set) ?? [];
        cookies.set(name!, value!);
      }
      const location = answer.headers.get('location');
      assert.ok(location, `${answer.status} ${await answer.text()}`);
      next = new URL(location, this.base);
      if (next.origin !== this.base) return next;
    }
    throw new Error(`it goes round in circles: ${next}`);
  }

  /** A code, and everything that its redemption needs. */
  async code(
    query: Record<string, string> = {},
    as: { user?: string } = {},
  ): Promise<Record<string, string>> {
    const verifier = randomBytes(32).toString('base64url');
    const back = await this.authorize({ ...request(verifier), resource: this.resource(), ...query }, as);
    const code = back.searchParams.get('code');
    assert.ok(code, String(back));
    return {
      grant_type: 'authorization_code',
      code,
      client_id: query.client_id ?? 'public',
      redirect_uri: REDIRECT,
      code_verifier: verifier,
    };
  }

  async post(
    path: string,
    form: Record<string, string>,
    headers: Record<string, string> = {},
  ): Promise<Answer> {
    const answer = await fetch(new URL(path, this.base), {
      method: 'POST',
      body: new URLSearchParams(form),
      headers,
    });
    const text = await answer.text();
    const body = text.startsWith('{') ? (JSON.parse(text) as Record<string, unknown>) : {};
    return { status: answer.status, headers: answer.headers, body };
  }

  async tokens(form: Record<string, string>): Promise<Tokens> {
    const { status, body } = await this.post('/token', form);
    assert.equal(status, 200, JSON.stringify(body));
    return body as unknown as Tokens;
  }

  refresh(refreshToken: string, more: Record<string, string> = {}): Promise<Answer> {
    return this.post('/token', {
      grant_type: 'refresh_token',
      refresh_token: refreshToken,
      client_id: 'public',
      ...more,
    });
  }

  /** Whether the token opens anything now. */
  async opens(accessToken: string): Promise<boolean> {
    return (await this.oauth.accessTokens.authenticate(accessToken)).ok;
  }

  /** Stops it; more than once is no harm. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#closed ??= this.#close();
    await this.#closed;
  }
}

/** A request for a code with everything in it but a resource. */
export function request(verifier: string): Record<string, string> {
  return {
    response_type: 'code',
    client_id: 'public',
    redirect_uri: REDIRECT,
    code_challenge: createHash('sha256').update(verifier).digest('base64url'),
    code_challenge_method: 'S256',
    state: 'as it was',
  };
}

/** What the pages of people do. */
async function decide(oauth: OAuth, req: IncomingMessage, res: ServerResponse): Promise<void> {
  const [, page, uid] = /^\/(sign-in|consent)\/([\w-]+)$/.exec(req.url ?? '') ?? [];
  const { interactions } = await oauth.server();
  const found = uid === undefined ? undefined : await interactions.details(req, res, uid);
  if (!found || uid === undefined) {
    res.writeHead(404).end('no such request');
    return;
  }
  const email = String(req.headers['x-test-user']);
  const decision =
    req.headers['x-test-decision'] === 'deny' ? { deny: true as const } : { consent: true as const };
  const done = await interactions.finish(req, res, uid, page === 'sign-in' ? { login: { email } } : decision);
  if (!done) res.writeHead(404).end('nobody of that name');
}
