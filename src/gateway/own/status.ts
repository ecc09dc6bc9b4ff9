import { z } from 'zod';
import { keysOnly } from '../../resources/problems.ts';
import type { Upstreams } from '../../upstream/upstreams.ts';
import { exposureOf } from '../scope.ts';
import { type OwnTool, ownTool } from './own-tool.ts';
import { adviceOn, SERVER_STATE, standingsOf } from './server-states.ts';

const SERVER = z.object({
  name: z.string(),
  status: SERVER_STATE,
  last_error: z.string().optional(),
  advice: z.string().describe('What to do now.'),
});

/**
 * Tells which servers of the surface are well. A surface lists it while one of them is not: a list that is the same all
 * the time costs the model nothing to read again, and while all is well there is nothing to tell.
 */
export function statusTool({ upstreams }: { upstreams: Upstreams }): OwnTool {
  return ownTool({
    name: 'status',
    title: 'State of the servers',
    doc: {
      does: 'Tells how the servers behind these tools are',
      when: 'a tool that you expect is missing, or calls fail',
      example: {},
      returns:
        'servers, each with its status, the last error and what to do about it, and how many there are',
      next: 'what advice says; not this tool again at once, for it starts nothing',
      ids: 'takes none',
    },
    input: keysOnly({}),
    output: z.object({ message: z.string(), count: z.int(), servers: z.array(SERVER) }),
    readOnly: true,
    isOn: () => true,
    isListed: (scope, parts) =>
      exposureOf(scope) === 'full' && parts.some(({ fault }) => fault !== undefined),
    run: async (_, { scope, circle }) => {
      const servers = standingsOf(upstreams, scope, circle).map((one) => ({
        name: one.name,
        status: one.status,
        ...(one.lastError !== undefined && { last_error: one.lastError }),
        advice: adviceOn(one),
      }));
      const ill = servers.filter(({ status }) => status !== 'healthy' && status !== 'not_asked');
      const names = ill.map(({ name, status }) => `${name} (${status})`).join(', ');
      const message = ill.length === 0 ? 'Nothing is known to be wrong.' : `Not well: ${names}.`;
      return { ok: true, structured: { message, count: servers.length, servers } };
    },
  });
}
