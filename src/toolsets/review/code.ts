import { constants } from 'node:fs';
import { lstat, open, realpath } from 'node:fs/promises';
import { join, relative, sep } from 'node:path';
import type { Cancellation } from '../../base/cancellation.ts';
import { ok, type Result, refused } from '../../base/result.ts';
import { isIgnored, isWithin } from './code-paths.ts';
import type { Git, GitOutcome, GitRun } from './git.ts';
import type { RepositoryPlace } from './git-environment.ts';

/** No larger file is read as a whole. */
const MAX_FILE = 4 * 1024 * 1024;
const GIT_LINK = '160000';
const SYMLINK = '120000';

export type CodeFile = { path: string; isLink: boolean; isSubmodule: boolean };

/** What a file holds; a refusal says in a sentence, after the field's name, why it cannot be shown. */
export type FileContent = Result<Buffer, string>;

/** The files under version control at a commit, or as they lie in the working tree. */
export type CodeAt = {
  /** What the caller named: a branch, a tag, a commit, `HEAD` or `worktree`. */
  ref: string;
  /** The whole id of the commit; of a working tree the one that is checked out, undefined before the first. */
  commit: string | undefined;
  isWorktree: boolean;
};

/** One repository that somebody may read, in one state. */
export class Code {
  readonly at: CodeAt;
  readonly place: RepositoryPlace;
  readonly #ignore: readonly string[];
  readonly #git: Git;
  readonly #cancellation: Cancellation | undefined;

  constructor(
    git: Git,
    place: RepositoryPlace,
    at: CodeAt,
    { ignore, cancellation }: { ignore: readonly string[]; cancellation?: Cancellation | undefined },
  ) {
    this.#git = git;
    this.place = place;
    this.at = at;
    this.#ignore = ignore;
    this.#cancellation = cancellation;
  }

  git(run: GitRun): Promise<GitOutcome> {
    return this.#git.run(this.place, run, this.#cancellation);
  }

  isHidden(path: string): boolean {
    return isIgnored(path, this.#ignore);
  }

  /** The files below a path (or the one that it names), in the order of their bytes. */
  async files(path: string): Promise<Result<CodeFile[], string>> {
    const below = path === '' ? [] : [path];
    const args = this.at.isWorktree
      ? ['ls-files', '-z', '--cached', '--stage', '--', ...below]
      : ['ls-tree', '-r', '-z', '--full-tree', this.at.commit!, '--', ...below];
    const listed = await this.git({ args });
    if (!listed.ok) return refused(listed.why);
    const files: CodeFile[] = [];
    for (const line of listed.output.toString().split('\0')) {
      const tab = line.indexOf('\t');
      const file = line.slice(tab + 1);
      if (tab < 0 || files.at(-1)?.path === file || this.isHidden(file)) continue;
      files.push({ path: file, isLink: line.startsWith(SYMLINK), isSubmodule: line.startsWith(GIT_LINK) });
    }
    return ok(files);
  }

  /** The contents of one file that is under version control here. */
  async read(path: string): Promise<FileContent> {
    const found = await this.files(path);
    if (!found.ok) return found;
    const file = found.value.find((one) => one.path === path);
    if (!file) {
      const isFolder = found.value.length > 0;
      return refused(
        isFolder
          ? 'is a folder: name a file in it; list_code_files lists them'
          : `names no file that is under version control at ${this.at.ref}: list_code_files lists them`,
      );
    }
    if (file.isSubmodule) return refused('is a submodule: its files are in another repository');
    if (this.at.isWorktree) return this.#readWorktree(path);
    if (!file.isLink) return (await this.readMany([path])).get(path)!;
    const target = (await this.readMany([path])).get(path)!;
    return target.ok ? refused(`is a symbolic link to ${target.value.toString()}: read that file`) : target;
  }

  /** Contents of files that were found here; links are not followed. */
  async readMany(paths: readonly string[]): Promise<Map<string, FileContent>> {
    const contents = new Map<string, FileContent>();
    if (this.at.isWorktree) {
      for (const path of paths) contents.set(path, await this.#readWorktree(path));
      return contents;
    }
    for (const path of paths) contents.set(path, refused('names no file that can be read'));
    const names = paths.filter((path) => !path.includes('\n'));
    const sized = await this.git({ args: ['cat-file', '--batch-check'], input: this.#asked(names) });
    if (!sized.ok) return contents;
    const readable = names.filter((path, index) => {
      const [, type, size] = sized.output.toString().split('\n')[index]!.split(' ');
      if (type !== 'blob') return false;
      if (Number(size) > MAX_FILE) contents.set(path, tooLarge(Number(size)));
      return Number(size) <= MAX_FILE;
    });
    const read = await this.git({ args: ['cat-file', '--batch'], input: this.#asked(readable) });
    if (!read.ok) return contents;
    let rest = read.output;
    for (const path of readable) {
      const end = rest.indexOf(10);
      const size = Number(rest.subarray(0, end).toString().split(' ')[2]);
      if (end < 0 || !(rest.length >= end + 1 + size)) break;
      contents.set(path, ok(rest.subarray(end + 1, end + 1 + size)));
      rest = rest.subarray(end + 2 + size);
    }
    return contents;
  }

  /** Whether a path of the working tree still lies in it once symbolic links on its way are followed. */
  async isConfined(path: string): Promise<boolean> {
    const root = this.place.workTree;
    if (!this.at.isWorktree || root === undefined) return true;
    const real = await realpath(join(root, path)).catch(() => undefined);
    return real !== undefined && isWithin(real, root, sep);
  }

  #asked(paths: readonly string[]): string {
    return paths.map((path) => `${this.at.commit}:${path}\n`).join('');
  }

  /** Follows links as far as they stay among the files that are shown; what is opened is what was checked. */
  async #readWorktree(path: string): Promise<FileContent> {
    const root = this.place.workTree!;
    const real = await realpath(join(root, path)).catch(() => undefined);
    if (real === undefined)
      return refused('is not in the working tree any more: name a commit as ref to read it');
    if (!isWithin(real, root, sep)) return refused('leads out of the repository by a symbolic link');
    const target = relative(root, real).split(sep).join('/');
    if (target !== path) {
      const shown = await this.files(target);
      if (!shown.ok || !shown.value.some((one) => one.path === target))
        return refused('is a symbolic link to something that is not under version control');
    }
    return openedContent(real);
  }
}

async function openedContent(real: string): Promise<FileContent> {
  const { O_RDONLY, O_NOFOLLOW = 0, O_NONBLOCK = 0 } = constants;
  const file = await open(real, O_RDONLY | O_NOFOLLOW | O_NONBLOCK).catch(() => undefined);
  if (!file) return refused('cannot be opened');
  try {
    const opened = await file.stat();
    const seen = await lstat(real);
    const again = await realpath(real);
    if (!opened.isFile()) return refused('is no plain file');
    if (again !== real || seen.ino !== opened.ino || seen.dev !== opened.dev)
      return refused('changed while it was opened: try again');
    if (opened.size > MAX_FILE) return tooLarge(opened.size);
    const content = Buffer.alloc(opened.size);
    const { bytesRead } = await file.read(content, 0, content.length, 0);
    return ok(content.subarray(0, bytesRead));
  } catch {
    return refused('cannot be read');
  } finally {
    await file.close();
  }
}

function tooLarge(size: number): FileContent {
  return refused(
    `has ${size} bytes, and files up to ${MAX_FILE} are read: find lines in it with search_code`,
  );
}
