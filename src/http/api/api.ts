import { Hono } from 'hono';
import type { Audit } from '../../audit/audit.ts';
import type { Denials } from '../../audit/denials.ts';
import type { Logger } from '../../base/logger.ts';
import type { Freezes } from '../../freezes/freezes.ts';
import type { Authorizer } from '../../identity/authorizer.ts';
import type { ManagedObjects } from '../../identity/managed-objects.ts';
import type { Tokens } from '../../identity/tokens.ts';
import type { KeyRotation } from '../../resources/key-rotation.ts';
import type { Resources } from '../../resources/registry.ts';
import type { Store } from '../../store/database.ts';
import type { CredentialCheck } from '../credential-check.ts';
import { accessRoutes } from './access-routes.ts';
import { ApiAudit } from './api-audit.ts';
import { auditRoutes } from './audit-routes.ts';
import { authenticated } from './bearer.ts';
import { freezeRoutes } from './freeze-routes.ts';
import type { LiveView } from './live.ts';
import { liveRoutes } from './live-routes.ts';
import { policyRoutes } from './policy-routes.ts';
import { resourceRoutes } from './resource-routes.ts';
import { type ApiEnv, answerError, boundedBody, neverStored, refuse } from './responses.ts';
import { mounted, type Route } from './route.ts';
import { secretRoutes } from './secret-routes.ts';
import { tokenRoutes } from './token-routes.ts';

export type ApiDeps = {
  credentials: CredentialCheck;
  freezes: Freezes;
  authorizer: Authorizer;
  resources: Resources;
  objects: ManagedObjects;
  tokens: Tokens;
  rotation: KeyRotation;
  live: LiveView;
  audit: Audit;
  store: Store;
  denials: Denials;
  logger: Logger;
  /** Of the running server. */
  version: string;
};

/** Every route of the API, the more exact ones first. */
export function apiRoutes(deps: Omit<ApiDeps, 'credentials' | 'denials' | 'logger'>): Route[] {
  const { version } = deps;
  return [
    {
      method: 'GET',
      path: '/version',
      need: 'credential',
      handle: (c) => c.json({ version, node: process.versions.node }),
    },
    ...accessRoutes(deps),
    ...tokenRoutes(deps),
    ...liveRoutes(deps),
    ...auditRoutes(deps),
    ...freezeRoutes(deps),
    ...policyRoutes(deps),
    ...secretRoutes(deps),
    ...resourceRoutes(deps),
  ];
}

/** The REST API, to be mounted under `/api/v1`. It authenticates by itself; Host and Origin are the router's. */
export function createApi(deps: ApiDeps): Hono<ApiEnv> {
  const { credentials, authorizer, logger } = deps;
  const audit = new ApiAudit(deps.audit, deps.denials);
  const api = new Hono<ApiEnv>();
  api.use(neverStored, authenticated(credentials, audit), audit.acting(), boundedBody);
  api.route('/', mounted(apiRoutes(deps), authorizer));
  // A route and not `notFound`, which would be lost where this app is mounted.
  api.all('*', (c) => refuse(c, 404, 'NOT_FOUND', `there is no ${c.req.method} ${c.req.path}`));
  api.onError((error, c) => {
    audit.refused(c, error);
    return answerError(error, c, logger);
  });
  return api;
}
