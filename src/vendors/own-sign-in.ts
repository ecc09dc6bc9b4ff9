import type { Authorizer } from '../identity/authorizer.ts';
import type { AuthenticatedCaller } from '../identity/caller.ts';
import type { ServerEntry, Snapshot } from '../resources/spec.ts';

/**
 * Whether a user may sign in for themselves at a server where each user does: whoever may run anything of it may. Nobody
 * does so as somebody else, and no token, whose holder may be a program.
 */
export function maySignIn(
  { authorizer, snapshot }: { authorizer: Pick<Authorizer, 'toolRights'>; snapshot: () => Snapshot },
  caller: AuthenticatedCaller,
  { name, spec }: ServerEntry,
): boolean {
  if (!spec?.auth?.perUser || caller.project !== '*' || caller.actor !== undefined) return false;
  return [...snapshot().projects.values()].some(
    ({ name: project, spec: { servers, operatorServers } }) =>
      (servers.includes(name) || operatorServers.includes(name)) &&
      authorizer.toolRights(caller, project).reaches(name),
  );
}
