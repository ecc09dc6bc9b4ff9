import type { IncomingMessage, ServerResponse } from 'node:http';
import { Refusal } from '../../base/errors.ts';
import type { AuthorizationServer } from '../../oauth/authorization-server.ts';
import type { Issuers } from '../../oauth/issuers.ts';
import { pageHeaders } from '../pages/layout.ts';
import { AuthorizeGate, type Detour, type GateDeps } from './authorize-gate.ts';

export type OAuthMountDeps = GateDeps & {
  issuers: Issuers;
  /** Made with the first request that needs it. */
  server(): Promise<AuthorizationServer>;
};

/** The endpoints and the methods that they take; `OPTIONS` asks for other origins, which are checked before. */
const ENDPOINTS: Readonly<Record<string, readonly string[]>> = {
  '/authorize': ['GET'],
  '/authorize/{uid}': ['GET'],
  '/token': ['POST', 'OPTIONS'],
  '/revoke': ['POST', 'OPTIONS'],
  '/introspect': ['POST', 'OPTIONS'],
  '/device_authorization': ['POST', 'OPTIONS'],
  '/jwks': ['GET', 'OPTIONS'],
};

const PATH =
  /^(?:\/authorize(\/[\w-]{1,64})?|\/(?:token|revoke|introspect|device_authorization|jwks))(?=\?|$)/;

/** Hands the bare requests of the OAuth endpoints to the authorization server. */
export class OAuthMount {
  static readonly routes: readonly string[] = Object.keys(ENDPOINTS);
  readonly #deps: OAuthMountDeps;
  readonly #gate: AuthorizeGate;

  constructor(deps: OAuthMountDeps) {
    this.#deps = deps;
    this.#gate = new AuthorizeGate(deps);
  }

  /** False, and nothing done, for other paths. */
  takes(req: IncomingMessage, res: ServerResponse): boolean {
    const [path, uid] = PATH.exec(req.url ?? '') ?? [];
    if (path === undefined) return false;
    const methods = ENDPOINTS[uid === undefined ? path : '/authorize/{uid}']!;
    if (!methods.includes(req.method ?? '')) {
      refuse(res, 405, `use ${methods[0]}`, { allow: methods.join(', ') });
    } else if (this.#deps.issuers.of(req.headers.host) === undefined) {
      refuse(res, 404, 'nobody signs in here: give the server an https public URL');
    } else void this.#serve(req, res);
    return true;
  }

  async #serve(req: IncomingMessage, res: ServerResponse): Promise<void> {
    try {
      for (const [name, value] of Object.entries(pageHeaders())) res.setHeader(name, value);
      const detour = await this.#gate.detour(req);
      if (detour) return detourTo(res, detour);
      const server = await this.#deps.server();
      await server.handle(req, res);
    } catch (error) {
      if (res.headersSent) res.destroy();
      else if (error instanceof Refusal && error.kind === 'unavailable')
        refuse(res, 503, error.message, { 'retry-after': '2' });
      else refuse(res, 500, 'internal error');
    }
  }
}

function detourTo(res: ServerResponse, detour: Detour): void {
  if ('signIn' in detour) {
    res.writeHead(303, {
      location: detour.signIn,
      'cache-control': 'no-store',
      'referrer-policy': 'no-referrer',
    });
    res.end();
    return;
  }
  const headers = { 'retry-after': String(detour.waitSeconds) };
  refuse(res, 429, 'too many requests: wait', headers);
}

function refuse(
  res: ServerResponse,
  status: number,
  description: string,
  headers: Record<string, string> = {},
): void {
  const text = JSON.stringify({ error: 'invalid_request', error_description: description });
  res.writeHead(status, {
    'content-type': 'application/json',
    'content-length': Buffer.byteLength(text),
    'cache-control': 'no-store',
    ...headers,
  });
  res.end(text);
}
