import { z } from 'zod';
import { type ToolsetTool, toolsetTool } from '../../gateway/toolset.ts';
import { definitionsOf, referencesOf } from './names.ts';
import { type Repositories, refusal } from './repositories.ts';
import {
  CURSOR,
  counted,
  IDS,
  limit,
  PATH,
  page,
  pageOf,
  REF,
  REPOSITORY,
  shownAt,
  shownLine,
  skipOf,
  stateName,
} from './shapes.ts';
import type { Syntax } from './syntax.ts';

const input = z.strictObject({
  repository: REPOSITORY,
  name: z
    .string()
    .min(1)
    .max(200)
    .regex(
      /^[\p{L}\p{N}_$@#?!-]+$/u,
      'is not one name: leave out dots, brackets and spaces, as in run instead of Git.run()',
    ),
  path: PATH.default('').describe('Folder or file to look in; the whole repository when left out'),
  ref: REF,
  limit: limit(500, 100),
  cursor: CURSOR,
});
const METHOD = z
  .enum(['tree-sitter', 'text'])
  .describe('text: the file was not parsed, and this goes by the look of the line alone');
const COMPLETE = z.boolean().describe('False: there is more than was looked at; name a path to look closer');
const INCOMPLETE = ' Not everything was looked at: name a path.';

/** The tools that follow names. */
export function namingTools(repositories: Repositories, syntax: Syntax): ToolsetTool[] {
  return [findDefinition(repositories, syntax), findReferences(repositories, syntax)];
}

function findDefinition(repositories: Repositories, syntax: Syntax): ToolsetTool {
  return toolsetTool({
    name: 'find_definition',
    title: 'Find a definition',
    doc: {
      does: 'Finds where a function, class, type or other name is defined',
      when: 'you meet a name and want to see what it is',
      example: { repository: 'castellan', name: 'spawnProcess' },
      returns:
        'each definition with kind, first and last line; method says tree-sitter where the file was parsed, text where it goes by the look of a line',
      next: 'read_code from line to end_line, find_references for who uses it',
      ids: IDS,
    },
    input,
    output: z.object({
      ...page,
      complete: COMPLETE,
      definitions: z.array(
        z.object({
          anchor: z.string(),
          path: z.string(),
          line: z.int(),
          end_line: z.int(),
          kind: z.string(),
          text: z.string(),
          method: METHOD,
        }),
      ),
    }),
    readOnly: true,
    run: async (args, call) => {
      const found = await repositories.code(call, args);
      if (!found.ok) return found;
      const { code, path, name } = found.value;
      const skip = skipOf(args.cursor, code.at);
      if (!skip.ok) return refusal('cursor', skip.error);
      const defined = await definitionsOf(code, syntax, args.name, path);
      if (!defined.ok) return refusal('name', defined.error);
      const { definitions, complete } = defined.value;
      const all = definitions.map(({ endLine, ...one }) => ({
        anchor: `${one.path}:${one.line}`,
        ...one,
        text: shownLine(one.text),
        end_line: endLine,
      }));
      const { shown, next } = pageOf(all, skip.value, args.limit, code.at);
      const message = `${counted(all.length, 'definition')} of ${args.name} at ${stateName(code.at)}.${complete ? '' : INCOMPLETE}`;
      const about = { message, repository: name, at: shownAt(code.at), count: shown.length, complete };
      return { ok: true, structured: { ...about, definitions: shown, ...next } };
    },
  });
}

function findReferences(repositories: Repositories, syntax: Syntax): ToolsetTool {
  return toolsetTool({
    name: 'find_references',
    title: 'Find references',
    doc: {
      does: 'Finds the lines that use a name, its definition among them',
      when: 'you want to know who depends on something before it changes',
      example: { repository: 'castellan', name: 'spawnProcess', path: 'src' },
      returns:
        'lines with path:line anchors; in files that were parsed, mentions in comments and strings are left out and counted as left_out; other names that are spelled alike are not told apart',
      next: 'read_code around a line, git_file_history for when it came',
      ids: IDS,
    },
    input,
    output: z.object({
      ...page,
      complete: COMPLETE,
      left_out: z.int().describe('Lines that mention the name in comments or strings alone'),
      references: z.array(
        z.object({ anchor: z.string(), path: z.string(), line: z.int(), text: z.string(), method: METHOD }),
      ),
    }),
    readOnly: true,
    run: async (args, call) => {
      const found = await repositories.code(call, args);
      if (!found.ok) return found;
      const { code, path, name } = found.value;
      const skip = skipOf(args.cursor, code.at);
      if (!skip.ok) return refusal('cursor', skip.error);
      const used = await referencesOf(code, syntax, args.name, path);
      if (!used.ok) return refusal('name', used.error);
      const { references, leftOut, complete } = used.value;
      const all = references.map((one) => ({
        anchor: `${one.path}:${one.line}`,
        ...one,
        text: shownLine(one.text),
      }));
      const { shown, next } = pageOf(all, skip.value, args.limit, code.at);
      const message = `${shown.length} of ${counted(all.length, 'line')} that use ${args.name} at ${stateName(code.at)}.${complete ? '' : INCOMPLETE}`;
      const about = { message, repository: name, at: shownAt(code.at), count: shown.length, complete };
      return { ok: true, structured: { ...about, left_out: leftOut, references: shown, ...next } };
    },
  });
}
