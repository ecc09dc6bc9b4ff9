import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { chmodSync, existsSync, mkdirSync, renameSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { before, beforeEach, describe, it } from 'node:test';
import { temporaryFolder } from '../../../test/support/databases.ts';
import { commit, git, reviewOf, write } from '../../../test/support/review-rig.ts';
import { Cancellation } from '../../base/cancellation.ts';
import { Git } from './git.ts';

/** A call of every tool, each with every argument that names a state, a path or a text. */
const CALLS: readonly (readonly [string, object])[] = [
  ['browse_codebase', { repository: 'demo', path: '', ref: 'HEAD' }],
  ['outline', { path: 'src/a.ts', ref: 'HEAD' }],
  ['list_code_files', { path: 'src', ref: 'HEAD', glob: '*', language: 'typescript' }],
  ['find_definition', { name: 'alpha', path: 'src', ref: 'HEAD' }],
  ['find_references', { name: 'alpha', path: 'src', ref: 'HEAD' }],
  ['read_code', { path: 'src/a.ts', ref: 'HEAD' }],
  ['search_code', { pattern: 'alpha', path: 'src', ref: 'HEAD' }],
  [
    'git_log',
    { path: 'src', ref: 'HEAD', author: 'Ann', grep: 'one', since: '2020-01-01', until: '2050-01-01' },
  ],
  ['git_diff', { path: 'src', from: 'HEAD', to: 'worktree' }],
  ['git_show_commit', { path: 'src', commit: 'HEAD' }],
  ['git_file_history', { path: 'src/a.ts', ref: 'HEAD' }],
];

let root = '';
let folder = '';
let marker = '';
let review: ReturnType<typeof reviewOf>;

async function fresh(): Promise<void> {
  root = await temporaryFolder();
  folder = path.join(root, 'demo');
  marker = path.join(root, 'ran');
  mkdirSync(folder);
  git(folder, 'init', '--quiet', '--initial-branch=main');
  write(folder, {
    'src/a.ts': 'export const alpha = 1;\n',
    'd/passwd': 'alpha inside\n',
    'x.bin': 'alpha 1\n',
  });
  commit(folder, 'one');
  write(root, { 'demo-evil/secret.ts': 'alpha outside\n', 'outside/passwd': 'alpha outside\n' });
  review = reviewOf({ demo: { path: folder } });
}

describe('arguments of the review tools', () => {
  before(fresh);

  it('are never options of git, whichever they are', async () => {
    const attacks = [
      ...[`--output=${marker}`, `--upload-pack=touch ${marker}`, '-c', `-ccore.pager=touch ${marker}`],
      ...['--format=%H', `--open-files-in-pager=touch ${marker}`, '--no-index', '--help', '-O', '--', '-'],
    ];
    for (const [name, args] of CALLS) {
      for (const field of Object.keys(args)) {
        for (const attack of attacks) {
          const answer = await review.ask(name, { ...args, [field]: attack });
          const isState = ['ref', 'from', 'to', 'commit', 'since', 'until'].includes(field);
          if (isState)
            assert.deepEqual(
              [answer.ok, answer.code],
              [false, 'INVALID_ARGUMENT'],
              `${name} ${field} ${attack}`,
            );
          assert.doesNotMatch(JSON.stringify(answer), /outside/);
        }
      }
    }
    assert.ok(!existsSync(marker));
  });

  it('find a text that looks like an option', async () => {
    write(folder, { 'opts.txt': 'use --output=file here\n' });
    git(folder, 'add', 'opts.txt');
    for (const regex of [true, false]) {
      const { matches } = await review.get('search_code', { pattern: '--output=', regex });
      assert.deepEqual(
        matches.map(({ anchor }: { anchor: string }) => anchor),
        ['opts.txt:1'],
      );
    }
    assert.equal((await review.get('git_log', { grep: '--all' })).count, 0);
  });

  it('reach a branch that is named like an option only by its whole name', async () => {
    git(folder, 'update-ref', 'refs/heads/--format=x', 'HEAD');
    for (const [name, args] of CALLS) {
      const field = 'commit' in args ? 'commit' : 'from' in args ? 'from' : 'ref';
      const short = await review.ask(name, { ...args, [field]: '--format=x' });
      assert.match(short.message, /begins with "-"/, name);
      assert.ok((await review.ask(name, { ...args, [field]: 'refs/heads/--format=x' })).ok, name);
    }
  });

  it('name no path outside, however it is spelled', async () => {
    const attacks = [
      ...[
        '../outside/passwd',
        'src/../../outside/passwd',
        '..',
        '%2e%2e/outside/passwd',
        '..%2foutside/passwd',
      ],
      ...[
        '/etc/passwd',
        'src/a.ts\0',
        '\0',
        'src\\..\\..\\outside',
        '../demo-evil/secret.ts',
        'C:/x',
        'a\nb',
      ],
      ...['.git/config', '.GIT/config', 'src/.git/config', '.git', 'GIT~1/config', '.git./config'],
    ];
    for (const [name, args] of CALLS) {
      for (const attack of attacks) {
        const answer = await review.ask(name, { ...args, path: attack });
        assert.deepEqual(
          [answer.ok, answer.field, answer.code],
          [false, 'path', 'INVALID_ARGUMENT'],
          `${name} ${attack}`,
        );
      }
    }
    for (const ref of [
      'HEAD:../x',
      'HEAD@{1}',
      ':/one',
      'main..HEAD',
      'main^{/x}',
      'a\0b',
      'a b',
      '^main',
      '',
    ])
      assert.equal((await review.ask('git_log', { ref })).code, 'INVALID_ARGUMENT', ref);
  });

  it('take globs and magic of paths as plain characters', async () => {
    for (const attack of [':(top)src', ':/src', ':!src', 'src/*.ts', ':(attr:x)src'])
      assert.equal((await review.ask('read_code', { path: attack })).code, 'NOT_FOUND', attack);
  });
});

describe('links and files that are none', () => {
  beforeEach(fresh);

  it('are not followed out of the repository', async () => {
    symlinkSync('../outside/passwd', path.join(folder, 'out.txt'));
    symlinkSync('../demo-evil/secret.ts', path.join(folder, 'sibling.ts'));
    symlinkSync('.git/config', path.join(folder, 'config.txt'));
    symlinkSync('src/a.ts', path.join(folder, 'in.ts'));
    commit(folder, 'links');
    for (const name of ['out.txt', 'sibling.ts', 'config.txt']) {
      for (const ref of ['worktree', 'HEAD']) {
        for (const tool of ['read_code', 'outline'])
          assert.match(
            (await review.ask(tool, { path: name, ref })).message,
            /symbolic link/,
            `${name} ${ref}`,
          );
      }
    }
    assert.equal((await review.get('read_code', { path: 'in.ts' })).content, 'export const alpha = 1;');
  });

  it('are not followed where a folder became a link', async () => {
    rmSync(path.join(folder, 'd'), { recursive: true });
    symlinkSync('../outside', path.join(folder, 'd'));
    // Git itself follows that one.
    assert.match(git(folder, 'grep', 'alpha', '--', 'd/passwd'), /outside/);
    for (const [name, args] of CALLS) {
      for (const more of [{ path: 'd/passwd' }, { path: 'd' }, { path: '' }]) {
        const state = 'ref' in args ? { ref: 'worktree' } : {};
        assert.doesNotMatch(
          JSON.stringify(await review.ask(name, { ...args, ...state, ...more })),
          /alpha outside/,
          name,
        );
      }
    }
  });

  it('that block, are binary or huge are answered at once', async () => {
    rmSync(path.join(folder, 'x.bin'));
    execFileSync('mkfifo', [path.join(folder, 'x.bin')]);
    assert.match((await review.ask('read_code', { path: 'x.bin' })).message, /is no plain file/);
    write(folder, { 'src/b.ts': Buffer.from([97, 0, 98]), 'src/huge.ts': `alpha${'x'.repeat(5_000_000)}\n` });
    rmSync(path.join(folder, 'x.bin'));
    const id = commit(folder, 'large');
    for (const ref of ['worktree', id]) {
      assert.match(
        (await review.ask('read_code', { path: 'src/b.ts', ref })).message,
        /is a binary file of 3 bytes/,
      );
      assert.match(
        (await review.ask('read_code', { path: 'src/huge.ts', ref })).message,
        /files up to 4194304 are read/,
      );
      const { matches } = await review.get('search_code', { pattern: 'alphaxx', ref });
      assert.ok(matches.length === 1 && matches[0].text.length < 1100);
    }
  });
});

describe('a repository that is hostile', () => {
  before(fresh);

  it('runs nothing of its own', async () => {
    const script = path.join(root, 'evil.sh');
    writeFileSync(script, `#!/bin/sh\necho "$0 $*" >> ${marker}\ncat\n`);
    chmodSync(script, 0o755);
    write(folder, {
      '.gitattributes': '*.ts filter=evil diff=evil\n*.bin filter=a=b\n*.txt filter=far\n',
      'far.txt': 'far\n',
    });
    commit(folder, 'attributes');
    const settings = {
      ...{
        'core.fsmonitor': script,
        'core.pager': script,
        'core.sshCommand': script,
        'diff.external': script,
      },
      ...{ 'filter.evil.clean': script, 'filter.evil.smudge': script, 'filter.a=b.clean': script },
      ...{ 'filter.evil.required': 'true', 'diff.evil.textconv': script, 'diff.evil.command': script },
      ...{ 'core.hooksPath': path.join(root, 'hooks'), 'gpg.program': script, 'log.showSignature': 'true' },
      ...{ 'core.alternateRefsCommand': script, 'credential.helper': script, 'core.askPass': script },
      ...{
        'remote.origin.url': `ext::${script}`,
        'remote.origin.promisor': 'true',
        'protocol.ext.allow': 'always',
      },
      ...{ 'extensions.partialClone': 'origin', 'core.repositoryFormatVersion': '1', 'pager.log': script },
      ...{ 'include.path': path.join(root, 'more.config'), 'core.worktree': path.join(root, 'outside') },
    };
    write(root, {
      'more.config': `[filter "far"]\n\tprocess = ${script}\n\trequired = true\n`,
      'hooks/x': '',
    });
    for (const hook of [
      'post-index-change',
      'post-checkout',
      'fsmonitor-watchman',
      'reference-transaction',
    ]) {
      writeFileSync(path.join(root, 'hooks', hook), `#!/bin/sh\necho hook >> ${marker}\n`);
      chmodSync(path.join(root, 'hooks', hook), 0o755);
    }
    for (const [key, value] of Object.entries(settings)) git(folder, 'config', key, value);
    write(folder, { 'src/a.ts': 'export const alpha = 2;\n', 'x.bin': 'alpha 2\n', 'far.txt': 'further\n' });
    for (const [name, args] of CALLS) {
      for (const more of [{}, { path: '' }]) {
        const answer = await review.ask(name, {
          ...args,
          ...('path' in more && needsFile(name) ? {} : more),
        });
        assert.ok(answer.ok, `${name}: ${answer.message}`);
      }
    }
    const { files } = await review.get('git_diff');
    assert.deepEqual(
      files.map(({ path: at }: { path: string }) => at),
      ['far.txt', 'src/a.ts', 'x.bin'],
    );
    assert.match(files[1].patch, /^\+export const alpha = 2;$/m);
    const missing = git(folder, 'rev-parse', 'HEAD:src/a.ts').trim();
    const object = path.join(folder, '.git/objects', missing.slice(0, 2), missing.slice(2));
    renameSync(object, `${object}.gone`);
    assert.ok(!(await review.ask('read_code', { path: 'src/a.ts', ref: 'HEAD' })).ok);
    renameSync(`${object}.gone`, object);
    assert.ok(!existsSync(marker));
    // That the settings would have run something is seen without us.
    git(folder, 'config', 'core.worktree', folder);
    try {
      git(folder, 'diff');
    } catch {}
    assert.ok(existsSync(marker));
  });

  it('shows the commit itself, not what replaces it', async () => {
    await fresh();
    const real = git(folder, 'rev-parse', 'HEAD').trim();
    write(folder, { 'src/a.ts': 'export const fake = 1;\n' });
    const fake = commit(folder, 'fake');
    git(folder, 'replace', real, fake);
    const { content } = await review.get('read_code', { path: 'src/a.ts', ref: real });
    assert.equal(content, 'export const alpha = 1;');
  });
});

describe('bounds of the review tools', () => {
  before(fresh);

  it('end git when it takes too long, and when nobody waits any more', async () => {
    // Git reads a repository's settings first, and of these there will never be an end.
    const endless = path.join(root, 'endless');
    git(root, 'clone', '--quiet', folder, endless);
    rmSync(path.join(endless, '.git/config'));
    execFileSync('mkfifo', [path.join(endless, '.git/config')]);
    const hasty = reviewOf({ demo: { path: endless } }, undefined, new Git({ timeLimitMs: 500 }));
    assert.match((await hasty.ask('git_log', {})).message, /did not answer within/);
    const cancellation = new Cancellation();
    const asked = review.ask('git_log', {}, cancellation);
    cancellation.cancel('gone');
    assert.match((await asked).message, /the call was cancelled/);
  });

  it('let a few run at once and refuse the rest', async () => {
    const answers = await Promise.all(Array.from({ length: 200 }, () => review.ask('git_log', {})));
    const refused = answers.filter(({ ok }) => !ok);
    assert.ok(refused.length > 0 && refused.length < 200);
    for (const { message } of refused) assert.match(message, /too many questions about repositories wait/);
    assert.ok((await review.ask('git_log', {})).ok);
  });
});

function needsFile(name: string): boolean {
  return ['outline', 'read_code', 'git_file_history'].includes(name);
}
