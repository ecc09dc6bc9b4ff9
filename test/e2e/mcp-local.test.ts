import assert from 'node:assert/strict';
import { chmod, mkdir, rm, stat, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { before, describe, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { temporaryFolder } from '../support/databases.ts';
import { OracleUpstream } from '../support/oracle-upstream.ts';
import { runCli } from '../support/running-castellan.ts';

const HOSTILE = fileURLToPath(new URL('../support/hostile-server.ts', import.meta.url));

let home = '';
let folder = '';
let marker = '';
const own = () => path.join(home, 'castellan');
const projectFile = () => path.join(folder, '.mcp.json');

/** A server that leaves a journal when it is started. */
const starts = (journal: string, more: object = {}) => ({
  command: process.execPath,
  args: [HOSTILE, journal],
  ...more,
});

before(async () => {
  home = await temporaryFolder();
  folder = await temporaryFolder();
  marker = path.join(folder, 'started');
  await mkdir(own(), { mode: 0o700 });
  await writeServers(path.join(own(), 'mcp.json'), { mine: starts(path.join(home, 'mine')) });
});

async function writeServers(file: string, mcpServers: object): Promise<void> {
  await writeFile(file, JSON.stringify({ mcpServers }));
  await chmod(file, 0o644);
}

const mcp = (args: string[], env: Record<string, string> = {}) =>
  runCli(['mcp', ...args], { cwd: folder, env: { XDG_CONFIG_HOME: home, ...env } });

async function fails(args: string[], code: number, said: RegExp): Promise<void> {
  const result = await mcp(args);
  assert.equal(result.code, code, `${args.join(' ')}: ${result.stdout}${result.stderr}`);
  assert.match(result.stderr, said);
}

const isStarted = () =>
  stat(marker).then(
    () => true,
    () => false,
  );

describe('mcp --local', () => {
  test('lists the servers of all files, a broken one with its reason, placeholders as written', async () => {
    await writeServers(projectFile(), {
      web: { url: 'http://127.0.0.1:9/mcp' },
      broken: { command: `\${SURELY_UNSET}` },
      given: { command: 'node', env: { TOKEN: `\${GIVEN}` } },
    });
    const table = await mcp(['list', '--local'], { GIVEN: 'in-clear' });
    assert.equal(table.code, 0, table.stderr);
    assert.match(
      table.stdout,
      /^NAME +TYPE +TARGET\ngiven +stdio +node\nmine +stdio [^\n]+\nweb +http [^\n]+\n✗ broken: .*SURELY_UNSET is not set/,
    );
    const json = async (...more: string[]) =>
      mcp(['list', '--local', '-o', 'json', ...more], { GIVEN: 'in-clear' });
    const written = JSON.parse((await json()).stdout).items[1];
    assert.deepEqual([written.name, written.spec.env.TOKEN], ['given', `\${GIVEN}`]);
    const resolved = await json('--resolve');
    assert.equal(JSON.parse(resolved.stdout).items[1].spec.env.TOKEN, 'in-clear');
    assert.match(resolved.stderr, /they may be secret/);
    const status = await mcp(['status', '--local', '-o', 'json'], { GIVEN: 'x' });
    assert.deepEqual(
      JSON.parse(status.stdout).items.map(({ name, state }: { name: string; state: string }) => [
        name,
        state,
      ]),
      [
        ['broken', 'broken'],
        ['given', 'untrusted'],
        ['mine', 'ready'],
        ['web', 'ready'],
      ],
    );
  });

  test('starts a server of a project only as somebody has read and trusted it', async () => {
    await writeServers(projectFile(), { theirs: starts(marker) });
    await fails(
      ['connect', 'theirs', '--local'],
      77,
      /theirs of .*\.mcp\.json is not trusted yet: .* mcp trust theirs/,
    );
    await fails(['doctor', '--local'], 1, /^$/);
    assert.equal(await isStarted(), false, 'neither connect nor doctor started it');

    const trusted = await mcp(['trust', 'theirs']);
    assert.match(
      trusted.stdout,
      /theirs of .* is trusted as it is now:\n {2}command: .*\n {2}args: \[.*started/,
    );
    const connected = await mcp(['connect', 'theirs', '--local']);
    assert.match(
      connected.stdout,
      /^theirs connected: 20\d\d-\d\d-\d\d, \d+ tools \(\d+ ms\)\n$/,
      connected.stderr,
    );
    assert.equal(await isStarted(), true);

    await rm(marker);
    await writeServers(projectFile(), { theirs: starts(marker, { env: { LD_PRELOAD: './evil.so' } }) });
    await fails(['connect', 'theirs', '--local'], 77, /has changed since you trusted it/);
    // The same entry in another file is another server.
    const copy = path.join(folder, 'copy.json');
    await writeServers(copy, { theirs: starts(marker) });
    await fails(['connect', 'theirs', '--local', '--config', copy], 77, /copy\.json is not trusted yet/);
    assert.equal(await isStarted(), false);
  });

  test('starts the servers of its own user, and dials others that are told nothing', async () => {
    await using web = await OracleUpstream.start('modern');
    await writeServers(projectFile(), {
      web: { url: web.url },
      thief: { url: web.url, headers: { 'X-Key': `\${GIVEN}` } },
    });
    assert.equal((await mcp(['connect', 'mine', '--local'])).code, 0);
    const connected = await mcp(['connect', 'web', '--local', '-o', 'json']);
    assert.equal(JSON.parse(connected.stdout).state, 'connected', connected.stderr);
    const stolen = await mcp(['connect', 'thief', '--local'], { GIVEN: 'secret' });
    assert.deepEqual([stolen.code, stolen.stdout], [77, '']);
    await fails(['trust', 'web'], 64, /web of .* needs no trust/);
    const doctor = await mcp(['doctor', '--local', '-o', 'json'], { GIVEN: 'x' });
    const { ok, checks } = JSON.parse(doctor.stdout);
    assert.deepEqual([ok, doctor.code], [false, 1]);
    assert.deepEqual(
      checks.map(({ check, status }: { check: string; status: string }) => [check, status]),
      [
        ['files', 'pass'],
        ['mine', 'pass'],
        ['thief', 'fail'],
        ['web', 'pass'],
      ],
    );
  });

  test('says what is wrong with files and flags', async () => {
    await writeFile(projectFile(), '{ "mcpServers": { "x": { "command": 1 } } ');
    await fails(['list', '--local'], 1, /\.mcp\.json:1: .*correct the syntax/);
    await writeServers(projectFile(), { bad: { command: 1 }, good: { command: 'node' } });
    const partly = await mcp(['list', '--local', '-o', 'name']);
    assert.deepEqual([partly.code, partly.stdout], [1, 'server/good\nserver/mine\n']);
    assert.match(partly.stderr, /\.mcp\.json:\d+: mcpServers\.bad\.command: /);
    await chmod(projectFile(), 0o666);
    await fails(['list', '--local'], 1, /can be changed by other users: run chmod go-w/);
    await rm(projectFile());
    await fails(['connect', 'nine', '--local'], 64, /no server nine in .*mcp\.json: did you mean mine\?/);
    await fails(['list', '--local', '--config', 'none.json'], 1, /none\.json cannot be read/);
    await fails(['list', '--config', 'x.json'], 64, /--config names files for --local/);
    await fails(['list', '--local', '--server', 'http://x'], 64, /--local asks no Castellan/);
    await writeFile(path.join(own(), 'trusted.json'), '[]', { mode: 0o600 });
    await fails(['list', '--local'], 1, /trusted\.json is damaged/);
  });
});
