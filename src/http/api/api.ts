import { Hono } from 'hono';
import type { Approvals } from '../../approvals/approvals.ts';
import type { Audit } from '../../audit/audit.ts';
import type { Denials } from '../../audit/denials.ts';
import type { Logger } from '../../base/logger.ts';
import type { Freezes } from '../../freezes/freezes.ts';
import type { LegacySessions } from '../../gateway/sessions.ts';
import type { Authorizer } from '../../identity/authorizer.ts';
import type { ManagedObjects } from '../../identity/managed-objects.ts';
import type { Passwords } from '../../identity/passwords.ts';
import type { Tokens } from '../../identity/tokens.ts';
import type { Grants } from '../../oauth/grants.ts';
import type { Issuers } from '../../oauth/issuers.ts';
import type { ToolPins } from '../../pins/tool-pins.ts';
import type { KeyRotation } from '../../resources/key-rotation.ts';
import type { Resources } from '../../resources/registry.ts';
import type { Store } from '../../store/database.ts';
import type { Tickets } from '../../toolsets/tickets/tickets.ts';
import type { VendorLogins } from '../../vendors/logins.ts';
import type { CredentialCheck } from '../credential-check.ts';
import type { OpenStreams } from '../open-streams.ts';
import type { RequestAddresses } from '../request-addresses.ts';
import { accessRoutes } from './access-routes.ts';
import { ApiAudit } from './api-audit.ts';
import { approvalRoutes } from './approval-routes.ts';
import { auditRoutes } from './audit-routes.ts';
import { authenticated } from './bearer.ts';
import { clientRoutes } from './client-routes.ts';
import { freezeRoutes } from './freeze-routes.ts';
import { grantRoutes } from './grant-routes.ts';
import type { LiveView } from './live.ts';
import { liveRoutes } from './live-routes.ts';
import { loginRoutes } from './login-routes.ts';
import { policyRoutes } from './policy-routes.ts';
import { resourceRoutes } from './resource-routes.ts';
import { type ApiEnv, answerError, boundedBody, neverStored, refuse } from './responses.ts';
import { mounted, type Route } from './route.ts';
import { secretRoutes } from './secret-routes.ts';
import { sessionRoutes } from './session-routes.ts';
import { ticketRoutes } from './ticket-routes.ts';
import { tokenRoutes } from './token-routes.ts';
import { toolRoutes } from './tool-routes.ts';
import { userRoutes } from './user-routes.ts';

export type ApiDeps = {
  credentials: CredentialCheck;
  addresses: RequestAddresses;
  approvals: Approvals;
  freezes: Freezes;
  pins: ToolPins;
  authorizer: Authorizer;
  resources: Resources;
  objects: ManagedObjects;
  tokens: Tokens;
  passwords: Passwords;
  /** Whether people sign in here at all. */
  signIn: boolean;
  rotation: KeyRotation;
  live: LiveView;
  streams: OpenStreams;
  sessions: LegacySessions;
  grants: Grants;
  tickets: Tickets;
  logins: VendorLogins;
  issuers: Issuers;
  audit: Audit;
  store: Store;
  denials: Denials;
  logger: Logger;
  /** Of the running server. */
  version: string;
  /** The only URL that others know it by; undefined: the one that was asked. */
  publicUrl: string | undefined;
};

type RouteDeps = Omit<ApiDeps, 'credentials' | 'addresses' | 'denials' | 'logger'>;

/** Every route of the API, the more exact ones first. */
export function apiRoutes(deps: RouteDeps): Route[] {
  const { version, publicUrl } = deps;
  return [
    {
      method: 'GET',
      path: '/version',
      need: 'credential',
      doc: { summary: 'The version of the server, and the URL under which it is reached', answer: 'Version' },
      handle: (c) => {
        const url = publicUrl ?? new URL(c.req.url).origin;
        return c.json({ version, node: process.versions.node, url });
      },
    },
    ...accessRoutes(deps),
    ...tokenRoutes(deps),
    ...userRoutes(deps),
    ...loginRoutes(deps),
    ...toolRoutes(deps),
    ...liveRoutes(deps),
    ...auditRoutes(deps),
    ...sessionRoutes(deps),
    ...grantRoutes(deps),
    ...approvalRoutes(deps),
    ...ticketRoutes(deps),
    ...freezeRoutes(deps),
    ...policyRoutes(deps),
    ...secretRoutes(deps),
    ...clientRoutes(deps),
    ...resourceRoutes(deps),
  ];
}

/** The document of all routes, itself included; it says nothing that a stranger may not know. */
function describedBy(routes: readonly Route[], version: string): Route {
  let document: object | undefined;
  const described: Route = {
    method: 'GET',
    path: '/openapi.json',
    need: 'nobody',
    doc: { summary: 'This document', answer: 'OpenApi' },
    handle: async (c) => {
      const { openApiDocument } = await import('./openapi.ts');
      document ??= openApiDocument([described, ...routes], version);
      return c.json(document);
    },
  };
  return described;
}

/** The REST API, to be mounted under `/api/v1`. It authenticates by itself; Host and Origin are the router's. */
export function createApi(deps: ApiDeps): Hono<ApiEnv> {
  const { credentials, authorizer, logger, issuers } = deps;
  const audit = new ApiAudit(deps.audit, deps.denials, deps.addresses);
  const api = new Hono<ApiEnv>();
  const routes = apiRoutes(deps);
  api.use(neverStored);
  api.route('/', mounted([describedBy(routes, deps.version)], authorizer));
  api.use(authenticated(credentials, audit, issuers), audit.acting(), boundedBody);
  api.route('/', mounted(routes, authorizer));
  // A route and not `notFound`, which would be lost where this app is mounted.
  api.all('*', (c) => refuse(c, 404, 'NOT_FOUND', `there is no ${c.req.method} ${c.req.path}`));
  api.onError((error, c) => {
    audit.refused(c, error);
    return answerError(error, c, logger);
  });
  return api;
}
