import type { z } from 'zod';
import { GROUP, RBAC, USER } from './access-fields.ts';
import { OAUTH_CLIENT } from './client-fields.ts';
import type { KindName } from './kinds.ts';
import { POLICY } from './policy-fields.ts';
import { PROJECT, TOKEN } from './project-fields.ts';
import { REPOSITORY } from './repository-fields.ts';
import { SECRET } from './secret-fields.ts';
import { SERVER } from './server-fields.ts';

/** The shape of each kind's spec, for documents; what a schema cannot say is checked beside it. */
export const SPEC_SCHEMAS: Readonly<Record<KindName, z.ZodType>> = {
  Server: SERVER,
  Project: PROJECT,
  Group: GROUP,
  User: USER,
  Rbac: RBAC,
  McpToken: TOKEN,
  OAuthClient: OAUTH_CLIENT,
  Policy: POLICY,
  Repository: REPOSITORY,
  Secret: SECRET,
};
