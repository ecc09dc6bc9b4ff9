/**
 * The way of a tool call, in order:
 *
 *   find the tool on this surface → authorize → compare mirrored headers → freeze → limits → policy → announce →
 *   dispatch upstream → shape the result
 *
 * A call that comes through a tool of our own (`own/`) begins here too, as if it had come by itself.
 *
 * Each step takes what only the step before it can make, so none can be left out.
 */
import type { Authorizer } from '../identity/authorizer.ts';
import { paramHeaderFault, paramHeaderValues } from '../protocol/headers.ts';
import { ErrorCode, isObject, type JsonObject, type JsonRpcError } from '../protocol/jsonrpc.ts';
import type { NeutralOutcome } from '../protocol/model.ts';
import { UpstreamFault } from '../upstream/transport.ts';
import type { Upstreams } from '../upstream/upstreams.ts';
import { unannounced } from './call-record.ts';
import { type Bridge, dispatch } from './dispatch.ts';
import type { Gates } from './gates.ts';
import type { HeldCalls } from './held-calls.ts';
import type { LongResults, ShapedTool } from './long-results.ts';
import { waitingText } from './merged-tools.ts';
import type { OwnCalls } from './own/own-calls.ts';
import type { OwnTool } from './own/own-tool.ts';
import {
  asFault,
  asToolResult,
  type CallRefusal,
  failed,
  invalidParams,
  policyDenied,
  refusalOf,
  unknownTool,
} from './refusals.ts';
import { type GatewayRequest, originOf, serversOf } from './scope.ts';
import type { CallStats } from './stats.ts';
import { courseOf, takesTasks } from './tasks/course.ts';
import type { Toolsets } from './toolsets.ts';
import type { ViewTool } from './view.ts';
import type { Views } from './views.ts';

export type ToolCallDeps = {
  views: Views;
  upstreams: Upstreams;
  authorizer: Authorizer;
  gates: Gates;
  stats: CallStats;
  bridge: Bridge;
  toolsets: Toolsets;
  heldCalls: HeldCalls;
  ownCalls: OwnCalls;
  results: LongResults;
};

/** How long a call waits for the list of a server that nobody has reached yet, ms. */
const FIND_TIMEOUT_MS = 30_000;

declare const authorized: unique symbol;
export type AuthorizedCall = {
  readonly tool: ViewTool;
  readonly arguments: unknown;
  readonly [authorized]: true;
};

/** @param through the tool of our own that the call came with: it does not call itself */
export function callTool(
  deps: ToolCallDeps,
  from: GatewayRequest,
  through?: OwnTool,
): GatewayOutcome | Promise<GatewayOutcome> {
  const { name, arguments: args } = from.request.params;
  if (typeof name !== 'string') return invalidParams('params.name must be the name of a tool');
  const view = deps.views.current(from.scope, from.circle);
  const known = view.tools.get(name);
  const own = known ? undefined : view.own.get(name);
  if (own && own !== through) return deps.ownCalls.answer(own, from, (inner) => callTool(deps, inner, own));
  if (args !== undefined && !isObject(args)) return invalidParams('params.arguments must be an object');
  return known && !known.provisional
    ? callFound(deps, from, known, args)
    : findAndCall(deps, from, name, args);
}

/** The way of a tool that no list so far has for sure: one of the servers may not have been reached yet. */
async function findAndCall(
  deps: ToolCallDeps,
  from: GatewayRequest,
  name: string,
  args: JsonObject | undefined,
): Promise<GatewayOutcome> {
  const found = await deps.views.findTool(from.scope, from.circle, name, Date.now() + FIND_TIMEOUT_MS);
  if (!found) return refuseHeld(deps, from, name) ?? failed(unknownTool(name));
  if ('unavailable' in found) {
    return {
      ok: true,
      result: asToolResult(refusalOf(found.fault, found.unavailable, originOf(from)), false),
    };
  }
  return callFound(deps, from, found.tool, args);
}

/** Whoever has read a definition that counts no longer learns why the tool is gone. */
function refuseHeld(deps: ToolCallDeps, from: GatewayRequest, name: string): GatewayOutcome | undefined {
  const held = deps.views.current(from.scope, from.circle).held.get(name);
  if (!held) return undefined;
  from.record?.found(held);
  if (!authorize(deps.authorizer, from, held)) return undefined;
  from.record?.decidedBy({ policy: held.unaccepted === 'new' ? 'newTools' : 'changedTools' });
  return refused(policyDenied(waitingText(held.unaccepted)), held);
}

function callFound(
  deps: ToolCallDeps,
  from: GatewayRequest,
  tool: ViewTool,
  args: JsonObject | undefined,
): GatewayOutcome | Promise<GatewayOutcome> {
  from.record?.found(tool);
  const call = authorize(deps.authorizer, from, tool);
  if (!call) return failed(unknownTool(String(from.request.params.name)));
  const mismatch = from.mirrored && paramHeaderFault(call.tool.tool.paramHeaders, args, from.mirrored);
  if (mismatch) return failed({ code: ErrorCode.headerMismatch, message: mismatch });
  const outcome = pass(deps, from, call, args);
  const { shape } = tool;
  return shape ? shaped(deps.results, from, { ...tool, shape }, outcome) : outcome;
}

async function shaped(
  results: LongResults,
  from: GatewayRequest,
  tool: ShapedTool,
  outcome: GatewayOutcome | Promise<GatewayOutcome>,
): Promise<GatewayOutcome> {
  return results.shaped(from, tool, await outcome);
}

/** Through what may stop a call although its caller has the right to it. */
function pass(
  deps: ToolCallDeps,
  from: GatewayRequest,
  call: AuthorizedCall,
  args: JsonObject | undefined,
): GatewayOutcome | Promise<GatewayOutcome> {
  const { gates } = deps;
  const stopped = gates.frozen(from);
  if (stopped) return refused(stopped, call.tool);
  const place = gates.enter(from, call.tool.canonical);
  if (place && 'refusal' in place) return refused(place.refusal, call.tool);
  const stoppage = gates.stoppedTool(from, call.tool, args);
  if (!stoppage) return place ? send(deps, from, call).finally(place.release) : send(deps, from, call);
  place?.release();
  return 'held' in stoppage ? deps.heldCalls.hold(from, call, stoppage) : refused(stoppage, call.tool);
}

export function refused(refusal: CallRefusal, { definition }: ViewTool): GatewayOutcome {
  return { ok: true, result: asToolResult(refusal, definition.outputSchema !== undefined) };
}

/** A gateway's answer. `reusable`: the same result object answers others too, so its text is worth keeping. */
export type GatewayOutcome = NeutralOutcome & { reusable?: boolean };

/** Whoever may not run a tool is not told that it exists. */
export function authorize(
  authorizer: Authorizer,
  { caller, scope, request }: GatewayRequest,
  tool: ViewTool,
): AuthorizedCall | undefined {
  const { allowed } = authorizer.decide(caller, {
    role: 'run',
    resource: 'tools',
    name: tool.canonical,
    project: scope.project.name,
  });
  return allowed ? ({ tool, arguments: request.params.arguments } as AuthorizedCall) : undefined;
}

export type SendDeps = Pick<ToolCallDeps, 'upstreams' | 'stats' | 'bridge' | 'toolsets'>;

/** `fault`: what the transport had to say, where there is no answer. */
export type Sent = GatewayOutcome & { fault?: UpstreamFault };

/** The last steps of the way. */
export async function send(deps: SendDeps, from: GatewayRequest, call: AuthorizedCall): Promise<Sent> {
  const { tool } = call;
  const started = performance.now();
  const settle = (outcome: 'ok' | 'tool_error' | 'error' | 'fault') =>
    deps.stats.record(tool.server, outcome, performance.now() - started);
  const server = deps.upstreams.get(tool.server);
  if (!server) return { ok: true, result: gone(tool) };
  const course = courseOf(tool.taskSupport, server.era, from.request, () => offersTasks(deps, from));
  if (course === 'refuse') return failed(notAsTask(tool));
  const way = course === 'plain' ? { server, from } : deps.bridge.tasks.onCourse(course, server, from);
  const params: JsonObject = { ...from.request.params, name: tool.tool.name };
  // Only a client that may have it asks a server of 2025-11-25 for a task.
  if (course !== 'relay' && params.task !== undefined && tool.taskSupport !== undefined) delete params.task;
  const silenced = tool.readOnly ? undefined : await unannounced(from);
  if (silenced) return refused(silenced, tool);
  from.record?.goesTo(tool.server);
  const toolset = deps.toolsets.of(server.spec);
  try {
    const outcome = await (toolset
      ? deps.toolsets.serve(toolset, from, params)
      : dispatch(deps.bridge, way.server, way.from, {
          params,
          paramHeaders: paramHeaderValues(tool.tool.paramHeaders, call.arguments),
        }));
    settle(outcomeOf(outcome));
    return outcome;
  } catch (error) {
    settle('fault');
    const fault = asFault(error);
    return { ...refused(refusalOf(fault, tool.server, originOf(from)), tool), fault };
  }
}

/** Whether a client of 2025-11-25 was told that tools of this surface can be called as tasks. */
function offersTasks({ upstreams }: Pick<SendDeps, 'upstreams'>, { scope, circle }: GatewayRequest): boolean {
  return serversOf(scope).some((name) => {
    const peer = upstreams.get(name)?.catalogue(circle).peekQuietly()?.peer;
    return peer?.era === 'legacy' && takesTasks(peer.capabilities);
  });
}

function notAsTask({ exposed, server }: ViewTool): JsonRpcError {
  const message = `${exposed} cannot be called as a task: ${server} has none. Call it without params.task`;
  return { code: ErrorCode.methodNotFound, message };
}

function outcomeOf(outcome: NeutralOutcome): 'ok' | 'tool_error' | 'error' {
  if (!outcome.ok) return 'error';
  return outcome.result.isError === true ? 'tool_error' : 'ok';
}

function gone(tool: ViewTool): JsonObject {
  const fault = new UpstreamFault('unreachable', 'it was just removed from the configuration');
  return asToolResult(refusalOf(fault, tool.server), false);
}
