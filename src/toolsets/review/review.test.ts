import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { chmodSync, mkdirSync, readFileSync, rmSync, symlinkSync } from 'node:fs';
import path from 'node:path';
import { before, describe, it } from 'node:test';
import type { Loose } from '../../../test/support/agent.ts';
import { temporaryFolder } from '../../../test/support/databases.ts';
import { commit, git, reviewOf, write } from '../../../test/support/review-rig.ts';
import { BUILTIN_TOOLSETS } from '../../resources/builtin-toolsets.ts';

const anchors = (items: Loose[]) => items.map(({ anchor }) => anchor);

describe('the review toolset', () => {
  let folder = '';
  let first = '';
  let second = '';
  let review: ReturnType<typeof reviewOf>;

  before(async () => {
    folder = await temporaryFolder();
    git(folder, 'init', '--quiet', '--initial-branch=main');
    write(folder, {
      'src/greet.ts': '// greet is here\nexport function greet(name: string) {\n  return `hi $` + name;\n}\n',
      'src/use.ts': "import { greet } from './greet.ts';\nconsole.log(greet('x'), 'greet');\n",
      'lib/tool.py': 'class Tool:\n    def greet(self):\n        return 1\n',
      'notes.zig': 'pub fn greet() void {}\n',
      'logo.png': Buffer.from([137, 80, 0, 71, 10]),
      'secret/key.txt': 'greet the key\n',
    });
    first = commit(folder, 'Say hello');
    git(folder, 'mv', 'src/use.ts', 'src/main.ts');
    write(folder, {
      'src/main.ts': "import { greet } from './greet.ts';\nconsole.log(greet('y'), 'greet');\n",
    });
    second = commit(folder, 'Move the use\n\nIt is the main file.');
    git(folder, 'branch', 'side', first);
    write(folder, { 'src/greet.ts': 'export function greet() {}\n' });
    review = reviewOf({ demo: { path: folder, ignore: ['secret'] } });
  });

  it('has exactly the tools that are listed, each with an example that its schema takes', () => {
    const names = review.toolset.tools.map(({ name }) => name).toSorted();
    assert.deepEqual(names, [...BUILTIN_TOOLSETS.get('review')!.tools].toSorted());
    for (const { name, doc, input, readOnly } of review.toolset.tools) {
      assert.ok(input.safeParse(doc.example).success, name);
      assert.ok(readOnly, name);
    }
  });

  it('lists repositories, folders and files, without what is ignored', async () => {
    assert.deepEqual((await review.get('browse_codebase')).repositories, [{ name: 'demo' }]);
    const { entries, at } = await review.get('browse_codebase', { repository: 'demo' });
    assert.deepEqual(at, { ref: 'worktree', commit: second, worktree: true });
    assert.deepEqual(entries, [
      { path: 'lib', type: 'folder', files: 1 },
      { path: 'src', type: 'folder', files: 2 },
      { path: 'logo.png', type: 'file' },
      { path: 'notes.zig', type: 'file' },
    ]);
    const files = await review.all('list_code_files', { path: 'src', ref: 'side', limit: 1 }, 'files');
    assert.deepEqual(files, [
      { path: 'src/greet.ts', language: 'typescript' },
      { path: 'src/use.ts', language: 'typescript' },
    ]);
  });

  it('reads the working tree and commits', async () => {
    const now = await review.get('read_code', { path: 'src/greet.ts' });
    assert.equal(now.content, 'export function greet() {}');
    assert.deepEqual(now.at, { ref: 'worktree', commit: second, worktree: true });
    const then = await review.get('read_code', {
      path: 'src/greet.ts',
      ref: 'main',
      start_line: 2,
      end_line: 3,
    });
    assert.equal(then.content, 'export function greet(name: string) {\n  return `hi $` + name;');
    assert.deepEqual([then.next_line, then.total_lines], [4, 4]);
    const outline = await review.get('outline', { path: 'lib/tool.py' });
    assert.equal(outline.method, 'tree-sitter');
    assert.deepEqual(
      outline.symbols.map(({ name, kind, line, depth }: Loose) => [name, kind, line, depth]),
      [
        ['Tool', 'class', 1, 0],
        ['greet', 'function', 2, 1],
      ],
    );
    const guessed = await review.get('outline', { path: 'notes.zig' });
    assert.deepEqual([guessed.method, anchors(guessed.symbols)], ['text', ['notes.zig:1']]);
  });

  it('finds definitions and references, and says where it only looked at text', async () => {
    const { definitions, complete } = await review.get('find_definition', { name: 'greet', ref: 'main' });
    assert.ok(complete);
    assert.deepEqual(
      definitions.map(({ anchor, kind, method }: Loose) => [anchor, kind, method]),
      [
        ['lib/tool.py:2', 'function', 'tree-sitter'],
        ['notes.zig:1', 'fn', 'text'],
        ['src/greet.ts:2', 'function', 'tree-sitter'],
      ],
    );
    const found = await review.get('find_references', { name: 'greet', ref: 'main' });
    assert.deepEqual(anchors(found.references), [
      'lib/tool.py:2',
      'notes.zig:1',
      'src/greet.ts:2',
      'src/main.ts:1',
      'src/main.ts:2',
    ]);
    assert.equal(found.left_out, 1);
  });

  it('pages a search, and refuses a cursor once its branch has moved', async () => {
    const hits = await review.all('search_code', { pattern: 'greet', ref: 'side', limit: 2 }, 'matches');
    assert.deepEqual(anchors(hits), [
      'lib/tool.py:2',
      'notes.zig:1',
      'src/greet.ts:1',
      'src/greet.ts:2',
      'src/use.ts:1',
      'src/use.ts:2',
    ]);
    const { next_cursor: cursor } = await review.get('search_code', {
      pattern: 'greet',
      ref: 'side',
      limit: 2,
    });
    const moved = await review.ask('search_code', { pattern: 'greet', ref: 'main', limit: 2, cursor });
    assert.match(moved.message, /^cursor: is of another commit than main is now/);
    const forged = await review.ask('search_code', { pattern: 'greet', cursor: 'x' });
    assert.match(forged.message, /^cursor: is none that this tool has made/);
    const regex = await review.get('search_code', { pattern: 'gre+t\\(', regex: true, glob: '*.py' });
    assert.deepEqual(anchors(regex.matches), ['lib/tool.py:2']);
    const bad = await review.ask('search_code', { pattern: 'gre(', regex: true });
    assert.equal(bad.field, 'pattern');
  });

  it('shows commits, what they changed, and a file under its earlier name', async () => {
    const log = await review.all('git_log', { ref: 'main', limit: 1 }, 'commits');
    assert.deepEqual(
      log.map(({ commit: id, subject, parents }) => [id, subject, parents]),
      [
        [second, 'Move the use', [first]],
        [first, 'Say hello', []],
      ],
    );
    const history = await review.get('git_file_history', { path: 'src/main.ts' });
    assert.deepEqual(
      history.commits.map(({ commit: id }: Loose) => id),
      [second, first],
    );
    const shown = await review.get('git_show_commit', { commit: second.slice(0, 10) });
    assert.equal(shown.body, 'Move the use\n\nIt is the main file.');
    assert.deepEqual(
      shown.files.map(({ patch: _, ...rest }: Loose) => rest),
      [
        {
          path: 'src/main.ts',
          old_path: 'src/use.ts',
          status: 'renamed',
          added: 1,
          deleted: 1,
          binary: false,
        },
      ],
    );
    const root = await review.get('git_show_commit', { commit: 'side' });
    assert.deepEqual(
      [root.total, root.files.find(({ path }: Loose) => path === 'logo.png').binary],
      [5, true],
    );
  });

  it('compares commits, branches and the working tree', async () => {
    const { files, from, at } = await review.get('git_diff');
    assert.deepEqual([from.commit, at.worktree], [second, true]);
    assert.equal(files[0].patch, git(folder, 'diff', '--no-indent-heuristic', '--', 'src/greet.ts'));
    const branch = await review.get('git_diff', { from: 'side', to: 'main', merge_base: true, patch: false });
    assert.deepEqual(
      branch.files.map(({ path }: Loose) => path),
      ['src/main.ts'],
    );
  });

  it('gives each file its own patch, whatever its name and its change, and git no reason to mix them', async () => {
    const odd = await temporaryFolder();
    git(odd, 'init', '--quiet', '--initial-branch=main');
    const lines = (word: string) => Array.from({ length: 40 }, (_, at) => `${word} ${at}\n`).join('');
    write(odd, {
      'plain.txt': lines('plain'),
      'with space b/x.txt': lines('space'),
      'quo"te.txt': lines('quote'),
      'umläut.txt': lines('umlaut'),
      'old/moved.txt': lines('moved'),
      'mode.sh': lines('mode'),
      'link.txt': lines('link'),
      'gone.txt': lines('gone'),
      'bin.dat': Buffer.from([1, 0, 2]),
    });
    const before = commit(odd, 'before');
    rmSync(path.join(odd, 'gone.txt'));
    rmSync(path.join(odd, 'link.txt'));
    symlinkSync('plain.txt', path.join(odd, 'link.txt'));
    chmodSync(path.join(odd, 'mode.sh'), 0o755);
    mkdirSync(path.join(odd, 'new'));
    git(odd, 'mv', 'old/moved.txt', 'new/moved.txt');
    const header = 'diff --git a/plain.txt b/plain.txt\n';
    write(odd, {
      'plain.txt': `${lines('plain')}\r${header}--- a/plain.txt\n${header}`,
      'with space b/x.txt': `${lines('space')}more\n`,
      'quo"te.txt': `more\n${lines('quote')}`,
      'umläut.txt': lines('umlaut').slice(9),
      'new/moved.txt': `${lines('moved')}${header}`,
      'added.txt': 'no line end',
      'bin.dat': Buffer.from([1, 0, 3]),
    });
    const after = commit(odd, 'after');
    const tools = reviewOf({ odd: { path: odd } });
    const { files } = await tools.get('git_diff', { from: before, to: after });
    assert.equal(files.length, 10);
    for (const { path: name, old_path: old = name, patch, binary } of files) {
      const own = ['-c', 'core.quotePath=false', 'diff', '--no-indent-heuristic', '--find-renames'];
      const expected = git(odd, ...own, before, after, '--', name, old);
      assert.equal(patch, binary ? undefined : expected, name);
    }
  });

  it('shows nothing of what it ignores, and of no ref that is not allowed', async () => {
    for (const args of [{ path: 'secret/key.txt' }, { path: 'secret/key.txt', ref: 'main' }])
      assert.match((await review.ask('read_code', args)).message, /^path: is not shown of this repository/);
    const limited = reviewOf({ demo: { path: folder, refs: ['side'] } });
    for (const ref of [undefined, 'worktree', 'main', second, 'HEAD', 'refs/heads/main', 'main~1'])
      assert.equal((await limited.ask('git_log', { ref })).code, 'NOT_FOUND', ref);
    for (const ref of ['side', first, 'refs/heads/side'])
      assert.deepEqual((await limited.get('git_log', { ref })).count, 1, ref);
  });

  it('needs the right to view the repository, and answers alike where there is none', async () => {
    const other = reviewOf({ demo: { path: folder }, hidden: { path: folder } }, [
      { role: 'view', resource: 'repositories', name: 'demo', project: 'demo' },
    ]);
    assert.deepEqual((await other.get('browse_codebase')).repositories, [{ name: 'demo' }]);
    const [hidden, missing] = await Promise.all(
      ['hidden', 'missing'].map((repository) => other.ask('git_log', { repository })),
    );
    assert.equal(hidden!.code, 'NOT_FOUND');
    assert.deepEqual(hidden, missing);
    const nobody = reviewOf({ demo: { path: folder } }, []);
    const refused = await nobody.ask('git_log', { repository: 'demo' });
    assert.equal(refused.code, 'NOT_PERMITTED');
    assert.match(refused.message, /role:view,resource:repositories,name:demo/);
  });
});

describe('the review toolset over this repository', { skip: !isCheckout() && 'not a git checkout' }, () => {
  const top = path.resolve(import.meta.dirname, '../../..');
  const review = reviewOf({ castellan: { path: top } });

  it('answers as git and grep do', async () => {
    const files = await review.all('list_code_files', { ref: 'HEAD', limit: 1000 }, 'files');
    const listed = git(top, 'ls-tree', '-r', '--name-only', '-z', 'HEAD').split('\0').filter(Boolean);
    assert.deepEqual(
      files.map((one) => one.path),
      listed,
    );
    const matches = await review.all(
      'search_code',
      { pattern: 'Cancellation', path: 'src', limit: 500 },
      'matches',
    );
    const tracked = git(top, 'ls-files', '-z', '--', 'src').split('\0').filter(Boolean);
    const grep = execFileSync('grep', ['-nHF', '--', 'Cancellation', ...tracked], {
      cwd: top,
      encoding: 'utf8',
    });
    assert.deepEqual(
      matches.map(({ anchor, text }) => `${anchor}:${text}`),
      grep.split('\n').filter(Boolean),
    );
    const { definitions } = await review.get('find_definition', { name: 'spawnProcess' });
    assert.deepEqual(
      definitions.map(({ path: at, kind }: Loose) => [at, kind]),
      [['src/base/spawn.ts', 'function']],
    );
    const read = await review.get('read_code', { path: 'package.json', end_line: 400 });
    assert.equal(`${read.content}\n`, readFileSync(path.join(top, 'package.json'), 'utf8'));
    const log = await review.get('git_log', { ref: 'HEAD', limit: 20, path: 'src/base' });
    const ids = git(top, 'log', '--max-count=20', '--format=%H', 'HEAD', '--', 'src/base').trim().split('\n');
    assert.deepEqual(
      log.commits.map(({ commit: id }: Loose) => id),
      ids,
    );
    const shown = await review.get('git_show_commit', { commit: ids[0], limit: 100, patch: false });
    const names = git(top, 'diff-tree', '-r', '--root', '--no-commit-id', '-M', '--name-only', ids[0]!)
      .trim()
      .split('\n');
    assert.deepEqual(
      shown.files.map(({ path: at }: Loose) => at),
      names,
    );
  });
});

function isCheckout(): boolean {
  try {
    git(path.resolve(import.meta.dirname, '../../..'), 'rev-parse', 'HEAD');
    return true;
  } catch {
    return false;
  }
}
