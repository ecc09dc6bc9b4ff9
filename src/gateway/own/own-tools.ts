import type { Upstreams } from '../../upstream/upstreams.ts';
import type { LongResults } from '../long-results.ts';
import type { OwnTool } from './own-tool.ts';
import { readResultTool } from './read-result.ts';
import { statusTool } from './status.ts';

export type OwnToolsDeps = { upstreams: Upstreams; results: LongResults };

/** Castellan's own tools, in the order in which surfaces list them behind those of the servers. */
export function ownTools({ upstreams, results }: OwnToolsDeps): OwnTool[] {
  return [readResultTool(results), statusTool(upstreams)];
}
