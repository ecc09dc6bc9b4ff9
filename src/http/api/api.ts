import { Hono } from 'hono';
import type { Logger } from '../../base/logger.ts';
import type { Authenticator } from '../../identity/authenticator.ts';
import type { Tokens } from '../../identity/tokens.ts';
import type { Resources } from '../../resources/registry.ts';
import { authenticated } from './bearer.ts';
import type { LiveView } from './live.ts';
import { liveRoutes } from './live-routes.ts';
import { resourceRoutes } from './resource-routes.ts';
import { type ApiEnv, answerError, boundedBody, neverStored, refuse } from './responses.ts';
import { tokenRoutes } from './token-routes.ts';

export type ApiDeps = {
  authenticator: Authenticator;
  resources: Resources;
  tokens: Tokens;
  live: LiveView;
  logger: Logger;
  /** Of the running server. */
  version: string;
};

/** The REST API, to be mounted under `/api/v1`. It authenticates by itself; Host and Origin are the router's. */
export function createApi(deps: ApiDeps): Hono<ApiEnv> {
  const { authenticator, resources, tokens, live, logger, version } = deps;
  const api = new Hono<ApiEnv>();
  api.use(neverStored, authenticated(authenticator), boundedBody);
  api.get('/version', (c) => c.json({ version, node: process.versions.node }));
  api.route('/mcptokens', tokenRoutes({ resources, tokens }));
  api.route('/', liveRoutes({ resources, live }));
  api.route(
    '/',
    resourceRoutes(resources, (projectUid) => tokens.removeProject(projectUid)),
  );
  // A route and not `notFound`, which would be lost where this app is mounted.
  api.all('*', (c) => refuse(c, 404, 'NOT_FOUND', `there is no ${c.req.method} ${c.req.path}`));
  api.onError((error, c) => answerError(error, c, logger));
  return api;
}
