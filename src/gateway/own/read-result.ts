import { z } from 'zod';
import { keysOnly } from '../../resources/problems.ts';
import { keepsResults, type LongResults } from '../long-results.ts';
import { exposureOf } from '../scope.ts';
import { type OwnTool, ownTool } from './own-tool.ts';

/** Reads further parts of a result that was too long for its reader; listed where results may be. */
export function readResultTool(results: LongResults): OwnTool {
  return ownTool({
    name: 'read_result',
    title: 'Read more of a long result',
    doc: {
      does: 'Reads one part of a result that was too long to be given as a whole',
      when: 'a result says that it is one part of several, and you need another',
      example: { id: 'res_0Q3fYbCq2vN8sLx5TzWk1d', section: 2 },
      returns:
        'the text of that part as it is, and a sentence that says how many there are and what to call for the next',
      next: 'read_result with the next section, or nothing: read no more than you need',
      ids: 'id is the one that the first part names; section counts from 1, which is the part that you have',
    },
    input: keysOnly({ id: z.string().min(1).max(64), section: z.int().min(1) }),
    readOnly: true,
    isOn: () => true,
    isListed: (scope, parts) =>
      exposureOf(scope) === 'full' &&
      keepsResults(
        scope,
        parts.flatMap(({ spec }) => spec ?? []),
      ),
    run: ({ id, section }, from) => results.section(from, id, section),
  });
}
