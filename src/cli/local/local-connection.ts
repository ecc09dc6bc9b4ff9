import { randomBytes } from 'node:crypto';
import { ChildProcesses } from '../../base/child-processes.ts';
import { messageOf } from '../../base/errors.ts';
import { ServerClient } from '../../net/server-client.ts';
import { NOTHING_RELAYED } from '../../protocol/input-requests.ts';
import { NO_ACCESS } from '../../resources/access-model.ts';
import { NO_POLICIES } from '../../resources/snapshot.ts';
import { transportsOver } from '../../upstream/configured-transports.ts';
import type { UpstreamStatus } from '../../upstream/server-status.ts';
import { Upstreams } from '../../upstream/upstreams.ts';
import { failed } from '../exit.ts';
import { packageVersion } from '../package-version.ts';
import type { VerbContext } from '../verbs.ts';
import { LOCAL_USER, localCredential } from './local-logins.ts';
import type { LocalServer } from './local-servers.ts';

const CIRCLE = {
  owner: LOCAL_USER,
  principal: LOCAL_USER,
  session: LOCAL_USER,
  relayed: NOTHING_RELAYED,
};

/** Connects to one server from here, says how it went, and leaves nothing running. @throws CommandFailure */
export async function connectLocally(
  { name, entry }: LocalServer,
  timeoutMs: number,
  { terminal, env }: Pick<VerbContext, 'terminal' | 'env'>,
): Promise<UpstreamStatus> {
  const version = packageVersion();
  await using stack = new AsyncDisposableStack();
  const logger = { info: () => {}, warn: (_: object, message: string) => terminal.warn(message) };
  const children = stack.use(
    new ChildProcesses({ marker: `local-${randomBytes(6).toString('hex')}`, logger }),
  );
  const client = stack.use(new ServerClient());
  const upstreams = stack.use(
    new Upstreams({
      self: { name: 'castellan', title: 'Castellan', version },
      transports: transportsOver(children, client, () => {}),
      toolset: () => undefined,
      credential: (target) => localCredential(target, env),
      maxHttpServers: 1,
      maxStdioServers: 1,
      onCatalogueChange: () => {},
      onSessionNotice: () => {},
      holdSession: async () => true,
      onSessionLost: () => {},
      beginHealthCall: async () => undefined,
      onFault: () => {},
    }),
  );
  const servers = new Map([[name, entry]]);
  upstreams.reconcile({
    generation: 0,
    servers,
    projects: new Map(),
    access: NO_ACCESS,
    policies: NO_POLICIES,
    repositories: new Map(),
  });
  const server = upstreams.get(name);
  if (!server)
    throw failed(`${name}: ${upstreams.configurationError(name) ?? 'its configuration is invalid'}`);
  try {
    await server.connect(CIRCLE, timeoutMs);
  } catch (error) {
    throw failed(`${name}: ${messageOf(error)}`);
  }
  return server.status();
}
