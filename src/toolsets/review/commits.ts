import { z } from 'zod';
import { ok, type Result, refused } from '../../base/result.ts';
import type { Code } from './code.ts';

export const COMMIT = z.object({
  commit: z.string(),
  subject: z.string(),
  author: z.string(),
  email: z.string(),
  authored_at: z.string(),
  committed_at: z.string(),
  parents: z.array(z.string()),
});

export type Commit = z.output<typeof COMMIT>;

const FIELDS = ['%H', '%an', '%ae', '%aI', '%cI', '%P', '%s'];
/** Options of every look at the history: nothing of the repository's settings changes what comes out. */
const LOG = [
  ...['log', '-z', '--no-color', '--no-decorate', '--no-notes', '--no-show-signature', '--no-mailmap'],
  ...['--encoding=UTF-8', '--no-ext-diff', '--no-textconv', `--format=tformat:${FIELDS.join('%x00')}`],
];

/**
 * Commits that lead to the one that the code is at, newest first.
 * @param options as `git log` takes them, each one argument that begins with `--`
 */
export async function commitsOf(
  code: Code,
  { skip, limit, options, path }: { skip: number; limit: number; options: readonly string[]; path: string },
): Promise<Result<Commit[], string>> {
  const { commit } = code.at;
  if (commit === undefined) return ok([]);
  const below = path === '' ? [] : [path];
  const args = [...LOG, `--skip=${skip}`, `--max-count=${limit}`, ...options, commit, '--', ...below];
  const logged = await code.git({ args });
  if (!logged.ok) return refused(logged.why);
  return ok(parsedCommits(logged.output.toString()));
}

function parsedCommits(output: string): Commit[] {
  const texts = output.split('\0');
  const commits: Commit[] = [];
  for (let at = 0; at + FIELDS.length <= texts.length - 1; at += FIELDS.length) {
    const [commit, author, email, authored, committed, parents, subject] = texts
      .slice(at, at + FIELDS.length)
      .map((text) => text.slice(0, 1000)) as [string, string, string, string, string, string, string];
    commits.push({
      ...{ commit, subject, author, email, authored_at: authored, committed_at: committed },
      parents: parents.split(' ').filter((one) => one !== ''),
    });
  }
  return commits;
}

/** The whole message of the commit that the code is at. */
export async function messageOfCommit(code: Code): Promise<Result<string, string>> {
  const args = [
    ...LOG.filter((one) => !one.startsWith('--format')),
    '--format=tformat:%B',
    '--max-count=1',
    code.at.commit!,
    '--',
  ];
  const logged = await code.git({ args });
  return logged.ok ? ok(logged.output.toString().replace(/[\0\n]+$/, '')) : refused(logged.why);
}
