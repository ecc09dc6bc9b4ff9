import { messageOf, Refusal } from '../base/errors.ts';
import type { Gateway } from '../gateway/gateway.ts';
import type { Scope } from '../gateway/scope.ts';
import type { ViewTool } from '../gateway/view.ts';
import { NOTICE_META } from '../gateway/view.ts';
import type { Authorizer } from '../identity/authorizer.ts';
import { type AuthenticatedCaller, callerKey } from '../identity/caller.ts';
import { definitionFingerprint } from '../pins/definition.ts';
import { findingsIn, kindsOf, newRoom, type Room } from '../pins/suspicious-text.ts';
import { NOTHING_RELAYED } from '../protocol/input-requests.ts';
import type { JsonObject } from '../protocol/jsonrpc.ts';
import type { Snapshot, Surface } from '../resources/spec.ts';
import type { Circle } from '../upstream/circle.ts';
import type { Upstreams } from '../upstream/upstreams.ts';
import type { LiveView, ServerDetail, ServerStatus, ShownTool, ToolList } from './api/live.ts';

const CONNECT_TIMEOUT_MS = 60_000;

/** What the running gateway knows, for the REST API. */
export class GatewayLiveView implements LiveView {
  private readonly gateway: Gateway;
  private readonly upstreams: Upstreams;
  private readonly authorizer: Authorizer;
  private readonly snapshot: () => Snapshot;

  constructor(gateway: Gateway, upstreams: Upstreams, authorizer: Authorizer, snapshot: () => Snapshot) {
    this.gateway = gateway;
    this.upstreams = upstreams;
    this.authorizer = authorizer;
    this.snapshot = snapshot;
  }

  async tools(caller: AuthenticatedCaller, name: string, surface: Surface | undefined): Promise<ToolList> {
    const project = this.snapshot().projects.get(name);
    if (!project) throw new Refusal('not_found', `there is no project ${name}`);
    const surfaces: Surface[] = surface ? [surface] : ['consumer', 'operator'];
    const rights = this.authorizer.listRights(caller, name);
    const list: ToolList = { items: [], degraded: [] };
    const notes: string[] = [];
    const room = newRoom();
    for (const one of surfaces) {
      const scope: Scope = { project, surface: one, rights };
      const view = await this.gateway.views.complete(scope, circleOf(caller));
      for (const tool of view.tools.values()) list.items.push(toolView(tool, one, false, room));
      for (const tool of view.held.values()) list.items.push(toolView(tool, one, true, room));
      list.degraded.push(...view.degraded);
      const note = (view.lists.tools._meta as JsonObject | undefined)?.[NOTICE_META];
      if (typeof note === 'string') notes.push(note);
    }
    if (list.items.length === 0 && notes.length > 0) list.note = notes.join(' ');
    return list;
  }

  status(): ServerStatus[] {
    return this.upstreams.status().map((one) => ({
      name: one.name,
      state: this.upstreams.configurationError(one.name) === undefined ? one.state : 'broken',
      transport: one.transport,
      protocol: one.revision,
      protocolSince: one.probedAt,
      connections: one.connections,
      tools: one.tools,
      lastError: one.lastError,
    }));
  }

  serverStatus(name: string): ServerDetail | undefined {
    const status = this.status().find((one) => one.name === name);
    if (!status) return undefined;
    const details = this.upstreams.get(name)?.details() ?? { connections: [], stderr: [] };
    return {
      ...status,
      stderr: details.stderr,
      connectionList: details.connections.map((one) => ({
        state: one.state,
        owner: one.key,
        pid: one.pid,
        connectedAt: one.state === 'connected' ? one.since : undefined,
        inFlight: one.inFlight,
      })),
    };
  }

  async connect(caller: AuthenticatedCaller, name: string): Promise<ServerStatus> {
    const broken = this.upstreams.configurationError(name);
    if (broken !== undefined) throw new Refusal('unavailable', `${name}: ${broken}`);
    const server = this.upstreams.get(name);
    if (!server) throw new Refusal('not_found', `there is no server ${name}`);
    try {
      await server.connect(circleOf(caller), CONNECT_TIMEOUT_MS);
    } catch (error) {
      throw new Refusal('unavailable', `${name}: ${messageOf(error)}`);
    }
    return this.status().find((one) => one.name === name)!;
  }
}

function circleOf(caller: AuthenticatedCaller): Circle {
  const principal = callerKey(caller);
  return { owner: caller.owner, principal, session: `principal:${principal}`, relayed: NOTHING_RELAYED };
}

function toolView(shown: ViewTool, surface: Surface, isHeld: boolean, room: Room): ShownTool {
  const { canonical, exposed, server, definition, tool, unaccepted: why } = shown;
  const { description } = definition;
  return {
    canonical,
    name: exposed,
    server,
    surface,
    description: typeof description === 'string' ? description : undefined,
    fingerprint: definitionFingerprint(tool.definition),
    state: isHeld ? 'held' : why === undefined ? 'accepted' : 'warned',
    why,
    flags: kindsOf(findingsIn(tool.definition, room)),
    definition: tool.definition,
  };
}
