import { z } from 'zod';
import { type ToolsetTool, toolsetTool } from '../../gateway/toolset.ts';
import {
  CHANGED_FILE,
  type ChangedFile,
  changedFiles,
  emptyTree,
  type Span,
  withPatches,
} from './changes.ts';
import type { Code } from './code.ts';
import { codePath } from './code-paths.ts';
import { COMMIT, commitsOf, messageOfCommit } from './commits.ts';
import { type Found, type Repositories, refusal } from './repositories.ts';
import {
  AT,
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

const FILES = {
  total: z.int().describe('How many files differ, on all pages'),
  files: z.array(CHANGED_FILE),
};
const PATCH = z.boolean().default(true).describe('False: only which files differ, and by how many lines');
const CONTEXT = z.int().min(0).max(100).default(3).describe('Unchanged lines around each change');
const ONE_PATH = PATH.default('').describe('Only this file or folder');

/** The tools that show differences. */
export function comparingTools(repositories: Repositories): ToolsetTool[] {
  return [gitDiff(repositories), gitShowCommit(repositories)];
}

type Asked = { patch: boolean; context: number; limit: number; cursor?: string | undefined };
type FilesPage = { files: ChangedFile[]; total: number; next: { next_cursor?: string } };

async function filesPage(code: Code, span: Span, path: string, asked: Asked): Promise<Found<FilesPage>> {
  const skip = skipOf(asked.cursor, code.at);
  if (!skip.ok) return refusal('cursor', skip.error);
  const changed = await changedFiles(code, span, path);
  if (!changed.ok) return refusal('repository', `cannot be compared: ${changed.error}`, 'CONFLICT');
  const wanted = changed.value.slice(skip.value, skip.value + asked.limit);
  const files = asked.patch ? await withPatches(code, span, wanted, asked.context) : changed;
  if (!files.ok) return refusal('repository', `cannot be compared: ${files.error}`, 'CONFLICT');
  const shown = asked.patch ? files.value : wanted;
  const end = skip.value + shown.length;
  const next = end < changed.value.length ? { next_cursor: cursorAt(code.at, end) } : {};
  return { ok: true, value: { files: shown, total: changed.value.length, next } };
}

/** What models read: the patches as they are, not as JSON. */
function readable(message: string, { files, next }: FilesPage): string {
  const texts = files.map(({ patch, path, status, added, deleted, cut }) => {
    const lines = added === undefined ? 'binary' : `+${added} -${deleted}`;
    return `${status} ${path} (${lines})${patch === undefined ? '' : `\n${patch}`}${cut ? '\n[cut]' : ''}`;
  });
  const more = next.next_cursor === undefined ? [] : [`More with cursor ${next.next_cursor}`];
  return [message, ...texts, ...more].join('\n');
}

function gitDiff(repositories: Repositories): ToolsetTool {
  return toolsetTool({
    name: 'git_diff',
    title: 'Compare two states',
    doc: {
      does: 'Shows how the code differs between two commits, or between a commit and the working tree',
      when: 'you review a branch (from: main, to: the branch, merge_base: true), or what is not committed yet (no from and no to)',
      example: { repository: 'castellan', from: 'HEAD~1', to: 'HEAD', path: 'src' },
      returns:
        'each file that differs with its numbers of lines and its patch; files that were never added to git are not in it',
      next: 'read_code at to for what surrounds a change, find_references for who it touches',
      ids: IDS,
    },
    input: z.strictObject({
      repository: REPOSITORY,
      from: REF.describe('The older state, as ref elsewhere but not worktree; HEAD when left out'),
      to: REF.describe('The newer state, as ref elsewhere; the working tree when left out'),
      merge_base: z
        .boolean()
        .default(false)
        .describe('True: compare with where the two parted, as reviews of a branch do'),
      path: ONE_PATH,
      patch: PATCH,
      context: CONTEXT,
      limit: limit(100, 20).describe('How many files at most'),
      cursor: CURSOR,
    }),
    output: z.object({ ...page, from: AT, ...FILES }),
    readOnly: true,
    run: async (args, call) => {
      const path = codePath(args.path);
      if (!path.ok) return refusal('path', path.error);
      const opened = await repositories.open(call, args.repository);
      if (!opened.ok) return opened;
      const [from, to] = await Promise.all([
        repositories.codeOf(opened.value, args.from ?? 'HEAD', 'from'),
        repositories.codeOf(opened.value, args.to, 'to'),
      ]);
      if (!from.ok) return from;
      if (!to.ok) return to;
      if (from.value.at.isWorktree)
        return refusal('from', 'is the working tree: name it as to, and a commit as from');
      if (to.value.isHidden(path.value))
        return refusal('path', 'is not shown of this repository', 'NOT_FOUND');
      const base = args.merge_base ? await mergeBase(from.value, to.value) : from.value.at.commit;
      if (base === undefined) return refusal('merge_base', 'there is none: the two have nothing in common');
      const span = { from: base, to: to.value.at.isWorktree ? undefined : to.value.at.commit };
      const found = await filesPage(to.value, span, path.value, args);
      if (!found.ok) return found;
      const { files, total, next } = found.value;
      const older = { ...from.value.at, commit: base };
      const message = `${files.length} of ${counted(total, 'file')} that differ from ${stateName(older)} to ${stateName(to.value.at)}.`;
      const structured = {
        ...{ message, repository: opened.value.name, at: shownAt(to.value.at), from: shownAt(older) },
        ...{ count: files.length, total, files, ...next },
      };
      return { ok: true, structured, text: readable(message, found.value) };
    },
  });
}

async function mergeBase(from: Code, to: Code): Promise<string | undefined> {
  const ends = [from.at.commit, to.at.commit].filter((commit) => commit !== undefined);
  if (ends.length < 2) return undefined;
  const found = await to.git({ args: ['merge-base', ...ends], codes: [0, 1] });
  return found.ok ? /^[0-9a-f]{40,64}/.exec(found.output.toString())?.[0] : undefined;
}

function gitShowCommit(repositories: Repositories): ToolsetTool {
  return toolsetTool({
    name: 'git_show_commit',
    title: 'Show a commit',
    doc: {
      does: 'Shows one commit: its message, who made it, and what it changed against its first parent',
      when: 'a log or a history names a commit that you want to understand',
      example: { repository: 'castellan', commit: 'HEAD' },
      returns:
        'the message, author, times and parents, and each file with its numbers of lines and its patch',
      next: 'read_code with ref: the commit, git_show_commit of a parent',
      ids: IDS,
    },
    input: z.strictObject({
      repository: REPOSITORY,
      commit: z
        .string()
        .max(250)
        .describe('Commit id (4 to 64 hex digits), branch, tag or HEAD, ~N or ^N behind it'),
      path: ONE_PATH,
      patch: PATCH,
      context: CONTEXT,
      limit: limit(100, 20).describe('How many files at most'),
      cursor: CURSOR,
    }),
    output: z.object({ ...page, commit: COMMIT, body: z.string().describe('The whole message'), ...FILES }),
    readOnly: true,
    run: async (args, call) => {
      const path = codePath(args.path);
      if (!path.ok) return refusal('path', path.error);
      const opened = await repositories.open(call, args.repository);
      if (!opened.ok) return opened;
      const code = await repositories.codeOf(opened.value, args.commit, 'commit');
      if (!code.ok) return code;
      const { at } = code.value;
      if (at.isWorktree || at.commit === undefined)
        return refusal('commit', 'is the working tree: git_diff shows what is not committed');
      if (code.value.isHidden(path.value))
        return refusal('path', 'is not shown of this repository', 'NOT_FOUND');
      const [listed, body] = await Promise.all([
        commitsOf(code.value, { skip: 0, limit: 1, options: [], path: '' }),
        messageOfCommit(code.value),
      ]);
      const commit = listed.ok ? listed.value[0] : undefined;
      if (!commit || !body.ok) return refusal('commit', 'cannot be read', 'CONFLICT');
      const span = { from: commit.parents[0] ?? emptyTree(at.commit), to: at.commit };
      const found = await filesPage(code.value, span, path.value, args);
      if (!found.ok) return found;
      const { files, total, next } = found.value;
      const message = `${stateName(at)} changed ${counted(total, 'file')}; ${files.length} are shown.`;
      const structured = {
        ...{
          message,
          repository: opened.value.name,
          at: shownAt(at),
          commit,
          body: body.value.slice(0, 20_000),
        },
        ...{ count: files.length, total, files, ...next },
      };
      const head = `commit ${commit.commit}\n${commit.author} <${commit.email}> ${commit.authored_at}\n\n${structured.body}\n`;
      return { ok: true, structured, text: readable(`${head}\n${message}`, found.value) };
    },
  });
}
