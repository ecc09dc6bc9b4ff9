import { z } from 'zod';
import { type ToolsetCall, type ToolsetTool, toolsetTool } from '../../gateway/toolset.ts';
import type { CodeAt } from './code.ts';
import { languageOf } from './languages.ts';
import { type Found, type Named, type Repositories, refusal } from './repositories.ts';
import {
  AT,
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
import { definedOn } from './text-definitions.ts';

const MAX_TEXT = 128 * 1024;
const BINARY_HEAD = 8000;

/** The tools that look into one file. */
export function readingTools(repositories: Repositories, syntax: Syntax): ToolsetTool[] {
  return [outline(repositories, syntax), readCode(repositories)];
}

type TextFile = { name: string; path: string; at: CodeAt; text: string };

async function textFile(
  repositories: Repositories,
  call: ToolsetCall,
  named: Named,
): Promise<Found<TextFile>> {
  const found = await repositories.code(call, named);
  if (!found.ok) return found;
  const { code, path, name } = found.value;
  if (path === '') return refusal('path', 'is missing: name a file; list_code_files lists them');
  const content = await code.read(path);
  if (!content.ok) return refusal('path', content.error, 'NOT_FOUND');
  if (content.value.subarray(0, BINARY_HEAD).includes(0))
    return refusal('path', `is a binary file of ${content.value.length} bytes: only text is shown`);
  return { ok: true, value: { name, path, at: code.at, text: content.value.toString() } };
}

/** Without the empty one that follows the last end of a line. */
export function linesOf(text: string): string[] {
  const lines = text.split(/\r?\n/);
  if (lines.at(-1) === '') lines.pop();
  return lines;
}

const SYMBOL = z.object({
  anchor: z.string(),
  name: z.string(),
  kind: z.string(),
  line: z.int(),
  end_line: z.int(),
  depth: z.int().describe('How many definitions it lies in'),
});

function outline(repositories: Repositories, syntax: Syntax): ToolsetTool {
  return toolsetTool({
    name: 'outline',
    title: 'Outline of a file',
    doc: {
      does: 'Lists what one file defines: classes, functions, types and the like',
      when: 'you want to know what is in a file before you read it',
      example: { repository: 'castellan', path: 'src/app.ts' },
      returns:
        'name, kind, first and last line of each definition in the order of the file; method is tree-sitter where the grammar is shipped, else text, which guesses by the look of lines',
      next: 'read_code with start_line and end_line of a definition, find_references with its name',
      ids: IDS,
    },
    input: z.strictObject({
      repository: REPOSITORY,
      path: PATH,
      ref: REF,
      limit: limit(1000, 300),
      cursor: CURSOR,
    }),
    output: z.object({
      ...page,
      path: z.string(),
      method: z.enum(['tree-sitter', 'text']),
      language: z.string().optional(),
      symbols: z.array(SYMBOL),
    }),
    readOnly: true,
    run: async (args, call) => {
      const file = await textFile(repositories, call, args);
      if (!file.ok) return file;
      const { name, path, at, text } = file.value;
      const skip = skipOf(args.cursor, at);
      if (!skip.ok) return refusal('cursor', skip.error);
      const language = languageOf(path);
      const parsed = language && (await syntax.symbols(text, language));
      const method = parsed ? 'tree-sitter' : 'text';
      const symbols = (parsed ?? textSymbols(text)).map(({ endLine, ...one }) => ({
        anchor: `${path}:${one.line}`,
        ...one,
        end_line: endLine,
      }));
      const { shown, next } = pageOf(symbols, skip.value, args.limit, at);
      const how = parsed ? '' : ' (found by the look of lines, for it was not parsed)';
      const message = `${shown.length} of ${counted(symbols.length, 'definition')} in ${path} at ${stateName(at)}${how}.`;
      const about = { message, repository: name, at: shownAt(at), count: shown.length, path, method };
      return { ok: true, structured: { ...about, language: language?.name, symbols: shown, ...next } };
    },
  });
}

function textSymbols(text: string) {
  return linesOf(text).flatMap((line, index) => {
    const defined = definedOn(line);
    return defined ? [{ ...defined, line: index + 1, endLine: index + 1, depth: 0 }] : [];
  });
}

function readCode(repositories: Repositories): ToolsetTool {
  return toolsetTool({
    name: 'read_code',
    title: 'Read a file',
    doc: {
      does: 'Reads lines of one file',
      when: 'you know the file, from a search, an outline or a listing',
      example: { repository: 'castellan', path: 'src/app.ts', start_line: 1, end_line: 80 },
      returns:
        'the lines with their numbers, at most 400 lines or 128 KiB at a time, and next_line where the file goes on; cite them as path:line with the commit of at',
      next: 'read_code from next_line, find_definition for a name in it, git_file_history for why it is so',
      ids: IDS,
    },
    input: z.strictObject({
      repository: REPOSITORY,
      path: PATH,
      ref: REF,
      start_line: z.int().min(1).default(1),
      end_line: z.int().min(1).optional().describe('At most 399 after start_line, which is the default'),
    }),
    output: z.object({
      message: z.string(),
      repository: z.string(),
      at: AT,
      path: z.string(),
      anchor: z.string(),
      start_line: z.int(),
      end_line: z.int(),
      total_lines: z.int(),
      content: z.string().describe('The lines as they are, without numbers; very long ones are cut'),
      next_line: z.int().optional().describe('Where the rest of the file begins'),
    }),
    readOnly: true,
    run: async (args, call) => {
      const { start_line: start, end_line: last = args.start_line + 399 } = args;
      if (last < start || last - start > 399)
        return refusal('end_line', 'must be start_line or up to 399 more: ask for the rest afterwards');
      const file = await textFile(repositories, call, args);
      if (!file.ok) return file;
      const { name, path, at, text } = file.value;
      const lines = linesOf(text);
      if (start > Math.max(1, lines.length))
        return refusal('start_line', `is beyond the end: the file has ${counted(lines.length, 'line')}`);
      const shown: string[] = [];
      let size = 0;
      for (const line of lines.slice(start - 1, last).map(shownLine)) {
        size += line.length + 1;
        if (size > MAX_TEXT && shown.length > 0) break;
        shown.push(line);
      }
      const end = Math.max(start, start + shown.length - 1);
      const message = `Lines ${start} to ${end} of ${lines.length} of ${path} at ${stateName(at)}.`;
      const structured = {
        ...{ message, repository: name, at: shownAt(at), path, anchor: `${path}:${start}` },
        ...{ start_line: start, end_line: end, total_lines: lines.length, content: shown.join('\n') },
        ...(end < lines.length ? { next_line: end + 1 } : {}),
      };
      const numbered = shown.map((line, index) => `${start + index}\t${line}`);
      return { ok: true, structured, text: [message, ...numbered].join('\n') };
    },
  });
}
