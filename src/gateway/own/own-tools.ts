import type { Upstreams } from '../../upstream/upstreams.ts';
import type { OwnTool } from './own-tool.ts';
import { statusTool } from './status.ts';

export type OwnToolsDeps = { upstreams: Upstreams };

/** Castellan's own tools, in the order in which surfaces list them behind those of the servers. */
export function ownTools({ upstreams }: OwnToolsDeps): OwnTool[] {
  return [statusTool(upstreams)];
}
