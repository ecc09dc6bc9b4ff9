import assert from 'node:assert/strict';
import { lstat, mkdir, readFile, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { after, before, describe, test } from 'node:test';
import { temporaryFolder } from '../support/databases.ts';
import { eventually } from '../support/processes.ts';
import { runCli, startCli } from '../support/running-castellan.ts';
import { Vendor } from '../support/vendor.ts';

let home = '';
let vendor: Vendor;
const file = () => path.join(home, 'castellan', 'auth.json');
const seen: string[] = [];

before(async () => {
  home = await temporaryFolder();
  vendor = await Vendor.start();
  await mkdir(path.join(home, 'castellan'), { mode: 0o700 });
  const servers = ['tracker', 'other'].map((name) => ({
    kind: 'Server',
    metadata: { name },
    spec: { url: vendor.url, auth: { type: 'oauth' } },
  }));
  const written = servers
    .map((one) => JSON.stringify({ apiVersion: 'castellan/v1', ...one }))
    .join('\n---\n');
  await writeFile(path.join(home, 'castellan', 'mcp.yaml'), written, { mode: 0o600 });
});
after(() => vendor[Symbol.asyncDispose]());

async function mcp(args: string[], input = '') {
  const result = await runCli(['mcp', ...args, '--local'], {
    env: { XDG_CONFIG_HOME: home },
    cwd: home,
    input,
  });
  seen.push(result.stdout, result.stderr);
  return result;
}
async function passes(args: string[], input = ''): Promise<string> {
  const { code, stdout, stderr } = await mcp(args, input);
  assert.equal(code, 0, `${args.join(' ')}: ${stdout}${stderr}`);
  return stdout + stderr;
}
async function begun(): Promise<string> {
  const { code, stderr } = await mcp(['login', 'tracker', '--paste']);
  assert.deepEqual([code, /castellan mcp login tracker --local --resume/.test(stderr)], [1, true], stderr);
  return /^ {2}(http\S+)$/m.exec(stderr)?.[1] ?? '';
}

describe('signing in for a server of a file, without a Castellan', () => {
  test('by hand, and from another terminal', async () => {
    const before = await mcp(['connect', 'tracker']);
    assert.match(before.stderr, /nobody has signed in.*castellan mcp login tracker/);
    const back = await vendor.visit(await begun());
    assert.match(
      await passes(['status']),
      /a sign-in for tracker waits: castellan mcp login tracker --local/,
    );
    const wrong = await mcp(['login', 'tracker', `--paste=${back.replace(/state=[^&]*/, 'state=x')}`]);
    assert.match(wrong.stderr, /answers another sign-in/);
    await passes(['login', 'tracker', '--resume'], `${back}\n`);
    assert.equal((await lstat(file())).mode & 0o777, 0o600);
    assert.match(await passes(['connect', 'tracker']), /tracker connected: .*1 tools/);
    assert.match(await passes(['status']), /tracker\s+ready\s.*signed in/);
    assert.match(await passes(['status']), /other\s+ready\s.*needs login/);
  });

  test('is renewed, and taken back at the vendor in the end', async () => {
    const content = JSON.parse(await readFile(file(), 'utf8'));
    const [kept] = Object.values(content.grants) as [{ grant: { tokens: { expiresAt: number } } }];
    kept.grant.tokens.expiresAt = 1;
    await writeFile(file(), JSON.stringify(content), { mode: 0o600 });
    const refreshes = vendor.refreshes;
    assert.match(await passes(['connect', 'tracker']), /tracker connected/);
    assert.match(await passes(['connect', 'tracker']), /tracker connected/);
    assert.equal(vendor.refreshes, refreshes + 1);
    assert.match(await passes(['logout', 'tracker']), /is signed out, at the vendor too/);
    assert.match(await passes(['logout', 'tracker']), /nobody was signed in for tracker/);
    assert.equal((await mcp(['connect', 'tracker'])).code, 1);
  });

  test('by a browser, for two servers at once', async () => {
    const env = { XDG_CONFIG_HOME: home };
    const logins = ['tracker', 'other'].map((name) =>
      startCli(['mcp', 'login', name, '--browser', '--local'], env),
    );
    for (const login of logins) {
      await eventually('a page to open', () => /^ {2}http\S+$/m.test(login.stderr()), 20_000);
      const page = await vendor.visit(/^ {2}(http\S+)$/m.exec(login.stderr())?.[1] ?? '');
      assert.match(await (await fetch(page)).text(), /You are signed in/);
    }
    for (const { ended } of logins) {
      const { code, stdout, stderr } = await ended;
      seen.push(stdout, stderr);
      assert.equal(code, 0, stderr);
    }
    for (const name of ['tracker', 'other']) assert.match(await passes(['connect', name]), /connected/);
  });

  test('of another user’s project only once its entry is trusted', async () => {
    const spec = { url: vendor.url, headers: { x: `\${HOME}` }, auth: { type: 'oauth' } };
    const server = { apiVersion: 'castellan/v1', kind: 'Server', metadata: { name: 'foreign' }, spec };
    await writeFile(path.join(home, 'castellan.yaml'), JSON.stringify(server));
    const { code, stderr } = await mcp(['login', 'foreign', '--paste']);
    assert.deepEqual([code, /is not trusted yet/.test(stderr)], [77, true], stderr);
  });

  test('shows nothing that was issued', () => {
    assert.ok(vendor.issued.size > 5);
    for (const secret of vendor.issued) assert.ok(!seen.join('\n').includes(secret), 'a secret was shown');
  });
});
