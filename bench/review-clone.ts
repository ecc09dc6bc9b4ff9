/**
 * `node bench/review-clone.ts URL`: clones a repository, and compares what the review tools answer over it with what
 * `git` does. Exit code 1 when they differ. Not part of the tests: it may need the network.
 */
import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import type { Loose } from '../test/support/agent.ts';
import { git, reviewOf } from '../test/support/review-rig.ts';

const WORDS = ['return', 'TODO', 'License', 'error', 'main'];
const FILES_READ = 40;
const COMMITS_SHOWN = 10;

const [url] = process.argv.slice(2);
if (url === undefined) throw new Error('say which: node bench/review-clone.ts URL');
const folder = mkdtempSync(path.join(tmpdir(), 'castellan-clone-'));
const lines = (text: string, end = '\n'): string[] => text.split(end).filter((line) => line !== '');
const anchors = (hits: readonly string[]) =>
  hits.map((hit) => /^[^\0]*\0\d+/.exec(hit)![0].replace('\0', ':'));
try {
  git(folder, 'clone', '--quiet', '--', url, 'clone');
  const clone = path.join(folder, 'clone');
  const { all, get, ask } = reviewOf({ clone: { path: clone } });
  const staged = lines(git(clone, 'ls-files', '-z', '--stage'), '\0');
  const tracked = staged
    .filter((line) => !line.startsWith('160000'))
    .map((line) => line.slice(line.indexOf('\t') + 1));
  const listed = await all('list_code_files', { limit: 1000 }, 'files');
  assert.deepEqual(
    listed.map((one) => one.path),
    tracked,
  );
  for (const word of WORDS) {
    const expected = lines(gitOrNothing(clone, 'grep', '-I', '-n', '-z', '-F', '-e', word));
    for (const ref of ['worktree', 'HEAD']) {
      const found = await all('search_code', { pattern: word, ref, limit: 500 }, 'matches');
      assert.deepEqual(
        found.map((one) => one.anchor),
        anchors(expected),
        `${word} ${ref}`,
      );
    }
    const whole = lines(gitOrNothing(clone, 'grep', '-I', '-n', '-z', '-w', '-F', '-e', word));
    const used = await get('find_references', { name: word, limit: 1 });
    const total = Number(/of (\d+) line/.exec(used.message)![1]);
    if (used.complete) assert.equal(total + used.left_out, whole.length, word);
  }
  for (const file of tracked.filter((_, index) => index % Math.ceil(tracked.length / FILES_READ) === 0)) {
    const answer = await ask('read_code', { path: file, end_line: 400 });
    if (!answer.ok) continue;
    const text = readFileSync(path.join(clone, file), 'utf8')
      .split(/\r?\n/)
      .slice(0, answer.structured.end_line);
    if (text.every((line) => line.length <= 1000))
      assert.equal(answer.structured.content, text.slice(0, answer.structured.end_line).join('\n'));
  }
  const log = await all('git_log', { ref: 'HEAD', limit: 200 }, 'commits');
  assert.deepEqual(
    log.map((one) => one.commit),
    lines(git(clone, 'log', '--format=%H', 'HEAD')),
  );
  for (const { commit, parents } of log.slice(0, COMMITS_SHOWN)) {
    if (parents.length === 0) continue;
    const shown = await all('git_show_commit', { commit, limit: 100, patch: false }, 'files');
    const names = git(clone, 'diff', '--name-only', '-z', '--find-renames', parents[0], commit);
    assert.deepEqual(
      shown.map((file: Loose) => file.path),
      lines(names, '\0'),
    );
  }
  console.log(`${tracked.length} files, ${log.length} commits: the same as git`);
} finally {
  rmSync(folder, { recursive: true });
}

/** Git grep ends with 1 where it finds nothing. */
function gitOrNothing(where: string, ...args: string[]): string {
  try {
    return git(where, ...args);
  } catch (error) {
    if ((error as { status?: number }).status === 1) return '';
    throw error;
  }
}
