/** What the tools have in common: arguments, parts of answers, pages. */
import { z } from 'zod';
import { ok, type Result, refused } from '../../base/result.ts';
import type { CodeAt } from './code.ts';

export const REPOSITORY = z
  .string()
  .max(100)
  .optional()
  .describe('Name of a repository; may be left out when you may view one alone');
export const REF = z
  .string()
  .max(250)
  .optional()
  .describe(
    'Branch, tag, commit id (4 to 64 hex digits) or HEAD, each with ~N or ^N behind it if you like; worktree is the files as they lie on disk, and the default',
  );
export const PATH = z
  .string()
  .max(4096)
  .describe('Path from the top of the repository, with /, without .. and without a leading /');
export const CURSOR = z
  .string()
  .max(500)
  .optional()
  .describe('next_cursor of the page before, with the same other arguments');
export const limit = (most: number, usual: number) =>
  z.int().min(1).max(most).default(usual).describe(`How many at most, up to ${most}`);

export const AT = z
  .object({
    ref: z.string(),
    commit: z.string().optional().describe('Whole id; of the working tree, what is checked out'),
    worktree: z.boolean().describe('True: the files as they lie on disk now'),
  })
  .describe('Which state of the code this is: anchors (path:line) hold in it');

export const page = {
  message: z.string(),
  repository: z.string(),
  at: AT,
  count: z.int(),
  next_cursor: z.string().optional().describe('There is more: pass it as cursor'),
};

export const IDS =
  'repository is a name that browse_codebase lists; ref is a branch, tag, commit id, HEAD or worktree; cursor is the next_cursor of the page before and holds as long as ref stays where it is';

export const shownAt = ({ ref, commit, isWorktree }: CodeAt) => ({
  ref,
  ...(commit === undefined ? {} : { commit }),
  worktree: isWorktree,
});

/** `worktree (at 1a2b3c4)` or `main (1a2b3c4)`. */
export function stateName({ ref, commit, isWorktree }: CodeAt): string {
  const short = commit?.slice(0, 12) ?? 'no commit yet';
  return isWorktree ? `worktree (on ${short})` : `${ref} (${short})`;
}

/** Where the next page begins, tied to the commit that this one was of. */
export function cursorAt({ commit = '' }: CodeAt, skip: number): string {
  return Buffer.from(JSON.stringify([commit, skip])).toString('base64url');
}

/** How many to leave out. The error follows the field's name. */
export function skipOf(cursor: string | undefined, { commit = '', ref }: CodeAt): Result<number, string> {
  if (cursor === undefined) return ok(0);
  try {
    const [of, skip] = JSON.parse(Buffer.from(cursor, 'base64url').toString()) as unknown[];
    if (typeof of === 'string' && Number.isSafeInteger(skip) && (skip as number) >= 0) {
      if (of === commit) return ok(skip as number);
      return refused(
        `is of another commit than ${ref} is now: begin again without it, or name the commit as ref`,
      );
    }
  } catch {}
  return refused('is none that this tool has made: pass next_cursor as it came, or leave it out');
}

/** The items from `skip` on, at most `size`, and where the next page begins. */
export function pageOf<T>(
  items: readonly T[],
  skip: number,
  size: number,
  at: CodeAt,
): { shown: T[]; next: { next_cursor?: string } } {
  const shown = items.slice(skip, skip + size);
  const next = items.length > skip + size ? { next_cursor: cursorAt(at, skip + size) } : {};
  return { shown, next };
}

const MAX_LINE = 1000;

/** A line as it is shown: long ones are cut. */
export function shownLine(line: string): string {
  return line.length <= MAX_LINE
    ? line
    : `${line.slice(0, MAX_LINE)}… [${line.length - MAX_LINE} more characters]`;
}

export function counted(count: number, one: string, many = `${one}s`): string {
  return `${count} ${count === 1 ? one : many}`;
}
