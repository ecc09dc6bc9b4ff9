import type { LongResults } from '../long-results.ts';
import { beginSessionTool } from './begin-session.ts';
import { type McpToolDeps, mcpTool } from './mcp.ts';
import type { OwnTool } from './own-tool.ts';
import { readResultTool } from './read-result.ts';
import { statusTool } from './status.ts';

export type OwnToolsDeps = McpToolDeps & { results: LongResults };

/** Castellan's own tools, in the order in which surfaces list them behind those of the servers. */
export function ownTools(deps: OwnToolsDeps): OwnTool[] {
  return [beginSessionTool(deps), mcpTool(deps), readResultTool(deps.results), statusTool(deps)];
}
