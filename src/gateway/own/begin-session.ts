import { z } from 'zod';
import type { JsonObject } from '../../protocol/jsonrpc.ts';
import { keysOnly } from '../../resources/problems.ts';
import { exposureOf } from '../scope.ts';
import { itemsOf } from '../view.ts';
import { briefly, type ListingDeps } from './listing.ts';
import { type OwnTool, ownTool } from './own-tool.ts';

const MAX_TASK = 4_000;
const MAX_TOOLS = 8;
const MAX_PROMPTS = 5;
/** Of all definitions together, characters; a tool that has no room is told of in one line. */
const MAX_DEFINITIONS = 24_000;

/** Says what a task needs of a surface that lists none of its tools by itself. */
export function beginSessionTool({ views, search, beginnings }: ListingDeps): OwnTool {
  return ownTool({
    name: 'begin_session',
    title: 'Begin a task',
    doc: {
      does: 'Finds the tools and prompts for a task among all that there are here',
      when: 'before anything else, and again when the task becomes another',
      example: { task: 'Find the open bugs about the login page and comment on the oldest' },
      returns:
        'tools with the schemas of their arguments and prompts, the best fits first, and a handle of this choice',
      next: 'call a tool by its name if you have it, else with the mcp tool: {"action":"call","tool":…,"arguments":…}',
      ids: 'takes none; handle goes into mcp list_tools, or into _meta["castellan/handle"] of tools/list',
    },
    input: keysOnly({
      task: z.string().min(1).max(MAX_TASK).describe('What you are asked to do, in a sentence or two.'),
    }),
    output: z.object({
      message: z.string(),
      handle: z.string(),
      expires_at: z.string(),
      count: z.int(),
      tools: z.array(z.looseObject({ name: z.string() })),
      prompts: z.array(z.looseObject({ name: z.string() })),
    }),
    readOnly: true,
    isOn: (scope) => exposureOf(scope) === 'gated',
    isListed: () => true,
    run: async ({ task }, from) => {
      const view = await views().complete(from.scope, from.circle);
      const names = (await search.tools(view, task)).slice(0, MAX_TOOLS);
      const known = new Map(itemsOf(view, 'prompts').map((prompt) => [String(prompt.name), prompt]));
      const prompted = (await search.prompts(view, task)).slice(0, MAX_PROMPTS);
      const prompts = prompted.flatMap((name) => known.get(name) ?? []);
      const { handle, expiresAt } = await beginnings.begin(from, names);
      let room = MAX_DEFINITIONS;
      const tools = names.flatMap((name): JsonObject[] => {
        const tool = view.tools.get(name);
        const { outputSchema: _, ...definition } = tool?.definition ?? {};
        room -= JSON.stringify(definition).length;
        return room < 0 ? briefly(tool) : [definition];
      });
      const found = `${tools.length} of ${view.tools.size} tools fit best`;
      const message =
        tools.length === 0
          ? 'No tool fits these words. Say it in others, or list all with the mcp tool: {"action":"list_tools"}.'
          : `${found}. Call one by its name, or through the mcp tool; mcp list_tools with a query finds others.`;
      return {
        ok: true,
        structured: { message, handle, expires_at: expiresAt, count: tools.length, tools, prompts },
      };
    },
  });
}
