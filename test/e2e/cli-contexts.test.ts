import assert from 'node:assert/strict';
import { chmod, mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { after, before, test } from 'node:test';
import { runCli, startCastellan, type TestCastellan } from '../support/running-castellan.ts';

let folder = '';
let castellan: TestCastellan;
let token = '';

before(async () => {
  folder = await mkdtemp(path.join(tmpdir(), 'castellan-contexts-'));
  castellan = await startCastellan();
  token = (
    await castellan.cli('create', 'mcptoken', 'ctx', '-p', 'demo', '--bind', 'role:run,resource:tools')
  ).stdout.trim();
});

after(async () => {
  await castellan[Symbol.asyncDispose]();
  await rm(folder, { recursive: true, force: true });
});

/** The command line of a user without a data directory. */
function cli(args: readonly string[], input = '', env: Record<string, string> = {}) {
  const own = { XDG_CONFIG_HOME: folder, CASTELLAN_DATA_DIR: '', CASTELLAN_TOKEN: '', NO_COLOR: '1' };
  return runCli(args, { input, env: { ...own, ...env }, cwd: folder });
}

const file = () => path.join(folder, 'castellan', 'contexts.json');

test('login checks the token, keeps it for its user alone, and is used from then on', async () => {
  const wrong = await cli(['login', castellan.url, '--token-from', '-'], 'cst_pat_wrong\n');
  assert.deepEqual([wrong.code, wrong.stdout], [77, ''], wrong.stderr);
  await assert.rejects(stat(file()), { code: 'ENOENT' });
  const host = new URL(castellan.url).host.replace(':', '-');
  const done = await cli(['login', '--server', `${castellan.url}/`, '--token-from', '-'], `${token}\n`);
  assert.equal(done.code, 0, done.stderr);
  assert.match(done.stdout, new RegExp(`^logged in to ${castellan.url} as McpToken:.*, context ${host}\n$`));
  assert.equal((await stat(file())).mode & 0o777, 0o600);
  assert.equal((await stat(path.dirname(file()))).mode & 0o777, 0o700);
  const called = await cli(['call', 'everything__echo', '{"message":"hi"}']);
  assert.equal(called.stdout, 'Echo: hi\n', called.stderr);
  assert.match((await cli(['whoami'])).stdout, /project: demo/);
  const byUrl = await cli(['whoami', '--server', castellan.url]);
  assert.match(byUrl.stdout, /project: demo/, 'a kept token goes to its own server');
  const elsewhere = await cli(['whoami', '--server', 'http://127.0.0.1:9']);
  assert.deepEqual([elsewhere.code, /no credential for/.test(elsewhere.stderr)], [77, true]);
});

test('contexts are listed without their tokens, chosen, changed and deleted', async () => {
  assert.equal(
    (await cli(['context', 'set', 'other', '--server', 'http://127.0.0.1:9'])).stdout,
    'context other created\n',
  );
  assert.equal(
    (
      await cli(['context', 'set', 'named', '--server', castellan.url, '--token-from', 'env:MINE'], '', {
        MINE: token,
      })
    ).code,
    0,
  );
  const { items } = JSON.parse((await cli(['context', 'list', '-o', 'json'])).stdout);
  assert.deepEqual(
    items
      .map((item: { name: string; current: boolean; login: string }) => [item.name, item.current, item.login])
      .slice(1),
    [
      ['named', false, 'token'],
      ['other', false, 'none'],
    ],
  );
  assert.doesNotMatch((await cli(['context', 'list', '-o', 'yaml'])).stdout, new RegExp(token.slice(8)));
  assert.equal((await cli(['whoami', '--context', 'named'])).code, 0);
  assert.equal((await cli(['--context', 'named', 'whoami'])).code, 0);
  assert.equal((await cli(['context', 'use', 'other'])).code, 0);
  const bare = await cli(['whoami']);
  assert.deepEqual(
    [bare.code, /context other has no token: run castellan login/.test(bare.stderr)],
    [77, true],
  );
  assert.equal((await cli(['whoami', '--data-dir', castellan.dataDir])).code, 0, 'an explicit place wins');
  assert.equal((await cli(['whoami', '--context', 'othr'])).code, 64);
  assert.equal((await cli(['whoami', '--context', 'other', '--server', castellan.url])).code, 64);
  const moved = await cli(['context', 'set', 'named', '--server', 'http://127.0.0.1:9']);
  assert.equal(moved.stdout, 'context named configured\n');
  assert.doesNotMatch(
    await readFile(file(), 'utf8'),
    /"named": \{[^}]*token/,
    'no token goes to another server',
  );
  assert.equal((await cli(['context', 'use'])).code, 0);
  assert.match((await cli(['whoami'])).stderr, /no castellan runs on/);
  assert.equal((await cli(['context', 'delete', 'named'])).stdout, 'context named deleted\n');
  assert.equal((await cli(['context', 'delete', 'named'])).code, 64);
});

test('logout forgets the token', async () => {
  await cli(['login', '--server', castellan.url, '--context', 'out', '--token-from', 'file:token.txt']).then(
    (missing) => assert.equal(missing.code, 1),
  );
  await writeFile(path.join(folder, 'token.txt'), `${token}\n`);
  assert.equal(
    (await cli(['login', '--server', castellan.url, '--context', 'out', '--token-from', 'file:token.txt']))
      .code,
    0,
  );
  assert.match((await cli(['logout'])).stdout, /^logged out of .*, context out\n$/);
  assert.equal((await cli(['whoami'])).code, 77);
  assert.equal((await cli(['login', '--token-from', 'argv:x'])).code, 64);
  assert.equal(
    (await cli(['login', '--token-from', '-'], token)).code,
    0,
    'the server of the context is known',
  );
});

test('a file that is damaged or open to others is refused', async () => {
  await chmod(file(), 0o644);
  const open = await cli(['whoami']);
  assert.deepEqual([open.code, /can be read by other users/.test(open.stderr)], [1, true]);
  await rm(file());
  await writeFile(file(), '{', { mode: 0o600 });
  const damaged = await cli(['whoami']);
  assert.deepEqual([damaged.code, /is damaged/.test(damaged.stderr)], [1, true]);
});

test('doctor says what is wrong, and that nothing runs is not', async () => {
  await rm(file());
  const bare = await cli(['doctor']);
  assert.deepEqual([bare.code, /^- server +no castellan runs/m.test(bare.stdout)], [0, true], bare.stdout);
  const sound = await cli(['doctor', '--data-dir', castellan.dataDir, '-o', 'json']);
  const { ok, checks } = JSON.parse(sound.stdout);
  assert.deepEqual([sound.code, ok], [0, true], sound.stdout);
  assert.deepEqual(
    // A busy machine is slow to write, which is worth a warning and nothing wrong.
    checks.map(({ check, status }: { check: string; status: string }) =>
      check === 'disk' ? `disk ${status.replace('warn', 'pass')}` : `${check} ${status}`,
    ),
    [
      ...['node pass', 'data directory pass', 'disk pass', 'database pass', 'contexts skipped'],
      ...['server pass', 'ready pass', 'clock pass', 'upstream pass', 'processes warn'],
    ],
  );
  const away = await cli(['doctor', '--server', 'http://127.0.0.1:9'], '', { CASTELLAN_TOKEN: 'x' });
  assert.deepEqual([away.code, /^✗ server /m.test(away.stdout)], [1, true], away.stdout);
  const open = await mkdtemp(path.join(folder, 'open-'));
  await chmod(open, 0o755);
  const unsafe = await cli(['doctor', '--data-dir', open]);
  assert.deepEqual(
    [unsafe.code, /^✗ data directory .*chmod 700/m.test(unsafe.stdout)],
    [1, true],
    unsafe.stdout,
  );
  const spec = 'kind: Server\nmetadata: { name: unwell }\nspec: { command: no-such-command-at-all }\n';
  const where = ['--data-dir', castellan.dataDir];
  assert.equal((await cli(['apply', '-f', '-', ...where], spec)).code, 0);
  assert.notEqual((await cli(['mcp', 'connect', 'unwell', ...where])).code, 0);
  const ill = await cli(['doctor', ...where]);
  assert.deepEqual([ill.code, /^✗ upstream +unwell is failed: /m.test(ill.stdout)], [1, true], ill.stdout);
  assert.match(
    ill.stdout,
    /^! processes +.*unwell run as the same user as Castellan, and can read its keys/m,
  );
});
