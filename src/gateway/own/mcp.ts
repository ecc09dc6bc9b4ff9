import { z } from 'zod';
import { isObject, type JsonObject } from '../../protocol/jsonrpc.ts';
import { keysOnly } from '../../resources/problems.ts';
import { exposureOf, type GatewayRequest } from '../scope.ts';
import type { ToolsetAnswer } from '../toolset.ts';
import { describeTool, help, type ListingDeps, listServers, listTools, serverStatus } from './listing.ts';
import { type OwnTool, ownTool } from './own-tool.ts';
import { completeLogin, login, type SignInDeps } from './sign-in.ts';

export const ACTIONS = [
  'help',
  'list_servers',
  'list_tools',
  'describe_tool',
  'call',
  'status',
  'login',
  'complete_login',
] as const;

const MAX_TEXT = 4_096;
const MAX_PAGE = 100;
const PAGE = 25;

const unknownAction = () =>
  `must be one of ${ACTIONS.join(', ')}. To run the tool of a server, use action "call" with its name in "tool". The same call will be refused again`;

/** Arguments of another tool go on as they came, whatever is in them. */
const innerArguments = z
  .unknown()
  .refine((given) => given === undefined || given === null || isObject(given), {
    error: ({ input }) =>
      `must be an object, not ${Array.isArray(input) ? 'an array' : `a ${typeof input}`}: write the arguments of the tool as describe_tool shows them`,
  })
  .meta({ type: 'object', description: 'call: the arguments of the tool; none: {}.' });

const INPUT = keysOnly({
  action: z.enum(ACTIONS, { error: unknownAction }).default('help'),
  tool: z.string().max(MAX_TEXT).optional().describe('describe_tool, call: a name from list_tools.'),
  arguments: innerArguments.optional(),
  query: z
    .string()
    .max(MAX_TEXT)
    .optional()
    .describe('list_tools: what you want to do; the best fits first.'),
  server: z
    .string()
    .max(MAX_TEXT)
    .optional()
    .describe('list_tools, help, login, complete_login: a name from list_servers.'),
  limit: z.int().min(1).max(MAX_PAGE).default(PAGE).describe('list_tools'),
  cursor: z.string().max(MAX_TEXT).optional().describe('list_tools: next_cursor of the page before.'),
  handle: z.string().max(MAX_TEXT).optional().describe('list_tools: what begin_session found.'),
  flow: z.enum(['device', 'paste']).optional().describe('login: only if one of them is asked for.'),
  url: z
    .string()
    .max(8_192)
    .optional()
    .describe('complete_login: the address that the browser came back to.'),
});

type Args = z.output<typeof INPUT>;
export type McpToolDeps = ListingDeps & SignInDeps;

/**
 * All tools of the consumer surface behind one: found by a search, described when wanted, called by name. A call goes
 * the way of a direct one, so that its rights, policies, limits and audit are those of the tool that is called.
 */
export function mcpTool(deps: McpToolDeps): OwnTool {
  return ownTool({
    name: 'mcp',
    title: 'Find and call tools',
    doc: {
      does: 'Reaches the tools of all servers here: finds, describes and calls them, tells how the servers are, signs in for one',
      when: 'a task needs a tool that is not listed by itself',
      example: { action: 'list_tools', query: 'open an issue' },
      returns: 'what the action asks for; of call, exactly what the tool answered',
      next: 'list_tools, then describe_tool for the arguments, then call; help tells of every action',
      ids: 'tool is a name from list_tools, server one from list_servers, cursor is next_cursor of the page before',
    },
    input: INPUT,
    readOnly: false,
    // The address holds a code.
    secret: ['url'],
    isOn: ({ surface }) => surface === 'consumer',
    isListed: (scope, parts) =>
      exposureOf(scope) !== 'full' || parts.some(({ spec }) => spec?.auth !== undefined),
    changes: ({ action }) => action === 'login' || action === 'complete_login',
    inner: ({ action, tool, arguments: args }) =>
      action === 'call' && tool !== undefined
        ? { name: tool, arguments: (args ?? {}) as JsonObject }
        : undefined,
    run: (args, from) => act(deps, args, from),
  });
}

async function act(deps: McpToolDeps, args: Args, from: GatewayRequest): Promise<ToolsetAnswer> {
  switch (args.action) {
    case 'help':
      return help(deps, from, args.server);
    case 'list_servers':
      return listServers(deps, from);
    case 'status':
      return serverStatus(deps, from);
    case 'list_tools':
      return listTools(deps, from, args);
    case 'describe_tool':
      return args.tool === undefined ? missing('tool', 'describe_tool') : describeTool(deps, from, args.tool);
    case 'call':
      return missing('tool', 'call');
    case 'login':
      return args.server === undefined
        ? missing('server', 'login')
        : login(deps, from, args.server, args.flow);
    case 'complete_login':
      return args.server === undefined
        ? missing('server', 'complete_login')
        : completeLogin(deps, from, args.server, args.url);
  }
}

function missing(field: 'tool' | 'server', action: string): ToolsetAnswer {
  const list = field === 'tool' ? 'list_tools' : 'list_servers';
  const message = `${field} is missing: action "${action}" needs a name from ${list}`;
  return { ok: false, code: 'INVALID_ARGUMENT', message, field };
}
