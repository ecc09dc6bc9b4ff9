import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import type { Loose } from './agent.ts';
import { fileName } from './generated-repository.ts';
import { git, type reviewOf } from './review-rig.ts';

const lines = (text: string): string[] => text.split('\n').filter((line) => line !== '');

/** Compares what the tools answer over a generated repository with what `git` and `grep` do. */
export async function checkGenerated(
  folder: string,
  count: number,
  { all, get }: Pick<ReturnType<typeof reviewOf>, 'all' | 'get'>,
): Promise<void> {
  const files = await all('list_code_files', { limit: 1000 }, 'files');
  assert.deepEqual(
    files.map((one) => one.path),
    lines(git(folder, 'ls-files')),
  );
  assert.equal(files.length, count);
  const grep = execFileSync('grep', ['-rnF', '--include=*.ts', 'landmark', '.'], {
    cwd: folder,
    encoding: 'utf8',
  });
  const expected = lines(grep)
    .map((line) => line.slice(2))
    .toSorted();
  for (const ref of ['worktree', 'main']) {
    const matches = await all('search_code', { pattern: 'landmark', ref, limit: 500 }, 'matches');
    assert.deepEqual(matches.map(({ anchor, text }) => `${anchor}:${text}`).toSorted(), expected, ref);
  }
  for (const index of [1, Math.floor(count / 2), count - 2]) {
    const name = `value${index}`;
    const { definitions, complete } = await get('find_definition', { name });
    assert.ok(complete);
    assert.deepEqual(
      definitions.map(({ anchor }: Loose) => anchor),
      [`${fileName(index)}:3`],
    );
    const used = await get('find_references', { name });
    const words = lines(git(folder, 'grep', '-n', '-w', '-F', '-e', name));
    const inCode = words.filter((line) => !line.includes('//'));
    assert.deepEqual(
      used.references.map(({ anchor, text }: Loose) => `${anchor}:${text}`),
      inCode,
    );
    assert.equal(used.left_out, words.length - inCode.length);
    const history = await get('git_file_history', { path: fileName(index) });
    const ids = lines(git(folder, 'log', '--follow', '--format=%H', '--', fileName(index)));
    assert.deepEqual(
      history.commits.map(({ commit }: Loose) => commit),
      ids,
    );
  }
  const shown = await all('git_show_commit', { commit: 'main', limit: 100 }, 'files');
  const patch = shown.map((file) => file.patch).join('');
  assert.equal(patch, git(folder, 'diff', '--no-indent-heuristic', 'main~1', 'main'));
}
