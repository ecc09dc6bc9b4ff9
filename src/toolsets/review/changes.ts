import { z } from 'zod';
import { ok, type Result, refused } from '../../base/result.ts';
import type { Code } from './code.ts';

export const CHANGED_FILE = z.object({
  path: z.string(),
  status: z.enum(['added', 'deleted', 'modified', 'renamed', 'copied', 'type changed', 'unmerged']),
  old_path: z.string().optional(),
  added: z.int().optional().describe('Lines; left out for binary files'),
  deleted: z.int().optional(),
  binary: z.boolean(),
  patch: z.string().optional().describe('Unified diff'),
  cut: z.boolean().optional().describe('True: the patch is longer; name its path alone, or read the file'),
});

export type ChangedFile = z.output<typeof CHANGED_FILE>;

/** From one commit to another, or to the working tree. */
export type Span = { from: string; to: string | undefined };

const STATUS: Readonly<Record<string, ChangedFile['status']>> = {
  A: 'added',
  D: 'deleted',
  M: 'modified',
  R: 'renamed',
  C: 'copied',
  T: 'type changed',
  U: 'unmerged',
};
/** Of others git may print none, or two. */
const ONE_PATCH: ReadonlySet<string> = new Set(['added', 'deleted', 'modified', 'renamed']);
const DIFF = [
  ...['diff', '--no-ext-diff', '--no-textconv', '--no-color', '--find-renames', '--ignore-submodules=dirty'],
  ...['--submodule=short', '--src-prefix=a/', '--dst-prefix=b/', '--no-relative', '--no-indent-heuristic'],
];
const MAX_PATCH = 32 * 1024;
const MAX_PATCHES = 96 * 1024;
const MAX_PATCHED_ALONE = 400 * 1024;
/** Git knows the tree of no files by its id, in either kind of hash, whether or not it is stored. */
const EMPTY_TREES: Readonly<Record<number, string>> = {
  40: '4b825dc642cb6eb9a060e54bf8d69288fbee4904',
  64: '6ef19b41225c5369f1c104d45d8d85efa9b057b53b14b4b9b939dd74decc5321',
};

/** What the commit without a parent is compared with. */
export function emptyTree(commit: string): string {
  return EMPTY_TREES[commit.length]!;
}

/** The files that differ, in the order of their paths, without their patches. */
export async function changedFiles(
  code: Code,
  { from, to }: Span,
  path: string,
): Promise<Result<ChangedFile[], string>> {
  const ends = to === undefined ? [from] : [from, to];
  const below = path === '' ? [] : [path];
  const args = [...DIFF, '--raw', '--numstat', '-z', '--abbrev=40', ...ends, '--', ...below];
  const compared = await code.git({ args, comparesFiles: to === undefined });
  if (!compared.ok) return refused(compared.why);
  const texts = compared.output.toString().split('\0');
  const files = new Map<string, ChangedFile>();
  for (let at = 0; at < texts.length - 1; ) {
    const text = texts[at++]!;
    if (text.startsWith(':')) {
      const letter = text.split(' ').at(-1)![0]!;
      const isMoved = letter === 'R' || letter === 'C';
      const old = texts[at++]!;
      const file = isMoved ? texts[at++]! : old;
      const status = STATUS[letter] ?? 'modified';
      files.set(file, { path: file, status, ...(isMoved ? { old_path: old } : {}), binary: false });
    } else {
      const [added, deleted, name] = text.split('\t');
      // A file that moved follows in two texts of its own.
      const file = name === '' ? texts[at + 1]! : name!;
      if (name === '') at += 2;
      const known = files.get(file);
      if (known && added === '-') known.binary = true;
      else if (known) Object.assign(known, { added: Number(added), deleted: Number(deleted) });
    }
  }
  const isShown = ({ path: file, old_path: old = file }: ChangedFile) =>
    !code.isHidden(file) && !code.isHidden(old);
  return ok([...files.values()].filter(isShown));
}

/** Adds patches to the files, as many as fit one answer: fewer files may come back. */
export async function withPatches(
  code: Code,
  span: Span,
  files: readonly ChangedFile[],
  context: number,
): Promise<Result<ChangedFile[], string>> {
  const patched: ChangedFile[] = [];
  const longest = files.length === 1 ? MAX_PATCHED_ALONE : MAX_PATCH;
  const together = await patchesTogether(code, span, files, context);
  let size = 0;
  for (const file of files) {
    const known = together.get(file.path);
    const alone =
      known === undefined && !file.binary ? await patchOf(code, span, [file], context) : undefined;
    if (alone?.ok === false) return alone;
    const patch = known ?? alone?.value.text ?? '';
    const shown = patch.slice(0, longest);
    if (patched.length > 0 && size + shown.length > MAX_PATCHES) break;
    size += shown.length;
    patched.push({
      ...file,
      ...(file.binary ? {} : { patch: shown }),
      ...(shown.length < patch.length ? { cut: true } : {}),
    });
  }
  return ok(patched);
}

/** What git prints of these files. */
async function patchOf(
  code: Code,
  { from, to }: Span,
  files: readonly ChangedFile[],
  context: number,
): Promise<Result<{ text: string; truncated: boolean }, string>> {
  const ends = to === undefined ? [from] : [from, to];
  const paths = files.flatMap(({ path, old_path: old }) => (old === undefined ? [path] : [path, old]));
  const args = [...DIFF, '--patch', `--unified=${context}`, ...ends, '--', ...paths];
  const compared = await code.git({ args, comparesFiles: to === undefined });
  if (!compared.ok) return refused(compared.why);
  return ok({ text: compared.output.toString(), truncated: compared.truncated });
}

/**
 * The patches of several files by one process, as far as they can be told apart: each begins with a line that no line
 * of a patch looks like, and names its file. One that does not is asked for by itself.
 */
async function patchesTogether(
  code: Code,
  span: Span,
  files: readonly ChangedFile[],
  context: number,
): Promise<ReadonlyMap<string, string>> {
  const plain = files.filter(({ binary, status }) => !binary && ONE_PATCH.has(status));
  const printed = plain.length > 1 ? await patchOf(code, span, plain, context) : undefined;
  if (!printed?.ok || printed.value.truncated) return new Map();
  // Lines of a patch begin with a space, a sign or a backslash.
  const patches = `\n${printed.value.text}`.split('\ndiff --git ').slice(1);
  if (patches.length !== plain.length) return new Map();
  return new Map(
    plain.flatMap(({ path, old_path: old = path }, index) => {
      const patch = patches[index]!;
      const end = index < patches.length - 1 ? '\n' : '';
      const isOf = patch.startsWith(`a/${old} b/${path}\n`);
      return isOf ? [[path, `diff --git ${patch}${end}`] as const] : [];
    }),
  );
}
