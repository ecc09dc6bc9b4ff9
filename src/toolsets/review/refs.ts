/** What a caller may call a state of the code, and which commit that is. Names never become arguments of git. */
import type { Cancellation } from '../../base/cancellation.ts';
import { anyGlobMatches } from '../../base/glob.ts';
import { ok, type Result, refused } from '../../base/result.ts';
import type { CodeAt } from './code.ts';
import type { Git } from './git.ts';
import type { RepositoryPlace } from './git-environment.ts';

const MAX_REF = 250;
const NAMESPACES = ['refs/heads/', 'refs/tags/', 'refs/remotes/'] as const;
const MAX_CONTAINING = 2000;

export type RefReader = {
  git: Git;
  place: RepositoryPlace;
  /** Globs of the repository's `refs`. */
  allowed: readonly string[];
  cancellation?: Cancellation | undefined;
};

/** The state that a caller names. The error follows the name of the field. */
export async function codeAt(reader: RefReader, ref: string): Promise<Result<CodeAt, string>> {
  const fault = refFault(ref);
  if (fault !== undefined) return refused(fault);
  if (ref !== 'worktree') return committed(reader, ref);
  if (reader.place.workTree === undefined)
    return refused('is worktree, which a bare repository does not have: name a branch or commit');
  if (!anyGlobMatches(reader.allowed, 'worktree')) return notReadable(reader, ref);
  const head = await objectsOf(reader, ['HEAD^{commit}']);
  return head.ok ? ok({ ref, commit: head.value[0], isWorktree: true }) : head;
}

/** Why a text is no ref, by the rules of git-check-ref-format; undefined when it may be one. */
export function refFault(ref: string): string | undefined {
  if (ref === '' || ref.length > MAX_REF) return `must have 1 to ${MAX_REF} characters`;
  if (ref.startsWith('-')) return 'begins with "-": name a branch, tag or commit';
  const [, name = '', steps = ''] = /^([^~^]*)([~^].*)?$/s.exec(ref) ?? [];
  if (name === '' || /[\x00-\x20\x7f:?*[\\]|\.\.|@\{|^\/|\/$|\/\/|\.$/.test(name))
    return 'is no ref: name a branch, tag or commit, or worktree';
  return /^(?:[~^]\d{0,4}){0,20}$/.test(steps)
    ? undefined
    : 'has an unknown end: only ~N and ^N may follow a name';
}

async function committed(reader: RefReader, ref: string): Promise<Result<CodeAt, string>> {
  const end = ref.search(/[~^]/);
  const [name, steps] = end < 0 ? [ref, ''] : [ref.slice(0, end), ref.slice(end)];
  const names = NAMESPACES.some((space) => name.startsWith(space))
    ? [name]
    : NAMESPACES.map((space) => space + name);
  const named = names.filter((one) => mayRead(reader.allowed, one));
  const byCommit = name === 'HEAD' || /^[0-9a-f]{4,64}$/i.test(name) ? [name] : [];
  const found = await objectsOf(
    reader,
    [...named, ...byCommit].map((one) => `${one}${steps}^{commit}`),
  );
  if (!found.ok) return found;
  const index = found.value.findIndex((commit) => commit !== undefined);
  const commit = found.value[index];
  if (commit === undefined) return notReadable(reader, ref);
  if (index < named.length || reader.allowed.includes('*')) return ok({ ref, commit, isWorktree: false });
  return (await isReachable(reader, commit))
    ? ok({ ref, commit, isWorktree: false })
    : notReadable(reader, ref);
}

/** Whether a ref that may be read contains the commit. */
async function isReachable(
  { git, place, allowed, cancellation }: RefReader,
  commit: string,
): Promise<boolean> {
  const count = `--count=${MAX_CONTAINING}`;
  const args = ['for-each-ref', `--contains=${commit}`, '--format=%(refname)', count, ...NAMESPACES];
  const listed = await git.run(place, { args }, cancellation);
  return (
    listed.ok &&
    listed.output
      .toString()
      .split('\n')
      .some((refname) => mayRead(allowed, refname))
  );
}

function mayRead(allowed: readonly string[], refname: string): boolean {
  const space = NAMESPACES.find((one) => refname.startsWith(one));
  if (space === undefined) return false;
  return anyGlobMatches(allowed, refname) || anyGlobMatches(allowed, refname.slice(space.length));
}

/** The ids of what the expressions name, undefined for those that name nothing. They go in as lines, not as arguments. */
async function objectsOf(
  { git, place, cancellation }: RefReader,
  expressions: readonly string[],
): Promise<Result<(string | undefined)[], string>> {
  if (expressions.length === 0) return ok([]);
  const input = expressions.map((one) => `${one}\n`).join('');
  const answer = await git.run(place, { args: ['cat-file', '--batch-check'], input }, cancellation);
  if (!answer.ok) return refused(`cannot be looked up: ${answer.why}`);
  const lines = answer.output.toString().split('\n');
  return ok(expressions.map((_, index) => /^([0-9a-f]{40,64}) commit \d+$/.exec(lines[index] ?? '')?.[1]));
}

function notReadable({ allowed }: RefReader, ref: string): Result<never, string> {
  const which = allowed.includes('*')
    ? 'this repository has'
    : `may be read here: ${allowed.slice(0, 20).join(', ')}`;
  return refused(
    allowed.includes('*')
      ? `names nothing that ${which}: "${ref}" is no branch, tag or commit of it`
      : `names nothing that ${which}`,
  );
}
