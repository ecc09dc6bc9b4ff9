import { z } from 'zod';
import { globMatches } from '../../base/glob.ts';
import { type ToolsetCall, type ToolsetTool, toolsetTool } from '../../gateway/toolset.ts';
import type { CodeFile } from './code.ts';
import { languageOf } from './languages.ts';
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
  skipOf,
  stateName,
} from './shapes.ts';

const ENTRY = z.object({
  path: z.string(),
  type: z.enum(['folder', 'file', 'link', 'submodule']),
  files: z.int().optional().describe('Of a folder: how many files lie below it'),
});

/** The tools that show which files there are. */
export function browsingTools(repositories: Repositories): ToolsetTool[] {
  return [browseCodebase(repositories), listCodeFiles(repositories)];
}

function browseCodebase(repositories: Repositories): ToolsetTool {
  return toolsetTool({
    name: 'browse_codebase',
    title: 'Browse a repository',
    doc: {
      does: 'Lists the repositories that you may view, or what lies in one folder of one of them',
      when: 'you begin a review, or look for the place of something',
      example: { repository: 'castellan', path: 'src' },
      returns:
        'without repository the repositories; with one the entries of the folder, folders first, with the number of files below each',
      next: 'browse_codebase on a folder, list_code_files for all files below it, outline or read_code on a file',
      ids: IDS,
    },
    input: z.strictObject({
      repository: REPOSITORY.describe('Name of a repository; without it the repositories are listed'),
      path: PATH.default(''),
      ref: REF,
      limit: limit(500, 200),
      cursor: CURSOR,
    }),
    output: z.object({
      ...page,
      repository: page.repository.optional(),
      at: page.at.optional(),
      repositories: z
        .array(
          z.object({
            name: z.string(),
            description: z.string().optional(),
            problem: z.string().optional().describe('Why it cannot be read now'),
          }),
        )
        .optional(),
      entries: z.array(ENTRY).optional(),
    }),
    readOnly: true,
    run: async (args, call) => {
      if (args.repository === undefined) return listRepositories(repositories, call);
      const found = await repositories.code(call, args);
      if (!found.ok) return found;
      const { code, path, name } = found.value;
      const skip = skipOf(args.cursor, code.at);
      if (!skip.ok) return refusal('cursor', skip.error);
      const files = await code.files(path);
      if (!files.ok) return refusal('repository', files.error, 'CONFLICT');
      const entries = entriesOf(files.value, path);
      if (entries.length === 0 && path !== '')
        return refusal('path', `names no folder or file at ${stateName(code.at)}`, 'NOT_FOUND');
      const { shown, next } = pageOf(entries, skip.value, args.limit, code.at);
      const message = `${counted(shown.length, 'entry', 'entries')} of ${path || 'the top folder'} at ${stateName(code.at)}.`;
      const structured = {
        message,
        repository: name,
        at: shownAt(code.at),
        count: shown.length,
        entries: shown,
        ...next,
      };
      return { ok: true, structured };
    },
  });
}

function listRepositories(repositories: Repositories, call: ToolsetCall) {
  const visible = repositories.visible(call).map(({ name, spec, error }) => ({
    name,
    ...(spec?.description === undefined ? {} : { description: spec.description }),
    ...(error === undefined ? {} : { problem: error }),
  }));
  const message =
    visible.length > 0
      ? `You may view ${counted(visible.length, 'repository', 'repositories')}.`
      : 'There is no repository that you may view: that needs role:view,resource:repositories.';
  return { ok: true as const, structured: { message, count: visible.length, repositories: visible } };
}

/** The direct children of a folder, folders first; of a file the file itself. */
function entriesOf(files: readonly CodeFile[], folder: string): z.output<typeof ENTRY>[] {
  const start = folder === '' ? 0 : folder.length + 1;
  const folders = new Map<string, number>();
  const plain: z.output<typeof ENTRY>[] = [];
  for (const { path, isLink, isSubmodule } of files) {
    const end = path.indexOf('/', start);
    if (end < 0) plain.push({ path, type: isLink ? 'link' : isSubmodule ? 'submodule' : 'file' });
    else folders.set(path.slice(0, end), (folders.get(path.slice(0, end)) ?? 0) + 1);
  }
  return [
    ...[...folders].map(([path, count]) => ({ path, type: 'folder' as const, files: count })),
    ...plain,
  ];
}

function listCodeFiles(repositories: Repositories): ToolsetTool {
  return toolsetTool({
    name: 'list_code_files',
    title: 'List files',
    doc: {
      does: 'Lists the files under version control below a folder',
      when: 'you want every file of a part, or those with a certain name',
      example: { repository: 'castellan', path: 'src', glob: '*.test.ts' },
      returns: 'paths with the language where its grammar is shipped, in the order of their bytes',
      next: 'outline or read_code on a file, search_code in a folder',
      ids: IDS,
    },
    input: z.strictObject({
      repository: REPOSITORY,
      path: PATH.default(''),
      glob: z.string().max(512).optional().describe('Over whole paths; * also stands for /'),
      language: z.string().max(50).optional().describe('As this tool shows it, such as typescript'),
      ref: REF,
      limit: limit(1000, 200),
      cursor: CURSOR,
    }),
    output: z.object({
      ...page,
      total: z.int().describe('How many there are on all pages'),
      files: z.array(z.object({ path: z.string(), language: z.string().optional() })),
    }),
    readOnly: true,
    run: async (args, call) => {
      const found = await repositories.code(call, args);
      if (!found.ok) return found;
      const { code, path, name } = found.value;
      const skip = skipOf(args.cursor, code.at);
      if (!skip.ok) return refusal('cursor', skip.error);
      const listed = await code.files(path);
      if (!listed.ok) return refusal('repository', listed.error, 'CONFLICT');
      const files = listed.value.flatMap((file) => {
        if (file.isSubmodule || (args.glob !== undefined && !globMatches(args.glob, file.path))) return [];
        const language = languageOf(file.path)?.name;
        if (args.language !== undefined && language !== args.language.toLowerCase()) return [];
        return [{ path: file.path, ...(language === undefined ? {} : { language }) }];
      });
      const { shown, next } = pageOf(files, skip.value, args.limit, code.at);
      const message = `${shown.length} of ${counted(files.length, 'file')} below ${path || 'the top folder'} at ${stateName(code.at)}.`;
      const base = {
        message,
        repository: name,
        at: shownAt(code.at),
        count: shown.length,
        total: files.length,
      };
      return { ok: true, structured: { ...base, files: shown, ...next } };
    },
  });
}
