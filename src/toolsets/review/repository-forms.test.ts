import assert from 'node:assert/strict';
import path from 'node:path';
import { it } from 'node:test';
import type { Loose } from '../../../test/support/agent.ts';
import { temporaryFolder } from '../../../test/support/databases.ts';
import { commit, git, reviewOf, write } from '../../../test/support/review-rig.ts';

it('reads a bare repository at HEAD, for it has no working tree', async () => {
  const folder = await temporaryFolder();
  const [full, bare] = [path.join(folder, 'full'), path.join(folder, 'bare.git')];
  write(full, { 'a.ts': 'export const alpha = 1;\n' });
  git(full, 'init', '--quiet', '--initial-branch=main');
  const id = commit(full, 'one');
  git(folder, 'clone', '--quiet', '--bare', full, bare);
  const { get, ask } = reviewOf({ bare: { path: bare } });
  const { matches, at } = await get('search_code', { pattern: 'alpha' });
  assert.deepEqual([matches[0].anchor, at], ['a.ts:1', { ref: 'HEAD', commit: id, worktree: false }]);
  assert.equal((await get('find_definition', { name: 'alpha' })).count, 1);
  assert.match(
    (await ask('read_code', { path: 'a.ts', ref: 'worktree' })).message,
    /^ref: is worktree, which a bare/,
  );
  assert.equal((await get('git_diff', {})).total, 0);
});

it('reads a repository whose ids are SHA-256, its first commit too', async () => {
  const folder = await temporaryFolder();
  git(folder, 'init', '--quiet', '--initial-branch=main', '--object-format=sha256');
  write(folder, { 'a.ts': 'export const alpha = 1;\n' });
  const id = commit(folder, 'one');
  assert.equal(id.length, 64);
  const { get } = reviewOf({ long: { path: folder } });
  const { files } = await get('git_show_commit', { commit: id });
  assert.deepEqual(
    files.map(({ path: at, status }: Loose) => [at, status]),
    [['a.ts', 'added']],
  );
  assert.equal((await get('read_code', { path: 'a.ts', ref: id.slice(0, 8) })).at.commit, id);
});

it('says what a repository without a commit has, and what it lacks', async () => {
  const folder = await temporaryFolder();
  git(folder, 'init', '--quiet', '--initial-branch=main');
  write(folder, { 'a.ts': 'export const alpha = 1;\n', 'never-added.ts': 'alpha\n' });
  git(folder, 'add', 'a.ts');
  const { get, ask } = reviewOf({ empty: { path: folder } });
  const { matches, at } = await get('search_code', { pattern: 'alpha' });
  assert.deepEqual([matches.length, at], [1, { ref: 'worktree', worktree: true }]);
  assert.equal((await get('git_log', {})).count, 0);
  assert.equal((await ask('git_diff', {})).field, 'from');
});
