import assert from 'node:assert/strict';
import { execFile, spawnSync } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { after, before, describe, test } from 'node:test';
import { promisify } from 'node:util';
import { runCli, startCastellan, type TestCastellan } from '../support/running-castellan.ts';

const SHELLS = ['bash', 'zsh', 'fish'] as const;
const run = promisify(execFile);

let folder = '';
let castellan: TestCastellan;
const scripts = new Map<string, string>();

before(async () => {
  folder = await mkdtemp(path.join(tmpdir(), 'castellan-completion-'));
  castellan = await startCastellan();
  // As it is called when it is installed.
  await writeFile(
    path.join(folder, 'castellan'),
    `#!/bin/sh\nexec "${process.execPath}" "${path.resolve('bin/castellan')}" "$@"\n`,
    { mode: 0o755 },
  );
  for (const shell of SHELLS) {
    const printed = await runCli(['completion', shell]);
    assert.deepEqual([printed.code, printed.stderr], [0, '']);
    scripts.set(shell, printed.stdout);
    await writeFile(path.join(folder, `script.${shell}`), printed.stdout);
  }
});

after(async () => {
  await castellan[Symbol.asyncDispose]();
  await rm(folder, { recursive: true, force: true });
});

const env = () => ({
  ...process.env,
  PATH: `${folder}:${process.env.PATH}`,
  CASTELLAN_DATA_DIR: castellan.dataDir,
  CASTELLAN_TOKEN: '',
});

/** What bash offers for the last word. */
async function offered(...words: string[]): Promise<string[]> {
  const line = ['castellan', ...words].map((word) => `'${word}'`).join(' ');
  const script = `source "${folder}/script.bash"; COMP_WORDS=(${line}); COMP_CWORD=${words.length}; _castellan; printf '%s\\n' "\${COMPREPLY[@]}"`;
  const { stdout, stderr } = await run('bash', ['--norc', '-c', script], { env: env() });
  assert.equal(stderr, '');
  return stdout.split('\n').filter((word) => word !== '');
}

/** The verbs and options that help shows. */
async function shownBy(...words: string[]) {
  const { stdout } = await runCli([...words, '--help']);
  const options = [...stdout.matchAll(/^ {2}(?:(-\w), )?(--[\w-]+)/gm)].flatMap(([, short, long]) => [
    short,
    long,
  ]);
  const verbs = [...stdout.matchAll(/^ {2}([a-z][\w-]*(?:\|[\w-]+)?)(?: |$)/gm)].flatMap(([, names]) =>
    names!.split('|'),
  );
  return {
    options: options.filter((one) => one !== undefined),
    verbs: verbs.filter((one) => one !== 'help'),
  };
}

describe('the scripts', () => {
  test('know every verb and every option that help shows', async () => {
    const { verbs } = await shownBy();
    assert.ok(verbs.length > 25, verbs.join(' '));
    for (const verb of verbs) {
      const { options } = await shownBy(verb);
      for (const [shell, script] of scripts) {
        const fish = new RegExp(`case '${verb}'\\n +set words (.*)\\n +set flags (.*)`);
        const other = new RegExp(`'${verb}'\\) words='(.*)' flags='(.*)' ;;`);
        const found = (shell === 'fish' ? fish : other).exec(script);
        assert.ok(found, `${shell} does not know ${verb}`);
        const known = found[2]!.split(' ');
        assert.deepEqual(
          options.filter((flag) => !known.includes(flag)),
          [],
          `${shell}: ${verb}`,
        );
      }
    }
  });

  test('know the words below a verb, and their aliases', () => {
    for (const [shell, script] of scripts) {
      for (const path of ['mcp status', 'create mcptoken', 'create token', 'context use', 'test mcp'])
        assert.ok(script.includes(`'${path}'`), `${shell}: ${path}`);
    }
  });

  for (const shell of ['zsh', 'fish'] as const) {
    const missing = spawnSync(shell, ['--version']).error !== undefined;
    test(`${shell} can read its script`, {
      skip: missing ? `${shell} is not installed` : false,
    }, async () => {
      await run(shell, ['-n', path.join(folder, `script.${shell}`)]);
    });
  }

  test('another shell is refused', async () => {
    const { code, stderr } = await runCli(['completion', 'csh']);
    assert.deepEqual([code, /use one of bash, zsh, fish/.test(stderr)], [64, true]);
  });
});

describe('bash offers', () => {
  test('verbs, words below them and options', async () => {
    assert.deepEqual(await offered('de'), ['describe', 'delete']);
    assert.deepEqual((await offered('mcp', 'st')).sort(), ['status']);
    assert.ok((await offered('get', '--fi')).includes('--field-selector'));
    assert.deepEqual(await offered('create', 'mcptoken', 'x', '--surf'), ['--surface']);
    assert.deepEqual(await offered('get', 'servers', '-o', 'wi'), ['wide']);
    assert.deepEqual(await offered('config', 'cu'), ['cursor']);
  });

  test('kinds, and names of what the server has', async () => {
    assert.deepEqual(await offered('get', 'serv'), ['servers', 'server']);
    assert.deepEqual(await offered('get', 'servers', 'mem'), ['memory']);
    assert.deepEqual(await offered('describe', 'srv/ev'), ['srv/everything']);
    assert.deepEqual(await offered('get', 'tools', '-p', 'de'), ['demo']);
    assert.deepEqual(await offered('-p', 'demo', 'delete', 'proj', ''), ['demo']);
    assert.deepEqual(await offered('mcp', 'connect', 'f'), ['filesystem']);
    assert.ok((await offered('call', 'everything__e')).includes('everything__echo'));
  });

  test('nothing, silently and soon, when no server answers', async () => {
    const words = ['get', 'servers', '--server', 'http://127.0.0.1:9', ''];
    const asked = await runCli(['__complete', ...words], { env: { CASTELLAN_TOKEN: 'x' } });
    assert.deepEqual([asked.code, asked.stdout, asked.stderr], [0, '', '']);
    const odd = await runCli(['__complete', 'get', 'no-such-kind', '']);
    assert.deepEqual([odd.code, odd.stdout, odd.stderr], [0, '', '']);
  });
});
