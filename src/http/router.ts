import type { IncomingMessage, Server, ServerResponse } from 'node:http';
import { Hono } from 'hono';
import type { Logger } from '../base/logger.ts';
import type { Result } from '../base/result.ts';
import type { Surface } from '../resources/spec.ts';
import type { ApiEnv } from './api/responses.ts';
import { crossOrigin } from './cross-origin.ts';
import type { McpEndpoint } from './mcp-endpoint.ts';
import { type MetadataDeps, metadataRoutes } from './oauth/metadata-routes.ts';
import { OAuthMount, type OAuthMountDeps } from './oauth/mount.ts';
import { type RegistrationDeps, registrationRoute } from './oauth/registration-route.ts';
import type { OriginPolicy } from './origin-policy.ts';
import { frontPage } from './pages/front.ts';
import { pageHeaders } from './pages/layout.ts';
import { ICON, STYLE } from './pages/style.ts';
import type { PageEnv } from './pages/visitors.ts';
import { type VendorPagesDeps, vendorPages } from './vendor-pages.ts';

export type RouterDeps = {
  endpoint: McpEndpoint;
  /** Made with the first request that needs it. */
  api(): Promise<Hono<ApiEnv>>;
  /** The pages of people, likewise. */
  people(): Promise<Hono<PageEnv>>;
  oauth: OAuthMountDeps & MetadataDeps;
  /** Undefined: no client registers itself. */
  registration: RegistrationDeps | undefined;
  origins(): OriginPolicy;
  ready(): Promise<Result<void, string>>;
  metrics(): string;
  /** Whether this credential may read them from afar. Never rejects. */
  mayReadMetrics(bearer: string): Promise<boolean>;
  /** Of our own client of other authorization servers. */
  ownAddresses: VendorPagesDeps['ownAddresses'];
  publicUrl: string | undefined;
  version: string;
  logger: Logger;
};

/** An import would read all that the module exports, and so load the WebSocket client that nothing here needs. */
const { createServer } = process.getBuiltinModule('node:http');

const MCP_PATH = /^\/(?:projects\/([^/?]+)\/)?(operator-)?mcp(?:\?|$)/;
const DEFAULT_PROJECT = 'default';
/** Where people sign in and decide, each with all that is below it. */
const PEOPLE_PATHS = [
  '/sign-in',
  '/sign-out',
  '/account',
  '/invite',
  '/consent',
  '/device',
  '/approvals',
  '/connect',
  '/oauth/callback',
];

/** The HTTP server: MCP endpoints on the bare request, everything else through the ordinary router. */
export function createHttpServer(deps: RouterDeps): { server: Server; routes: string[]; drain(): void } {
  const app = pages(deps);
  const oauth = new OAuthMount(deps.oauth);
  let others: Listener | undefined;
  let draining = false;
  const server = createServer(
    // A client gets this long for its headers and its body; answers may take as long as they want.
    { maxHeaderSize: 32 * 1024, headersTimeout: 15_000, requestTimeout: 60_000, keepAliveTimeout: 65_000 },
    (req: IncomingMessage, res: ServerResponse) => {
      if (draining) return refuseLate(res);
      const origins = deps.origins();
      const refused = origins.refuse(req);
      if (refused !== undefined) return forbid(res, refused);
      const page = origins.pageOf(req);
      if (page !== undefined && crossOrigin(req, res, page)) return;
      const mcp = MCP_PATH.exec(req.url ?? '');
      if (!mcp) {
        if (oauth.takes(req, res)) return;
        if (others) return void others(req, res);
        void adapterOf(app).then((made) => {
          others = made;
          void made(req, res);
        });
        return;
      }
      const project = projectOf(mcp[1]);
      const surface: Surface = mcp[2] === undefined ? 'consumer' : 'operator';
      deps.endpoint.serve(req, res, project, surface);
    },
  );
  server.maxRequestsPerSocket = 0;
  const mcpRoutes = ['/mcp', '/operator-mcp', '/projects/{project}/mcp', '/projects/{project}/operator-mcp'];
  const routes = [
    ...mcpRoutes,
    ...OAuthMount.routes,
    ...new Set(app.routes.filter((one) => one.method !== 'ALL').map((one) => one.path)),
  ];
  const drain = () => {
    draining = true;
    server.close();
  };
  return { server, routes: [...routes, ...PEOPLE_PATHS], drain };
}

type Listener = (req: IncomingMessage, res: ServerResponse) => unknown;

/** The adapter brings HTTP/2 along, which takes a start longer than all that agents need. */
async function adapterOf(app: Hono): Promise<Listener> {
  const { getRequestListener } = await import('@hono/node-server');
  return getRequestListener(app.fetch);
}

function projectOf(encoded: string | undefined): string {
  if (encoded === undefined) return DEFAULT_PROJECT;
  if (!encoded.includes('%')) return encoded;
  try {
    return decodeURIComponent(encoded);
  } catch {
    return '';
  }
}

function pages(deps: RouterDeps): Hono {
  const app = new Hono();
  app.route('/', metadataRoutes(deps.oauth));
  if (deps.registration) app.route('/', registrationRoute(deps.registration));
  const headers = Object.entries(pageHeaders());
  app.use((c, next) => {
    for (const [name, value] of headers) c.header(name, value);
    return next();
  });
  app.route('/', vendorPages(deps));
  app.get('/healthz', (c) => c.text('ok\n'));
  app.get('/readyz', async (c) => {
    const ready = await deps.ready();
    return ready.ok ? c.text('ready\n') : c.text(`not ready: ${ready.error}\n`, 503);
  });
  app.get('/metrics', async (c) => {
    const { incoming } = c.env as { incoming: IncomingMessage };
    // Behind a proxy on this machine everybody comes from loopback.
    const proxied =
      incoming.headers['x-forwarded-for'] !== undefined || incoming.headers.forwarded !== undefined;
    const near = !proxied && isLoopback(incoming.socket.remoteAddress);
    const bearer = /^bearer +(\S{1,512})$/i.exec(c.req.header('authorization') ?? '')?.[1];
    if (!near && !(bearer && (await deps.mayReadMetrics(bearer))))
      return c.text('metrics are for loopback, or for holders of the action logs\n', 403);
    return c.text(deps.metrics(), 200, { 'content-type': 'text/plain; version=0.0.4; charset=utf-8' });
  });
  const briefly = { 'cache-control': 'max-age=300' };
  app.get('/style.css', (c) => c.text(STYLE, 200, { ...briefly, 'content-type': 'text/css; charset=utf-8' }));
  app.get('/icon.svg', (c) => c.body(ICON, 200, { ...briefly, 'content-type': 'image/svg+xml' }));
  app.get('/', (c) => {
    const base = deps.publicUrl ?? new URL(c.req.url).origin;
    return c.html(frontPage(base, deps.version));
  });
  let api: Hono | undefined;
  app.all('/api/v1/*', async (c) => {
    api ??= new Hono().route('/api/v1', await deps.api());
    return api.fetch(c.req.raw, c.env);
  });
  for (const path of PEOPLE_PATHS) {
    for (const one of [path, `${path}/*`])
      app.all(one, async (c) => (await deps.people()).fetch(c.req.raw, c.env));
  }
  app.notFound((c) => c.text('Not found. The front page, /, says what there is.\n', 404));
  app.onError((error, c) => {
    deps.logger.error({ error: error.message }, 'a request failed unexpectedly');
    return c.text('Internal error\n', 500);
  });
  return app;
}

/** A request that comes on an open connection while the server stops. */
function refuseLate(res: ServerResponse): void {
  res.writeHead(503, {
    'retry-after': '2',
    connection: 'close',
    'content-type': 'text/plain; charset=utf-8',
  });
  res.end('Castellan is stopping; retry in a moment\n');
}

function isLoopback(address: string | undefined): boolean {
  return address !== undefined && (address === '::1' || /^(?:::ffff:)?127\./.test(address));
}

function forbid(res: ServerResponse, message: string): void {
  const text = JSON.stringify({ jsonrpc: '2.0', id: null, error: { code: -32600, message } });
  res.writeHead(403, { 'content-type': 'application/json', 'content-length': Buffer.byteLength(text) });
  res.end(text);
}
