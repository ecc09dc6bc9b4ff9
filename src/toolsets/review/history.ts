import { z } from 'zod';
import { type ToolsetTool, toolsetTool } from '../../gateway/toolset.ts';
import type { Code } from './code.ts';
import { COMMIT, type Commit, commitsOf } from './commits.ts';
import { type Found, type Repositories, refusal } from './repositories.ts';
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
  skipOf,
  stateName,
} from './shapes.ts';

const OUTPUT = z.object({ ...page, commits: z.array(COMMIT) });
const DAY = z
  .string()
  .regex(
    /^\d{4}-\d\d-\d\d(T\d\d:\d\d(:\d\d)?(Z|[+-]\d\d:\d\d)?)?$/,
    'is no time: write 2026-01-31 or 2026-01-31T12:00:00Z',
  );
const TEXT = z
  .string()
  .min(1)
  .max(200)
  .regex(/^[^\0\r\n]*$/, 'is more than one line: write one');

/** The tools that list commits. */
export function historyTools(repositories: Repositories): ToolsetTool[] {
  return [gitLog(repositories), gitFileHistory(repositories)];
}

type Page = { limit: number; cursor?: string | undefined };
type Wanted = { code: Code; path: string; name: string; options: readonly string[]; of: string };

/** Times without a zone are UTC, wherever this runs. */
function time(text: string): string {
  if (!text.includes('T')) return `${text}T00:00:00Z`;
  return /(?:Z|[+-]\d\d:\d\d)$/.test(text) ? text : `${text}Z`;
}

async function commitPage(
  { code, path, name, options, of }: Wanted,
  args: Page,
): Promise<Found<{ structured: z.output<typeof OUTPUT> }>> {
  const skip = skipOf(args.cursor, code.at);
  if (!skip.ok) return refusal('cursor', skip.error);
  const found = await commitsOf(code, { skip: skip.value, limit: args.limit + 1, options, path });
  if (!found.ok) return refusal('ref', found.error, 'CONFLICT');
  const commits: Commit[] = found.value.slice(0, args.limit);
  const message = `${counted(commits.length, 'commit')} of ${of} up to ${stateName(code.at)}.`;
  const isMore = found.value.length > args.limit;
  const next = isMore ? { next_cursor: cursorAt(code.at, skip.value + args.limit) } : {};
  const about = { message, repository: name, at: shownAt(code.at), count: commits.length };
  return { ok: true, value: { structured: { ...about, commits, ...next } } };
}

function gitLog(repositories: Repositories): ToolsetTool {
  return toolsetTool({
    name: 'git_log',
    title: 'Commits',
    doc: {
      does: 'Lists commits that lead to a branch, tag or commit, newest first',
      when: 'you want to know what happened lately, by whom, or which commit speaks of something',
      example: { repository: 'castellan', ref: 'main', grep: 'Refuse', limit: 10 },
      returns: 'id, subject, author, times and parents of each commit',
      next: 'git_show_commit for what one changed, git_diff between two',
      ids: IDS,
    },
    input: z.strictObject({
      repository: REPOSITORY,
      ref: REF,
      path: PATH.default('').describe('Only commits that changed this file or folder'),
      author: TEXT.optional().describe('Part of the name or address, as it is'),
      grep: TEXT.optional().describe('Part of the message, as it is'),
      since: DAY.optional().describe('Committed at or after this time; UTC without a zone'),
      until: DAY.optional().describe('Committed at or before this time'),
      limit: limit(200, 30),
      cursor: CURSOR,
    }),
    output: OUTPUT,
    readOnly: true,
    run: async (args, call) => {
      const found = await repositories.code(call, args);
      if (!found.ok) return found;
      const options = ['--fixed-strings'];
      if (args.author !== undefined) options.push(`--author=${args.author}`);
      if (args.grep !== undefined) options.push(`--grep=${args.grep}`);
      if (args.since !== undefined) options.push(`--since=${time(args.since)}`);
      if (args.until !== undefined) options.push(`--until=${time(args.until)}`);
      const of = args.path === '' ? 'the repository' : args.path;
      const listed = await commitPage({ ...found.value, options, of }, args);
      return listed.ok ? { ok: true, ...listed.value } : listed;
    },
  });
}

function gitFileHistory(repositories: Repositories): ToolsetTool {
  return toolsetTool({
    name: 'git_file_history',
    title: 'History of a file',
    doc: {
      does: 'Lists the commits that changed one file, newest first, also under the names that it had before',
      when: 'you want to know why a file is as it is',
      example: { repository: 'castellan', path: 'src/app.ts', limit: 10 },
      returns: 'id, subject, author, times and parents of each commit',
      next: 'git_show_commit with one of the commits for what it changed',
      ids: IDS,
    },
    input: z.strictObject({
      repository: REPOSITORY,
      path: PATH,
      ref: REF,
      limit: limit(200, 30),
      cursor: CURSOR,
    }),
    output: OUTPUT,
    readOnly: true,
    run: async (args, call) => {
      const found = await repositories.code(call, args);
      if (!found.ok) return found;
      const { path } = found.value;
      if (path === '') return refusal('path', 'is missing: name a file; list_code_files lists them');
      const listed = await commitPage({ ...found.value, options: ['--follow'], of: path }, args);
      if (!listed.ok) return listed;
      const { structured } = listed.value;
      if (structured.count === 0 && args.cursor === undefined)
        return refusal(
          'path',
          `names no file that a commit up to ${stateName(found.value.code.at)} changed`,
          'NOT_FOUND',
        );
      return { ok: true, structured };
    },
  });
}
