import { setTimeout as delay } from 'node:timers/promises';
import type { Approvals } from '../approvals/approvals.ts';
import type { Audit } from '../audit/audit.ts';
import type { AuditEventName } from '../audit/event.ts';
import type { Sealer } from '../base/seal.ts';
import type { AbsentCallers } from '../identity/absent-callers.ts';
import type { Authorizer } from '../identity/authorizer.ts';
import type { ToolPins } from '../pins/tool-pins.ts';
import { onlyReads } from '../protocol/extensions.ts';
import { ErrorCode, type JsonObject } from '../protocol/jsonrpc.ts';
import { isLogLevel, LOG_LEVELS } from '../protocol/log-levels.ts';
import type { Implementation } from '../protocol/model.ts';
import { canonicalName } from '../protocol/names.ts';
import { isLegacyRevision, LATEST_LEGACY_REVISION, SUPPORTED_REVISIONS } from '../protocol/revisions.ts';
import type { Snapshot } from '../resources/spec.ts';
import type { ConfiguredServer } from '../upstream/builtin-server.ts';
import type { Circle } from '../upstream/circle.ts';
import type { Upstreams } from '../upstream/upstreams.ts';
import { CachingHints } from './caching-hints.ts';
import { CallRecord, RECORDED, unannounced } from './call-record.ts';
import { SurfaceChanges } from './changes.ts';
import { type Bridge, dispatch } from './dispatch.ts';
import { couldBeMeant, type Part, serverForMethod } from './extensions.ts';
import type { Gates } from './gates.ts';
import { HeldCalls } from './held-calls.ts';
import { Interactions } from './interactions.ts';
import { capabilitiesOf, instructionsOf, tasksOf } from './introduction.ts';
import { ListDigests } from './list-kinds.ts';
import { ListPages } from './list-pages.ts';
import { keepsResults, type LongResults } from './long-results.ts';
import { OwnCalls } from './own/own-calls.ts';
import { ownTools } from './own/own-tools.ts';
import type { SignInDeps } from './own/sign-in.ts';
import { OwnedEntries } from './owned-entries.ts';
import { asFault, asJsonRpcError, failed, invalidParams, refusalOf } from './refusals.ts';
import { ResourceWatches } from './resource-watches.ts';
import { type GatewayRequest, originOf, type Scope, serversOf } from './scope.ts';
import { SessionNotices } from './session-notices.ts';
import type { LegacySessions } from './sessions.ts';
import { CallStats } from './stats.ts';
import { HANDLE_META, TaskBeginnings } from './task-beginnings.ts';
import { speaksLegacyTasks } from './tasks/course.ts';
import { Tasks } from './tasks/tasks.ts';
import { callTool, type GatewayOutcome } from './tool-call.ts';
import { ToolSearch } from './tool-search.ts';
import type { Toolsets } from './toolsets.ts';
import type { ListName } from './view.ts';
import { Views } from './views.ts';

type Handler = (from: GatewayRequest) => GatewayOutcome | Promise<GatewayOutcome>;

const BAD_CURSOR =
  'params.cursor is not of this list and this caller, or the list has changed: list again from the start, without one';
const BAD_HANDLE = `_meta["${HANDLE_META}"] is none that begin_session gave you here, or it has expired: begin again, or list without it`;
const WARM_UP_MS = 60_000;
const INTRODUCTION_MS = 1_000;

/** What the gateway reaches beyond the servers. */
export type GatewayRooms = {
  approvals: Approvals;
  callers: AbsentCallers;
  sessions: LegacySessions;
  results: LongResults;
  pins: ToolPins;
  snapshot: () => Snapshot;
  logins: SignInDeps['logins'];
};

/**
 * Answers requests of either era for any surface: one table of methods over the neutral model. Which of them a
 * client may use is its codec's to say.
 */
export class Gateway {
  readonly views: Views;
  readonly changes = new SurfaceChanges();
  readonly sessionNotices = new SessionNotices();
  readonly lists = new ListDigests();
  readonly watches: ResourceWatches;
  readonly stats = new CallStats();
  readonly tasks: Tasks;
  readonly heldCalls: HeldCalls;
  private readonly self: Implementation;
  private readonly upstreams: Upstreams;
  private readonly audit: Audit;
  private readonly gates: Gates;
  private readonly toolsets: Toolsets;
  private readonly bridge: Bridge;
  private readonly owned: OwnedEntries;
  private readonly pages: ListPages;
  private readonly beginnings: TaskBeginnings;
  private readonly hints = new CachingHints();
  private readonly handlers: { readonly [method: string]: Handler };

  constructor(
    self: Implementation,
    upstreams: Upstreams,
    sealer: Sealer,
    authorizer: Authorizer,
    audit: Audit,
    gates: Gates,
    toolsets: Toolsets,
    rooms: GatewayRooms,
  ) {
    const { results } = rooms;
    this.toolsets = toolsets;
    this.audit = audit;
    this.gates = gates;
    this.tasks = new Tasks({ sealer, upstreams, authorizer, notices: this.sessionNotices, results });
    this.bridge = { interactions: new Interactions(sealer), tasks: this.tasks };
    this.pages = new ListPages(sealer, this.lists);
    this.self = self;
    this.upstreams = upstreams;
    this.beginnings = new TaskBeginnings(sealer, rooms.sessions);
    const own = ownTools({
      ...{ upstreams, authorizer, audit, results, beginnings: this.beginnings, search: new ToolSearch() },
      ...{ views: () => this.views, snapshot: rooms.snapshot, logins: rooms.logins },
    });
    this.views = new Views(upstreams, gates, rooms.pins, own);
    this.owned = new OwnedEntries(this.views, upstreams, results, (from, server, params) =>
      this.relay(from, server, params),
    );
    this.watches = new ResourceWatches({
      upstreams,
      toolsets,
      owners: (scope, circle, uri) => this.owned.ownersOf(scope, circle, uri),
      isClosed: (project, server) => gates.closesServer(project, server),
    });
    const { views, stats, bridge } = this;
    const shared = { views, upstreams, authorizer, gates, stats, bridge, toolsets };
    this.heldCalls = new HeldCalls({ ...shared, ...rooms, audit });
    const deps = { ...shared, heldCalls: this.heldCalls, ownCalls: new OwnCalls(gates), results };
    this.handlers = {
      initialize: (from) => this.initialize(from),
      'server/discover': (from) => this.discover(from),
      ping: () => ({ ok: true, result: {} }),
      'tools/list': (from) => this.list(from, 'tools'),
      'prompts/list': (from) => this.list(from, 'prompts'),
      'resources/list': (from) => this.list(from, 'resources'),
      'resources/templates/list': (from) => this.list(from, 'templates'),
      'tools/call': (from) => callTool(deps, from),
      'prompts/get': (from) => this.gated(from, () => this.owned.getPrompt(from)),
      'resources/read': (from) => this.gated(from, () => this.owned.readResource(from)),
      'completion/complete': (from) => this.gated(from, () => this.owned.complete(from)),
      'tasks/get': (from) => this.onTask(from),
      'tasks/result': (from) =>
        from.request.params.requestState === undefined ? this.onTask(from) : this.answerTask(from),
      'tasks/update': (from) => this.gated(from, () => this.answerTask(from)),
      'tasks/cancel': (from) => this.cancelTask(from),
    };
  }

  /** Never rejects for anything that a client or an upstream did. */
  handle(from: GatewayRequest): GatewayOutcome | Promise<GatewayOutcome> {
    const { logLevel } = from.request.envelope;
    if (logLevel !== undefined && !isLogLevel(logLevel)) {
      return invalidParams(`_meta logLevel must be one of ${LOG_LEVELS.join(', ')}`);
    }
    const { method } = from.request;
    const handler = Object.hasOwn(this.handlers, method) ? this.handlers[method] : undefined;
    if (!handler) {
      // Where no extension is in play nobody is waited for.
      return couldBeMeant(method, from.request.envelope.clientCapabilities)
        ? this.recorded('extension.call', from, (asked) => this.extended(asked))
        : unknownMethod(method);
    }
    const event = RECORDED[method];
    return event === undefined ? handler(from) : this.recorded(event, from, handler);
  }

  /** Whatever becomes of the request, one row of the audit says so. */
  private recorded(
    event: AuditEventName,
    from: GatewayRequest,
    handler: Handler,
  ): GatewayOutcome | Promise<GatewayOutcome> {
    const record = new CallRecord(this.audit, event, from);
    from.record = record;
    const outcome = handler(from);
    if (!(outcome instanceof Promise)) return record.end(outcome);
    return outcome.then(
      (ended) => record.end(ended),
      (error) => {
        record.broke();
        throw error;
      },
    );
  }

  /** Whether calls of this surface may have to wait for an approval. */
  mayHold({ project }: Scope): boolean {
    return this.gates.mayHold(project);
  }

  /** A catalogue, or with no name the configuration, has changed. */
  changed(server?: string): void {
    this.views.outdated();
    this.changes.changed(server);
    if (server === undefined) this.watches.reconcile();
  }

  /** Somebody's rights have changed, and with them what is shown to whom. */
  rightsChanged(): void {
    this.changes.changed();
    this.watches.reconcile();
  }

  private async initialize(from: GatewayRequest): Promise<GatewayOutcome> {
    const { protocolVersion } = from.request.params;
    if (typeof protocolVersion !== 'string')
      return invalidParams('params.protocolVersion must be a revision');
    const revision = isLegacyRevision(protocolVersion) ? protocolVersion : LATEST_LEGACY_REVISION;
    const introduction = await this.introduce(from);
    // Extensions are of the modern era.
    const { extensions: _, ...capabilities } = introduction.capabilities;
    const { instructions, tasks } = introduction;
    if (revision === LATEST_LEGACY_REVISION && tasks) capabilities.tasks = tasks;
    return {
      ok: true,
      result: { protocolVersion: revision, capabilities, serverInfo: this.self, instructions },
    };
  }

  private async discover(from: GatewayRequest): Promise<GatewayOutcome> {
    const { capabilities, instructions } = await this.introduce(from);
    return {
      ok: true,
      result: {
        supportedVersions: SUPPORTED_REVISIONS.slice(),
        capabilities,
        instructions,
        ttlMs: this.views.freshFor(from.scope, from.circle),
        cacheScope: 'private',
      },
    };
  }

  /**
   * What the surface offers. Servers that nobody has reached yet are given a moment: whoever introduces itself is
   * about to ask for their lists anyway.
   */
  private async introduce({ scope, circle }: GatewayRequest) {
    const servers = this.serversIn(scope);
    const loading = servers.flatMap((server) => {
      const catalogue = server.catalogue(circle);
      return catalogue.worthWaiting ? [catalogue.settled(Date.now() + WARM_UP_MS)] : [];
    });
    if (loading.length > 0)
      await Promise.race([Promise.all(loading), delay(INTRODUCTION_MS, undefined, { ref: false })]);
    for (const server of servers) server.catalogue(circle).peek();
    const parts = this.partsOf(scope, circle);
    return {
      capabilities: capabilitiesOf(
        parts,
        keepsResults(
          scope,
          servers.map(({ spec }) => spec),
        ),
      ),
      instructions: instructionsOf(scope, parts),
      tasks: tasksOf(parts),
    };
  }

  private async list(from: GatewayRequest, list: ListName): Promise<GatewayOutcome> {
    const whole = await this.views.complete(from.scope, from.circle);
    const view = list === 'tools' && whole.begun ? await this.beginnings.shownTo(from, whole) : whole;
    if (!view) return invalidParams(BAD_HANDLE);
    const shown = list === 'tools' && speaksLegacyTasks(from.request.envelope) ? 'toolsWithTasks' : list;
    const page = this.pages.page(from, view, shown);
    if (!page) return invalidParams(BAD_CURSOR);
    const ttlMs = this.views.freshFor(from.scope, from.circle);
    return { ok: true, result: this.hints.on(page.result, ttlMs), reusable: page.whole };
  }

  /** A request other than a tool call, when neither a freeze nor a limit is in its way. */
  private async gated(from: GatewayRequest, serve: () => Promise<GatewayOutcome>): Promise<GatewayOutcome> {
    const stopped = this.gates.frozen(from);
    if (stopped) return failed(asJsonRpcError(stopped));
    const place = this.gates.enter(from);
    if (place && 'refusal' in place) return failed(asJsonRpcError(place.refusal));
    try {
      return await serve();
    } finally {
      place?.release();
    }
  }

  /** What a task is told lets it go on, and may change as much as the call that began it. */
  private async answerTask(from: GatewayRequest): Promise<GatewayOutcome> {
    const task = this.tasks.of(from);
    if (!task) return this.onTask(from);
    from.record?.meantFor(task.server);
    const stopped =
      this.gates.frozen(from) ??
      this.gates.deniedTask(from, canonicalName(task.server, task.tool)) ??
      (await unannounced(from));
    return stopped ? failed(asJsonRpcError(stopped)) : this.onTask(from);
  }

  /** What ends work is stopped by nothing, and on record all the same before its server hears of it. */
  private async cancelTask(from: GatewayRequest): Promise<GatewayOutcome> {
    const task = this.tasks.of(from);
    if (!task) return this.onTask(from);
    from.record?.meantFor(task.server);
    const silenced = await unannounced(from);
    return silenced ? failed(asJsonRpcError(silenced)) : this.onTask(from);
  }

  private async onTask(from: GatewayRequest): Promise<GatewayOutcome> {
    try {
      return await this.tasks.handle(from, async (server, asked, params) =>
        dispatch(this.bridge, server, asked, { params }),
      );
    } catch (error) {
      const fault = asFault(error);
      const server = this.tasks.of(from)?.server ?? 'its server';
      // The session that a task was begun in is the only one that knows it.
      if (fault.kind === 'session_lost') return invalidParams(`Task not found: ${fault.message}`);
      return failed(asJsonRpcError(refusalOf(fault, server, originOf(from))));
    }
  }

  /** A method that is none of ours may be one of an extension; whoever may not use its server is told of neither. */
  private extended(from: GatewayRequest): Promise<GatewayOutcome> {
    return this.gated(from, () => this.relayToExtension(from));
  }

  private async relayToExtension(from: GatewayRequest): Promise<GatewayOutcome> {
    const { scope, circle, request } = from;
    await this.views.complete(scope, circle);
    const server = serverForMethod(
      request.method,
      request.envelope.clientCapabilities,
      this.partsOf(scope, circle),
    );
    return server === undefined
      ? unknownMethod(request.method)
      : this.relay(from, server, request.params, !onlyReads(request.method));
  }

  private partsOf(scope: Scope, circle: Circle): Part[] {
    return this.serversIn(scope).map((server) => ({
      server: server.name,
      listing: server.catalogue(circle).peekQuietly(),
      whole: scope.rights.runsAllOf(server.name),
    }));
  }

  /** Sends a request on to the one server that it belongs to. */
  private async relay(
    from: GatewayRequest,
    name: string,
    params: JsonObject,
    mayChange = false,
  ): Promise<GatewayOutcome> {
    const server = this.upstreams.get(name);
    if (!server) return invalidParams(`${name} was just removed from the configuration`);
    from.record?.meantFor(name);
    const denied =
      this.gates.deniedServer(from, name, !mayChange) ?? (mayChange ? await unannounced(from) : undefined);
    if (denied) return failed(asJsonRpcError(denied));
    from.record?.goesTo(name);
    const toolset = this.toolsets.of(server.spec);
    try {
      return await (toolset
        ? this.toolsets.serve(toolset, from, params)
        : dispatch(this.bridge, server, from, { params }));
    } catch (error) {
      return failed(asJsonRpcError(refusalOf(asFault(error), name, originOf(from))));
    }
  }

  private serversIn(scope: Scope): ConfiguredServer[] {
    return serversOf(scope).flatMap((name) => this.upstreams.get(name) ?? []);
  }
}

function unknownMethod(method: string): GatewayOutcome {
  return failed({ code: ErrorCode.methodNotFound, message: `Method not found: ${method}` });
}
