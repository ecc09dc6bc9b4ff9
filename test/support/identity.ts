import type { Logger } from '../../src/base/logger.ts';
import { Authorizer } from '../../src/identity/authorizer.ts';
import { type AuthenticatedCaller, authenticatedCaller } from '../../src/identity/caller.ts';
import { ManagedObjects } from '../../src/identity/managed-objects.ts';
import { Tokens } from '../../src/identity/tokens.ts';
import type { Binding } from '../../src/resources/bindings.ts';
import { Resources } from '../../src/resources/registry.ts';
import type { DataDirectory } from '../../src/store/data-directory.ts';
import type { Store } from '../../src/store/database.ts';
import { openAudit } from './databases.ts';

/** Everything about identity that one process has, over an open store. */
export type Identity = {
  resources: Resources;
  authorizer: Authorizer;
  tokens: Tokens;
  objects: ManagedObjects;
  close(): Promise<void>;
};

export async function openIdentity(
  { store, dataDir }: { store: Store; dataDir: DataDirectory },
  logger: Logger,
  { now = Date.now, files = [] }: { now?: () => number; files?: string[] } = {},
): Promise<Identity> {
  const resources = await Resources.open({
    store,
    audit: await openAudit({ store, dataDir }),
    files,
    env: {},
    logger,
    dataDir: dataDir.path,
    nodePath: process.execPath,
  });
  const authorizer = new Authorizer(() => resources.snapshot().access);
  const tokens = new Tokens({ store, resources, authorizer, logger, now });
  resources.onChange(() => tokens.usersChanged());
  return {
    resources,
    authorizer,
    tokens,
    objects: new ManagedObjects(resources, tokens),
    close: async () => {
      await tokens.close();
      await resources.close();
    },
  };
}

/** A user as a signed-in session would have it. */
export function userCaller(name: string): AuthenticatedCaller {
  return authenticatedCaller({
    principal: `User:${name}`,
    owner: name,
    ceilings: [],
    project: '*',
    surfaces: new Set(['consumer', 'operator'] as const),
  });
}

/** A new user with exactly these bindings, in an Rbac object named after the part before the @. */
export async function userWith(
  { resources }: Pick<Identity, 'resources'>,
  name: string,
  roleBindings: readonly Binding[],
): Promise<AuthenticatedCaller> {
  await resources.put({ kind: 'User', metadata: { name }, spec: {} });
  await grant({ resources }, name, roleBindings);
  return userCaller(name);
}

/** Replaces what `userWith` gave. */
export async function grant(
  { resources }: Pick<Identity, 'resources'>,
  name: string,
  roleBindings: readonly Binding[],
): Promise<void> {
  await resources.put({
    kind: 'Rbac',
    metadata: { name: name.split('@')[0] },
    spec: { subjects: [{ kind: 'User', name }], roleBindings },
  });
}
