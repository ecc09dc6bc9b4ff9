import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { after, before, test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { mintCredential } from '../../src/base/ids.ts';
import { administrate } from '../support/agent.ts';
import { accessibilityFaults, browserMissing, openBrowser, profile } from '../support/browser.ts';
import { newPerson, PASSWORD, Person } from '../support/person.ts';
import { type CliResult, runCli, startCastellan, type TestCastellan } from '../support/running-castellan.ts';
import { StdioClient } from '../support/stdio-client.ts';
import { noTerminal, TerminalWindow } from '../support/terminal-window.ts';

const ALICE = 'alice@example.com';
const LAUNCHER = fileURLToPath(new URL('../../bin/castellan', import.meta.url));

let folder = '';
let castellan: TestCastellan;

before(async () => {
  folder = await mkdtemp(path.join(tmpdir(), 'castellan-sign-in-'));
  castellan = await startCastellan();
  await newPerson(castellan, ALICE);
});

after(async () => {
  await castellan[Symbol.asyncDispose]();
  await rm(folder, { recursive: true, force: true });
});

const environment = () => ({
  XDG_CONFIG_HOME: folder,
  CASTELLAN_DATA_DIR: '',
  CASTELLAN_TOKEN: '',
  NO_COLOR: '1',
});

/** The command line of a user without a data directory. */
const cli = (...args: string[]): Promise<CliResult> => runCli(args, { env: environment(), cwd: folder });

/** A command that waits for its person, who does `act` once it has said something like `said`. */
async function meanwhile(
  args: readonly string[],
  said: RegExp,
  act: (found: RegExpExecArray) => Promise<unknown>,
): Promise<CliResult> {
  const child = spawn(process.execPath, [LAUNCHER, ...args], {
    env: { ...process.env, ...environment() },
    cwd: folder,
  });
  let [stdout, stderr] = ['', ''];
  const found = Promise.withResolvers<RegExpExecArray>();
  child.stdout.on('data', (chunk) => {
    stdout += chunk;
  });
  child.stderr.on('data', (chunk) => {
    stderr += chunk;
    const match = said.exec(stderr);
    if (match) found.resolve(match);
  });
  const code = new Promise<number | null>((resolve) => child.on('close', resolve));
  void code.then(() => found.reject(new Error(`it ended: ${stdout}${stderr}`)));
  try {
    await act(await found.promise);
    return { code: await code, stdout, stderr };
  } finally {
    child.kill();
  }
}

const PAGE = /^ {2}(http\S+\/authorize\?\S+)\n/m;

/** What the browser brings back to the command line, which answers it itself. */
async function comeBack(page: string, decision: 'allow' | 'deny' = 'allow'): Promise<Response> {
  const back = await new Person(page, ALICE).decide(page, decision);
  assert.match(back.href, /^http:\/\/127\.0\.0\.1:\d+\/callback\?/);
  return fetch(back);
}

const contextsFile = () => path.join(folder, 'castellan', 'contexts.json');

type Kept = { accessToken: string; refreshToken: string; expiresAt: number };

async function kept(name: string): Promise<Kept | undefined> {
  return JSON.parse(await readFile(contextsFile(), 'utf8')).contexts[name]?.signIn;
}

async function change(name: string, changes: Partial<Kept>): Promise<void> {
  const value = JSON.parse(await readFile(contextsFile(), 'utf8'));
  Object.assign(value.contexts[name].signIn, changes);
  await writeFile(contextsFile(), JSON.stringify(value), { mode: 0o600 });
}

async function refreshes(): Promise<number> {
  const { items } = await administrate(castellan, 'GET', '/audit?event=access.issued&limit=500');
  return items.filter((row: { detail: { by: string } }) => row.detail.by === 'refresh_token').length;
}

async function opens(accessToken: string): Promise<boolean> {
  const headers = { authorization: `Bearer ${accessToken}` };
  return (await fetch(`${castellan.url}/api/v1/whoami`, { headers })).ok;
}

test('login signs in at a browser, as the person, and keeps it for its user alone', async () => {
  const done = await meanwhile(['login', castellan.url, '--context', 'main'], PAGE, async ([, page]) => {
    const { redirect_uri: redirect, ...asked } = Object.fromEntries(new URL(page!).searchParams);
    assert.deepEqual(
      [asked.client_id, asked.resource, asked.scope, asked.code_challenge_method],
      ['castellan-cli', `${castellan.url}/api/v1`, 'api', 'S256'],
    );
    // Anybody on the machine can call there; without the state it changes nothing.
    assert.equal((await fetch(`${redirect}?code=stolen&state=guessed`)).status, 404);
    assert.equal((await fetch(new URL('/', redirect))).status, 404);
    const answer = await comeBack(page!);
    assert.deepEqual([answer.status, /You are signed in/.test(await answer.text())], [200, true]);
  });
  assert.deepEqual(
    [done.code, done.stdout],
    [0, `logged in to ${castellan.url} as User:${ALICE}, context main\n`],
    done.stderr,
  );
  assert.equal((await stat(contextsFile())).mode & 0o777, 0o600);
  const me = JSON.parse((await cli('whoami', '-o', 'json')).stdout);
  assert.deepEqual([me.principal, me.owner], ['OAuthClient:castellan-cli', ALICE]);
  assert.deepEqual(me.bindings, ['role:run,resource:tools,project:demo'], 'what the person was given');
  const called = await cli('call', 'everything__echo', '{"message":"hi"}', '-p', 'demo');
  assert.equal(called.stdout, 'Echo: hi\n', called.stderr);
  const listed = JSON.parse((await cli('context', 'list', '-o', 'json')).stdout);
  assert.deepEqual(listed.items, [{ name: 'main', server: castellan.url, current: true, login: 'sign-in' }]);
});

test('an access token that has ended is renewed once, however many processes want it', async () => {
  const before = (await kept('main'))!;
  const count = await refreshes();
  await change('main', { expiresAt: Date.now() - 1 });
  const all = await Promise.all(Array.from({ length: 6 }, () => cli('whoami')));
  for (const { code, stderr } of all) assert.equal(code, 0, stderr);
  assert.equal(await refreshes(), count + 1);
  const renewed = (await kept('main'))!;
  assert.notEqual(renewed.accessToken, before.accessToken);
  assert.notEqual(renewed.refreshToken, before.refreshToken);
  assert.ok(renewed.expiresAt > Date.now() + 3_600_000);
});

test('an access token that the server refuses is renewed, and what was asked is asked again', async () => {
  const count = await refreshes();
  await change('main', { accessToken: mintCredential('at') });
  const called = await cli('call', 'everything__echo', '{"message":"again"}', '-p', 'demo');
  assert.deepEqual([called.code, called.stdout], [0, 'Echo: again\n'], called.stderr);
  assert.equal(await refreshes(), count + 1);
});

test('mcp-serve proves itself with the sign-in, renewed when it is refused', async () => {
  const count = await refreshes();
  await change('main', { accessToken: mintCredential('at') });
  await using client = new StdioClient(['-p', 'demo'], environment());
  await client.initialize();
  assert.equal(await refreshes(), count + 1);
  const form = { token: (await kept('main'))!.accessToken, client_id: 'castellan-cli' };
  const revoked = await fetch(`${castellan.url}/revoke`, { method: 'POST', body: new URLSearchParams(form) });
  assert.equal(revoked.status, 200);
  const call = { name: 'everything__echo', arguments: { message: 'signed in' } };
  const { result } = await client.ask('tools/call', call);
  assert.equal(result.content[0].text, 'Echo: signed in');
  assert.equal(await refreshes(), count + 2);
  assert.equal(await client.close(), 0);
});

test('logout ends the sign-in at the server too', async () => {
  const { accessToken, refreshToken } = (await kept('main'))!;
  assert.equal(await opens(accessToken), true);
  const done = await cli('logout');
  assert.deepEqual(
    [done.code, done.stdout],
    [0, `logged out of ${castellan.url}, context main\n`],
    done.stderr,
  );
  assert.equal(await kept('main'), undefined);
  assert.equal(await opens(accessToken), false);
  const form = { grant_type: 'refresh_token', refresh_token: refreshToken, client_id: 'castellan-cli' };
  const refused = await fetch(`${castellan.url}/token`, { method: 'POST', body: new URLSearchParams(form) });
  assert.equal(refused.status, 400);
  const bare = await cli('whoami');
  assert.deepEqual([bare.code, /run castellan login --context main/.test(bare.stderr)], [77, true]);
});

test('login --device signs in at a browser elsewhere; a new sign-in ends the one before it', async () => {
  const device = () =>
    meanwhile(['login', '--device'], /enter the code ([A-Z]{4}-[A-Z]{4}):/, ([, code]) =>
      new Person(castellan.url, ALICE).enter(code!),
    );
  const done = await device();
  assert.equal(done.code, 0, done.stderr);
  assert.match(done.stdout, /as User:alice@example\.com, context main\n$/);
  const first = (await kept('main'))!;
  assert.equal((await device()).code, 0);
  assert.notEqual((await kept('main'))!.accessToken, first.accessToken);
  assert.equal(await opens(first.accessToken), false);
});

test('what was refused, withdrawn or never there is said, with what to do', async () => {
  const refused = await meanwhile(['login', castellan.url, '--context', 'no'], PAGE, async ([, page]) => {
    const answer = await comeBack(page!, 'deny');
    assert.deepEqual([answer.status, /You are not signed in/.test(await answer.text())], [400, true]);
  });
  assert.deepEqual([refused.code, /access was refused on the page/.test(refused.stderr)], [77, true]);
  assert.equal(await kept('no'), undefined);

  const { refreshToken } = (await kept('main'))!;
  const form = { token: refreshToken, client_id: 'castellan-cli' };
  await fetch(`${castellan.url}/revoke`, { method: 'POST', body: new URLSearchParams(form) });
  const ended = await cli('whoami');
  assert.deepEqual([ended.code, /run castellan login --context main/.test(ended.stderr)], [77, true]);

  const away = await cli('login', 'http://127.0.0.1:9');
  assert.equal(away.code, 69, away.stderr);
  const twice = await cli('login', castellan.url, '--device', '--token-from', 'env:X');
  assert.equal(twice.code, 64, twice.stderr);
});

test('a server with a name of its own is logged in to by that name', async () => {
  const named = await startCastellan([], { env: { CASTELLAN_PUBLIC_URL: 'https://mcp.example.com' } });
  try {
    const { url } = JSON.parse(await readFile(path.join(named.dataDir, 'admin.json'), 'utf8'));
    const other = await cli('login', url);
    assert.deepEqual([other.code, /calls itself https:\/\/mcp\.example\.com/.test(other.stderr)], [1, true]);
  } finally {
    await named[Symbol.asyncDispose]();
  }
});

test('on a desktop the page opens by itself, and a real browser comes back from it', {
  skip: noTerminal() ?? browserMissing() ?? false,
}, async () => {
  const programs = path.join(folder, 'programs');
  const opened = path.join(programs, 'opened');
  await mkdir(programs);
  await writeFile(path.join(programs, 'xdg-open'), `#!/bin/sh\nprintf %s "$1" > ${opened}\n`, {
    mode: 0o755,
  });
  const env = Object.entries({ ...environment(), PATH: `${programs}:${process.env.PATH}`, DISPLAY: ':9' });
  const assignments = env.map(([name, value]) => `${name}='${value}'`).join(' ');
  const command = `cd ${folder}; ${assignments} SSH_CONNECTION= ${process.execPath} ${LAUNCHER} login ${castellan.url} --context desktop`;
  await using window = await TerminalWindow.open(command, { columns: 200, rows: 40 });
  await window.until(/Open this page in a browser on this machine/);
  const browser = await openBrowser();
  try {
    const page = await (await profile(browser, { script: true })).newPage();
    await page.goto(await contentOf(opened));
    await page.fill('#email', ALICE);
    await page.fill('#password', PASSWORD);
    await page.click('main button');
    await page.click('button[value=allow]');
    await page.waitForSelector('text=You are signed in');
    assert.deepEqual(await accessibilityFaults(page), []);
  } finally {
    await browser.close();
  }
  await window.until(/logged in to .* as User:alice@example\.com, context desktop\s+ended: 0/);
});

/** What a program has written to a file by now, or soon. */
async function contentOf(file: string): Promise<string> {
  const deadline = Date.now() + 10_000;
  for (;;) {
    const content = await readFile(file, 'utf8').catch(() => '');
    if (content !== '') return content;
    if (Date.now() > deadline) throw new Error(`nothing wrote ${file}`);
    await delay(20);
  }
}

test('T66: no server leads the browser to a file, a program or another server', async () => {
  let endpoint = '';
  const server = createServer((_request, response) => {
    const issuer = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
    response.setHeader('content-type', 'application/json');
    response.end(
      JSON.stringify({ issuer, authorization_endpoint: endpoint, token_endpoint: `${issuer}/token` }),
    );
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  try {
    const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
    for (endpoint of [
      'file:///etc/passwd',
      'javascript:alert(1)',
      'vscode://x',
      'https://evil.example/$(id)',
    ]) {
      const { code, stderr } = await cli('login', url);
      assert.deepEqual([code, /leads to another place to sign in/.test(stderr)], [1, true], stderr);
      assert.ok(!stderr.includes(endpoint), 'nor does it show where');
    }
  } finally {
    server.closeAllConnections();
    server.close();
  }
});
