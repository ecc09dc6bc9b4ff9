import type { AddressInfo } from 'node:net';
import { type Door, openDoor, peopleSignIn } from './app-door.ts';
import type { CastellanOptions, RunningCastellan } from './app-options.ts';
import { openUpstreams } from './app-upstreams.ts';
import { Approvals } from './approvals/approvals.ts';
import { Audit } from './audit/audit.ts';
import { AuditRetention } from './audit/retention.ts';
import { ChildProcesses } from './base/child-processes.ts';
import { messageOf } from './base/errors.ts';
import { createLogger, type Logger } from './base/logger.ts';
import { Sealer } from './base/seal.ts';
import { Freezes } from './freezes/freezes.ts';
import { LongResults } from './gateway/long-results.ts';
import { LegacySessions } from './gateway/sessions.ts';
import { hostInUrl, listen } from './http/bind.ts';
import { AbsentCallers } from './identity/absent-callers.ts';
import { Authorizer } from './identity/authorizer.ts';
import { makeFileTokens } from './identity/file-tokens.ts';
import { openLocalAdmin } from './identity/local-admin.ts';
import { Passwords } from './identity/passwords.ts';
import { Tokens } from './identity/tokens.ts';
import { GuardedClient } from './net/guarded-client.ts';
import { ToolPins } from './pins/tool-pins.ts';
import { FIRST_USER } from './resources/access-fields.ts';
import { KeyRotation } from './resources/key-rotation.ts';
import { Resources } from './resources/registry.ts';
import { KeptResults } from './results/kept-results.ts';
import { type DataDirectory, openDataDirectory } from './store/data-directory.ts';
import { openStore, type Store } from './store/database.ts';
import { openBuiltIn } from './toolsets/built-in.ts';
import { Vendors } from './vendors/vendors.ts';

const SESSION_PRUNE_MS = 600_000;
const DRAIN_POLL_MS = 25;

/** Builds the house, lowest room first, and opens its door. @throws Refusal with the reason and the fix */
export async function startCastellan(options: CastellanOptions): Promise<RunningCastellan> {
  const logger = createLogger({ level: options.logLevel });
  const stack = new AsyncDisposableStack();
  try {
    const data = await openDataDirectory(options.dataDir, {
      env: options.env,
      databaseUrl: options.databaseUrl,
    });
    stack.defer(() => data.close());
    const children = stack.use(new ChildProcesses({ marker: data.instanceId, logger }));
    // It reads the environment of every process, and nothing needs it before the first child.
    const swept = children.sweepOrphans();
    swept.catch(() => {});
    const store = await openStore({ dataDir: data, databaseUrl: options.databaseUrl, logger });
    stack.defer(() => store.close());
    const audit = await Audit.open({ store, masterKey: data.masterKey, version: options.version, logger });
    stack.defer(() => audit.close());
    const retention = new AuditRetention({ store, audit, keepMs: options.auditRetentionMs, logger });
    stack.defer(() => retention.close());
    const resources = await openResources(options, data, store, audit, logger);
    stack.defer(() => resources.close());
    const freezes = await Freezes.open({ store, logger });
    stack.defer(() => freezes.close());
    const pins = await ToolPins.open({ store, audit, snapshot: () => resources.snapshot(), logger });
    stack.defer(() => pins.close());
    const vendors = new Vendors(store, resources, audit);
    const rotation = new KeyRotation({ store, resources, others: [vendors.vault], audit, logger });
    stack.defer(() => rotation.close());
    const authorizer = new Authorizer(() => resources.snapshot().access);
    const tokens = new Tokens({ store, resources, authorizer, logger });
    stack.defer(() => tokens.close());
    const passwords = new Passwords({ store, audit, authorizer });
    const localAdmin = await openLocalAdmin(data, logger);
    stack.defer(() => localAdmin.setUrl(undefined));
    const sessions = openSessions(stack, data, store, logger);
    await swept;
    const callers = new AbsentCallers({ tokens, authorizer, resources });
    // Of the master key itself: what it seals outlives the keys that rotate.
    const sealer = new Sealer(data.masterKey);
    // Where people reach the pages; without a public URL only this machine does.
    let origin = options.publicUrl;
    const approvals: Approvals = await Approvals.open({
      ...{ store, audit, sealer, authorizer, logger },
      road: {
        client: new GuardedClient(),
        allowOrigins: options.notifyOrigins,
        withSecrets: (text) => resources.withSecrets(text),
        origin: () => origin,
      },
      execute: (approval) => upstream.gateway.heldCalls.execute(approval),
    });
    const shared = { store, audit, resources, authorizer, logger };
    const { tickets, toolsets } = openBuiltIn(stack, { ...shared, approvals });
    const results = await openResults(stack, options.cacheDir, data, logger);
    const kept = { options, data, store, sessions, audit, resources, freezes, authorizer, logger };
    const logins = () => door.logins;
    const called = { vendors, logins, approvals, callers, toolsets, children, results, pins };
    const upstream = openUpstreams(stack, { ...kept, ...called });
    stack.defer(() => approvals.close());
    const door: Door = openDoor(stack, {
      options,
      logger,
      store,
      audit,
      sessions,
      resources,
      freezes,
      pins,
      rotation,
      authorizer,
      tokens,
      passwords,
      localAdmin,
      approvals,
      callers,
      tickets,
      vendors,
      ...upstream,
    });
    await listen(door.server, options);
    const url = `http://${hostInUrl(options.host)}:${(door.server.address() as AddressInfo).port}`;
    await localAdmin.setUrl(url, options.passing);
    origin ??= url;
    logger.info({ routes: door.routes }, `listening on ${url}`);
    tellRoutes(door, logger);
    tellOfLife(stack, audit, resources, options.version);
    const fileTokens = await makeFileTokens(tokens, resources.fileTokens(), resources.snapshot(), logger);
    return {
      url: origin,
      projects: [...resources.snapshot().projects.keys()].sort(),
      fileTokens,
      firstLink: peopleSignIn(options) ? await passwords.firstLink(FIRST_USER) : undefined,
      reload: async () => {
        const { ok, message } = await resources.reload();
        audit.record({
          event: 'config.reloaded',
          outcome: ok ? 'ok' : 'error',
          actor: { kind: 'castellan' },
          detail: { message },
        });
      },
      stop: (graceMs) => stop(stack, door, graceMs),
    };
  } catch (error) {
    await stack.disposeAsync();
    throw error;
  }
}

function tellOfLife(stack: AsyncDisposableStack, audit: Audit, resources: Resources, version: string): void {
  const { servers, projects } = resources.snapshot();
  const about = { outcome: 'ok', actor: { kind: 'castellan' } } as const;
  const detail = { version, node: process.version, projects: projects.size, servers: servers.size };
  audit.record({ event: 'server.started', ...about, detail });
  stack.defer(() => audit.record({ event: 'server.stopped', ...about }));
}

/** The API is not loaded before the server listens, so its routes are told of a moment later. */
function tellRoutes(door: Door, logger: Logger): void {
  door.api().then(
    ({ routes }) => {
      const own = routes.filter(({ method }) => method !== 'ALL');
      const named = new Set(own.map(({ method, path }) => `${method} /api/v1${path}`));
      logger.info({ routes: [...named] }, 'routes of the API');
    },
    (error) => logger.error({ error: messageOf(error) }, 'the API cannot be loaded'),
  );
}

function openResources(
  options: CastellanOptions,
  data: DataDirectory,
  store: Store,
  audit: Audit,
  logger: Logger,
) {
  return Resources.open({
    store,
    audit,
    files: options.configFiles,
    env: options.env,
    logger,
    dataDir: data.path,
    nodePath: process.execPath,
  });
}

async function openResults(
  stack: AsyncDisposableStack,
  cacheDir: string,
  data: DataDirectory,
  logger: Logger,
) {
  const kept = new KeptResults(cacheDir, data.instanceId, logger);
  stack.defer(() => kept.close());
  await kept.open();
  return new LongResults(kept);
}

function openSessions(stack: AsyncDisposableStack, data: DataDirectory, store: Store, logger: Logger) {
  const sessions = new LegacySessions(data.sealer, store);
  const pruning = setInterval(() => {
    sessions
      .prune()
      .catch((error: Error) => logger.warn({ error: error.message }, 'old sessions were not pruned'));
  }, SESSION_PRUNE_MS).unref();
  stack.defer(() => clearInterval(pruning));
  return sessions;
}

async function stop(
  stack: AsyncDisposableStack,
  { server, streams, approvals, drain }: Door,
  graceMs: number,
): Promise<void> {
  drain();
  streams.endLasting();
  const deadline = Date.now() + graceMs;
  while (streams.size + approvals.executing > 0 && Date.now() < deadline) {
    await new Promise((resolve) => setTimeout(resolve, DRAIN_POLL_MS));
    server.closeIdleConnections();
  }
  await stack.disposeAsync();
}
