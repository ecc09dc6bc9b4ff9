import type { JsonObject } from '../../protocol/jsonrpc.ts';
import { nearest, printable } from '../../resources/names.ts';
import type { Upstreams } from '../../upstream/upstreams.ts';
import { waitingText } from '../merged-tools.ts';
import { exposureOf, type GatewayRequest, serversOf } from '../scope.ts';
import type { TaskBeginnings } from '../task-beginnings.ts';
import type { ToolSearch } from '../tool-search.ts';
import type { ToolsetAnswer } from '../toolset.ts';
import type { View, ViewTool } from '../view.ts';
import type { Views } from '../views.ts';
import { adviceOn, standingsOf } from './server-states.ts';

export type ListingDeps = {
  upstreams: Upstreams;
  views: () => Views;
  search: ToolSearch;
  beginnings: TaskBeginnings;
};

type Asked = { server?: string; query?: string; cursor?: string; limit: number; handle?: string };

const MAX_ABOUT = 200;
const MAX_INSTRUCTIONS = 16_384;

const HELP = `This tool reaches all tools of this surface. Actions:
list_tools {query?, server?, limit?, cursor?}: names and short descriptions; with query, those that fit best first.
describe_tool {tool}: the whole definition of one, with the schema of its arguments.
call {tool, arguments}: calls it; the answer is exactly what the tool answered. read_result, for more of a long one, is called so too.
list_servers {}: the servers behind the tools. status {}: the same with their last errors.
login {server}: begins to sign in for a server whose status is needs_auth; complete_login {server, url?}: goes on with it.
help {server}: what that server says of its tools.
Usually: list_tools with a query, describe_tool for the one that fits, call. A refused call says whether a retry can help.`;

export async function help(
  { upstreams }: ListingDeps,
  { scope, circle }: GatewayRequest,
  server: string | undefined,
): Promise<ToolsetAnswer> {
  if (server === undefined) return { ok: true, structured: { message: HELP }, text: HELP };
  if (!serversOf(scope).includes(server)) return noServer(server, serversOf(scope));
  const said = upstreams.get(server)?.catalogue(circle).peekQuietly()?.peer.instructions?.trim();
  const text = said
    ? said.slice(0, MAX_INSTRUCTIONS)
    : `${server} says nothing of itself that is known here.`;
  return { ok: true, structured: { message: text }, text };
}

/** Answers from memory, whatever is dialling. */
export async function listServers(
  { upstreams }: ListingDeps,
  { scope, circle }: GatewayRequest,
): Promise<ToolsetAnswer> {
  const servers = standingsOf(upstreams, scope, circle).map(({ name, status, transport }) => ({
    name,
    status,
    transport: transport ?? null,
  }));
  const message = `There are ${servers.length} servers. list_tools with server lists the tools of one.`;
  return { ok: true, structured: { message, count: servers.length, servers } };
}

/** The same with what was wrong, and what to do about it. */
export async function serverStatus(
  { upstreams }: ListingDeps,
  { scope, circle }: GatewayRequest,
): Promise<ToolsetAnswer> {
  const standings = standingsOf(upstreams, scope, circle);
  const servers = standings.map(({ name, status, transport, lastError }) => ({
    name,
    status,
    transport: transport ?? null,
    last_error: lastError ?? null,
  }));
  const ill = standings.filter(({ status }) => status !== 'healthy' && status !== 'not_asked');
  const told = ill.map((one) => `${one.name} is ${one.status}: ${adviceOn(one)}`);
  const message = told.length === 0 ? 'Nothing is known to be wrong.' : told.join(' ');
  return { ok: true, structured: { message, count: servers.length, servers } };
}

export async function listTools(
  deps: ListingDeps,
  from: GatewayRequest,
  { server, query, cursor, limit, handle }: Asked,
): Promise<ToolsetAnswer> {
  const { scope, circle } = from;
  if (server !== undefined && !serversOf(scope).includes(server)) return noServer(server, serversOf(scope));
  const chosen = handle === undefined ? undefined : deps.beginnings.toolsOf(from, handle);
  if (handle !== undefined && !chosen)
    return refused('handle', 'is none that begin_session gave you here, or it has expired: begin again');
  const view = await deps.views().complete(scope, circle);
  const ranked = query === undefined ? [...view.tools.keys()] : await deps.search.tools(view, query);
  const fitting = ranked.filter((name) => {
    const ofServer = server === undefined || view.tools.get(name)?.server === server;
    return ofServer && (chosen === undefined || chosen.includes(name));
  });
  const at = cursor === undefined ? 0 : fitting.indexOf(cursor) + 1;
  if (cursor !== undefined && at === 0)
    return refused('cursor', 'is not of this list any more: list again, without it');
  const page = fitting.slice(at, at + limit);
  const tools = page.flatMap((name) => briefly(view.tools.get(name)));
  const last = at + limit < fitting.length ? page.at(-1) : undefined;
  const structured = {
    message: messageFor(view, fitting.length, tools.length, query),
    count: tools.length,
    total: fitting.length,
    tools,
    ...(last !== undefined && { next_cursor: last }),
  };
  return { ok: true, structured };
}

export async function describeTool(
  deps: ListingDeps,
  { scope, circle }: GatewayRequest,
  name: string,
): Promise<ToolsetAnswer> {
  const view = await deps.views().complete(scope, circle);
  const tool = view.tools.get(name);
  if (!tool) {
    const waiting = view.held.get(name);
    const meant = nearest(name, view.tools.keys());
    const other = meant ? `did you mean ${meant}?` : 'find its name with list_tools and a query';
    const fix = waiting ? waitingText(waiting.unaccepted) : other;
    const message = `There is no tool ${printable(name)} here: ${fix}`;
    return { ok: false, code: 'NOT_FOUND', message, field: 'tool' };
  }
  const listed = exposureOf(scope) === 'full' ? 'call it by its name, or ' : '';
  const message = `${name} is a tool of ${tool.server}: ${listed}use action "call" with tool and arguments.`;
  return { ok: true, structured: { message, server: tool.server, tool: tool.definition } };
}

/** A tool in one line; what was cut of its description describe_tool shows. */
export function briefly(tool: ViewTool | undefined): JsonObject[] {
  if (!tool) return [];
  const { description } = tool.definition;
  const text = typeof description === 'string' ? description.trim().replace(/\s+/g, ' ') : '';
  const cut = text.length > MAX_ABOUT ? `${text.slice(0, MAX_ABOUT - 1)}…` : text;
  return [{ name: tool.exposed, description: cut.toWellFormed() }];
}

function messageFor({ degraded }: View, total: number, shown: number, query: string | undefined): string {
  const missing = degraded.length > 0 ? ' Some servers are not well: see action "status".' : '';
  if (total === 0) {
    const fix = query === undefined ? '' : ' Use other words, or leave query out to list all.';
    return `No tool fits.${fix}${missing}`;
  }
  const order = query === undefined ? '' : ', the best fits first';
  return `${shown} of ${total} tools${order}. describe_tool shows the arguments of one.${missing}`;
}

export function noServer(name: string, servers: readonly string[]): ToolsetAnswer {
  const meant = nearest(name, servers);
  const fix = meant ? `did you mean ${meant}?` : 'list_servers shows those that there are';
  const message = `There is no server ${printable(name)} here: ${fix}`;
  return { ok: false, code: 'NOT_FOUND', message, field: 'server' };
}

function refused(field: string, why: string): ToolsetAnswer {
  return { ok: false, code: 'INVALID_ARGUMENT', message: `${field} ${why}.`, field };
}
