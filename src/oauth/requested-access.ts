import type { Snapshot } from '../resources/spec.ts';
import type { ClientRecord } from './clients.ts';
import type { Issuers } from './issuers.ts';
import { projectPath, resourceOf } from './protected-resources.ts';
import type { Scope } from './scopes.ts';

/** What one resource indicator stands for now. */
export type Target = {
  /** Undefined: everything. */
  project: string | undefined;
  /** Of the project; empty for everything, as the tables have it. */
  projectUid: string;
  /** What a client may get for it. */
  scopes: readonly Scope[];
  /** What it gets when it asks for nothing. */
  defaultScope: Scope;
};

const NO_PROJECT = '';

/** The target of an indicator; undefined where there is none. */
export function targetOf(
  indicator: string,
  issuers: Issuers,
  { projects }: Pick<Snapshot, 'projects'>,
): Target | undefined {
  const resource = resourceOf(indicator, (origin) => issuers.owns(origin));
  if (!resource) return undefined;
  if (resource.api)
    return { project: undefined, projectUid: NO_PROJECT, scopes: ['api'], defaultScope: 'api' };
  const project = projects.get(resource.project);
  return (
    project && {
      project: project.name,
      projectUid: project.uid,
      scopes: ['mcp', 'mcp:operator'],
      defaultScope: 'mcp',
    }
  );
}

/** The scopes that this client may have there; undefined where the target is closed to it. */
export function openTo(client: ClientRecord, target: Target): readonly Scope[] | undefined {
  if (client.project !== undefined && client.project !== target.project) return undefined;
  // Everything that a user may do is for the command line alone, whatever a stranger's client asks for.
  if (target.project === undefined && client.source !== 'built-in') return undefined;
  const { scopes } = client;
  if (scopes === undefined) return target.scopes;
  return target.scopes.filter(
    (scope) => scopes.includes(scope) || (scope === 'mcp' && scopes.includes('mcp:operator')),
  );
}

/** The indicator that a request without one means: the client's project, `default`, or the only one there is. */
export function defaultIndicator(
  client: ClientRecord,
  issuer: string,
  { projects }: Pick<Snapshot, 'projects'>,
): string | undefined {
  const only = projects.size === 1 ? [...projects.keys()][0] : undefined;
  const project = client.project ?? (projects.has('default') ? 'default' : only);
  return project === undefined ? undefined : `${issuer}${projectPath(project)}`;
}

/** Whether scopes that were granted hold all those that are asked for. */
export function coversScopes(granted: readonly string[], asked: readonly string[]): boolean {
  return asked.every(
    (scope) => granted.includes(scope) || (scope === 'mcp' && granted.includes('mcp:operator')),
  );
}
