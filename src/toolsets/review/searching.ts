import { z } from 'zod';
import { globMatches } from '../../base/glob.ts';
import { type ToolsetTool, toolsetTool } from '../../gateway/toolset.ts';
import { searchLines } from './line-search.ts';
import { type Repositories, refusal } from './repositories.ts';
import {
  CURSOR,
  counted,
  cursorAt,
  IDS,
  limit,
  PATH,
  page,
  REF,
  REPOSITORY,
  shownAt,
  shownLine,
  skipOf,
  stateName,
} from './shapes.ts';

/** The tool that finds lines by their text. */
export function searchCode(repositories: Repositories): ToolsetTool {
  return toolsetTool({
    name: 'search_code',
    title: 'Search in code',
    doc: {
      does: 'Finds lines that contain a text, or match a POSIX extended regular expression',
      when: 'you know a text, a message or a part of a name; for a whole name use find_definition or find_references',
      example: { repository: 'castellan', pattern: 'spawnProcess(', path: 'src' },
      returns: 'matching lines with path:line anchors, in the order of paths; binary files are left out',
      next: 'read_code around a line',
      ids: IDS,
    },
    input: z.strictObject({
      repository: REPOSITORY,
      pattern: z
        .string()
        .min(1)
        .max(1000)
        .regex(/^[^\0\r\n]*$/, 'is more than one line: look for one line at a time'),
      regex: z.boolean().default(false).describe('True: pattern is an expression, not plain text'),
      ignore_case: z.boolean().default(false),
      word: z.boolean().default(false).describe('True: whole words alone'),
      path: PATH.default(''),
      glob: z.string().max(512).optional().describe('Over whole paths; * also stands for /'),
      ref: REF,
      limit: limit(500, 100),
      cursor: CURSOR,
    }),
    output: z.object({
      ...page,
      matches: z.array(z.object({ anchor: z.string(), path: z.string(), line: z.int(), text: z.string() })),
    }),
    readOnly: true,
    run: async (args, call) => {
      const found = await repositories.code(call, args);
      if (!found.ok) return found;
      const { code, path, name } = found.value;
      const skip = skipOf(args.cursor, code.at);
      if (!skip.ok) return refusal('cursor', skip.error);
      const { pattern, regex: isRegex, ignore_case: ignoreCase, word: isWord, glob } = args;
      let seen = 0;
      const searched = await searchLines(code, { pattern, isRegex, ignoreCase, isWord, path }, (hit) => {
        if (glob !== undefined && !globMatches(glob, hit.path)) return 'skip';
        seen += 1;
        if (seen <= skip.value) return 'skip';
        return seen > skip.value + args.limit ? 'end' : 'take';
      });
      if (!searched.ok) return refusal('pattern', searched.error);
      const { hits, ended } = searched.value;
      const matches = hits.map((hit) => ({
        anchor: `${hit.path}:${hit.line}`,
        ...hit,
        text: shownLine(hit.text),
      }));
      const message = `${counted(matches.length, 'line')}${ended ? ', and there are more,' : ''} at ${stateName(code.at)}.`;
      const about = { message, repository: name, at: shownAt(code.at), count: matches.length };
      const next = ended ? { next_cursor: cursorAt(code.at, skip.value + args.limit) } : {};
      return { ok: true, structured: { ...about, matches, ...next } };
    },
  });
}
