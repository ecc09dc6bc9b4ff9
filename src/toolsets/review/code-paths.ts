/** Paths in a repository: relative, with `/`, as git writes them; the empty one is the top. */
import { anyGlobMatches } from '../../base/glob.ts';
import { ok, type Result, refused } from '../../base/result.ts';

const MAX_PATH = 4096;

/** The path in its one spelling. The error says what is wrong with it and how to fix it, and follows a field's name. */
export function codePath(text: string): Result<string, string> {
  if (text.length > MAX_PATH) return refused(`is too long: use at most ${MAX_PATH} characters`);
  if (/[\x00-\x1f\x7f]/.test(text)) return refused('contains a control character: write a plain path');
  if (/%(?:2e|2f|5c|00)/i.test(text)) return refused('is percent-encoded: write the path as it is');
  if (text.includes('\\')) return refused('contains a backslash: separate folders with /');
  if (text.startsWith('/') || /^[a-z]:/i.test(text))
    return refused('is absolute: write it relative to the top of the repository');
  const steps = text.split('/').filter((step) => step !== '' && step !== '.');
  if (steps.includes('..')) return refused('leads upwards: write it relative to the top, without ..');
  if (steps.some(isGitFolder)) return refused('lies in .git: only files under version control are shown');
  return ok(steps.join('/'));
}

/** Case and short names do not matter on some file systems. */
function isGitFolder(step: string): boolean {
  return /^(?:\.git|git~\d+)[. ]*$/i.test(step);
}

/** Whether a repository's `ignore` hides the path: one of its globs matches it, or a folder that it lies in. */
export function isIgnored(path: string, ignore: readonly string[]): boolean {
  if (ignore.length === 0) return false;
  const steps = path.split('/');
  return steps.some((_, index) => anyGlobMatches(ignore, steps.slice(0, index + 1).join('/')));
}

/** Whether `path` is the folder or lies in it, by whole names: `/data-evil` is not in `/data`. */
export function isWithin(path: string, folder: string, separator = '/'): boolean {
  return (
    folder === '' ||
    path === folder ||
    path.startsWith(folder.endsWith(separator) ? folder : folder + separator)
  );
}
