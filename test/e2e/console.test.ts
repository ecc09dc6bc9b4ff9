import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { after, before, describe, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { HOSTILE_NAME } from '../support/audit-events.ts';
import { runCli, startCastellan, type TestCastellan } from '../support/running-castellan.ts';
import { noTerminal, TerminalWindow } from '../support/terminal-window.ts';

const ROOT = new URL('../../', import.meta.url);
const LAUNCHER = fileURLToPath(new URL('bin/castellan', ROOT));
const CRASH = fileURLToPath(new URL('test/support/crash-on-signal.ts', ROOT));
const NARROW = { columns: 80, rows: 24 };
/** Sequences of our own: colours, clearing a line or what is below, moving among our own lines, modes. */
const OURS = /\x1b\[[\d;]*[mABCDEFGHJK]|\x1b\[\?(?:7|25|1049|2026)[hl]|\x1b\[8[hl]/g;

let castellan: TestCastellan;
let token = '';

before(async () => {
  castellan = await startCastellan();
  const bind = ['--bind', 'role:run,resource:tools'];
  const made = await castellan.cli('create', 'mcptoken', 'laptop', '-p', 'demo', ...bind);
  assert.equal(made.code, 0, made.stderr);
  token = made.stdout.trim();
});

after(() => castellan[Symbol.asyncDispose]());

/** One message to the endpoint as a client of the older era sends it. */
async function post(message: object, session?: string): Promise<Response> {
  const response = await fetch(`${castellan.url}/projects/demo/mcp`, {
    method: 'POST',
    headers: {
      authorization: `Bearer ${token}`,
      'content-type': 'application/json',
      accept: 'application/json, text/event-stream',
      ...(session === undefined ? {} : { 'mcp-session-id': session, 'mcp-protocol-version': '2025-06-18' }),
    },
    body: JSON.stringify({ jsonrpc: '2.0', ...message }),
  });
  await response.text();
  return response;
}

async function openSession(client: string): Promise<string> {
  const clientInfo = { name: client, version: '1' };
  const params = { protocolVersion: '2025-06-18', capabilities: {}, clientInfo };
  const response = await post({ id: 1, method: 'initialize', params });
  const session = response.headers.get('mcp-session-id') ?? '';
  assert.notEqual(session, '');
  await post({ method: 'notifications/initialized' }, session);
  return session;
}

const call = (session: string, name: string) =>
  post({ id: 2, method: 'tools/call', params: { name, arguments: { message: 'hi' } } }, session);

type Opening = { env?: string; args?: string; dataDir?: string };

function openConsole({ env = '', args = '', dataDir }: Opening = {}): Promise<TerminalWindow> {
  const verb = `console --audit --data-dir ${dataDir ?? castellan.dataDir} ${args}`;
  return TerminalWindow.open(`${env} ${process.execPath} ${LAUNCHER} ${verb}`, NARROW);
}

async function isRestored(window: TerminalWindow, code: number): Promise<string> {
  const screen = await window.until(/ended: \d+\s+icanon;? echo/);
  assert.match(screen, new RegExp(`before[\\s\\S]*ended: ${code}\\b`));
  assert.deepEqual(await window.modes(), { cursor: true, alternate: false, wrap: true });
  return screen;
}

describe('console --audit in a terminal', { skip: noTerminal() ?? false }, () => {
  test('shows sessions, live events and details in any size, and gives the terminal back', async () => {
    await using window = await openConsole();
    const first = await window.until(/● live/);
    assert.match(first, /TOKEN +USER/);
    assert.match(first, /\? help {2}q quit/);
    const session = await openSession('editor');
    await call(session, 'everything__echo');
    const live = await window.until(/ok +tool\.call +laptop +admin +everything/);
    assert.match(live, /● laptop/);
    assert.match(live, /editor/);
    await window.resize(200, 60);
    const wide = await window.until(/PROJECT +MS +WHAT/);
    assert.match(wide, /tool\.call +laptop +admin +demo +\d+ +everything__echo/);
    assert.equal(
      wide.split('\n').findIndex((line) => line.includes('q quit')),
      59,
    );
    await window.resize(50, 10);
    await window.until(/at least 60×14/);
    await window.resize(80, 24);
    await window.until(/TOKEN +USER/);
    await window.keys('?');
    await window.until(/follow it/);
    await window.keys('Escape');
    await window.until(/SESSIONS/);
    await window.keys('q');
    await isRestored(window, 0);
  });

  test('nothing that a name holds acts on the terminal', async () => {
    await using window = await openConsole();
    await window.until(/● live/);
    const session = await openSession(HOSTILE_NAME);
    await call(session, HOSTILE_NAME);
    const screen = await window.until(/refused +tool\.call +laptop +admin +evil__\\u001b/);
    assert.match(screen, /ZXZpbA==/);
    await window.keys('/', 'evil', 'Enter', 'Enter');
    await window.until(/scroll/);
    await window.keys('q', 'Tab', 'f', 't');
    await window.until(/ token: /);
    const raw = (await window.raw()).replaceAll(OURS, '');
    assert.doesNotMatch(raw, /[^\P{C}\r\n]/u);
    assert.doesNotMatch(raw, /\p{Default_Ignorable_Code_Point}/u);
    assert.doesNotMatch(await window.raw(), /\x1b\[13;37H|\x1b\[2J|\x1b\[31mred/);
    for (const line of screen.split('\n').slice(2, 23)) assert.equal(line[17], '│', line);
  });

  test('filters ask the server, a pause holds, search finds', async () => {
    await using window = await openConsole({ args: '--outcome refused' });
    const session = await openSession('editor');
    await call(session, 'no__such_tool');
    await window.until(/outcome=refused[\s\S]*refused +tool\.call/);
    await window.keys('c');
    await window.until(/no filters[\s\S]*session/);
    await window.keys('f', 'e');
    await window.keys('C-u', 'token.*', 'Enter');
    const tokens = await window.until(/event=token\.\*[\s\S]*McpToken/);
    assert.doesNotMatch(tokens, /session\.st/);
    await window.keys('c', 'Space');
    await window.until(/PAUSED, 0 waiting/);
    await call(session, 'no__such_tool');
    await window.until(/PAUSED, 1 waiting/);
    await window.keys('Space');
    await window.until(/following/);
    await window.keys('/', 'nothing at all', 'Enter');
    await window.until(/none of these \d+ events holds “nothing at all”/);
  });

  test('without colours none is written', async () => {
    await using window = await openConsole({ env: 'NO_COLOR=1' });
    await window.until(/● live/);
    assert.deepEqual((await window.raw()).match(/\x1b\[(3|4|9)\d*m/g), null);
  });

  test('Ctrl-C, a signal and a crash leave the terminal as it was', async () => {
    {
      await using window = await openConsole();
      await window.until(/● live/);
      await window.keys('C-c');
      await isRestored(window, 0);
    }
    {
      await using window = await openConsole();
      await window.until(/● live/);
      process.kill(await window.pid(), 'SIGTERM');
      await isRestored(window, 143);
    }
    await using window = await openConsole({ env: `NODE_OPTIONS=--import=${CRASH}` });
    await window.until(/● live/);
    process.kill(await window.pid(), 'SIGUSR2');
    assert.match(await isRestored(window, 1), /error: broken/);
  });
});

describe('console --audit when the server', { skip: noTerminal() ?? false }, () => {
  test('goes away and comes back: the gap is shown, and nothing of it is missing', async () => {
    const dataDir = await mkdtemp(path.join(tmpdir(), 'castellan-console-'));
    await using folders = new AsyncDisposableStack();
    folders.defer(() => rm(dataDir, { recursive: true, force: true }));
    const own = await startCastellan([], { dataDir });
    await using window = await openConsole({ dataDir });
    await window.until(/● live/);
    await own.stop();
    await window.until(/✗ not connected since/);
    await using again = await startCastellan([], { dataDir });
    const screen = await window.until(/not live:[\s\S]*server\.sta/);
    assert.match(screen, /● live/);
    assert.notEqual(again.url, own.url);
    assert.ok(screen.includes(again.url), screen);
  });
});

describe('console --audit when its right', { skip: noTerminal() ?? false }, () => {
  test('is taken away: it ends, and says why', async () => {
    const bind = ['--bind', 'role:view,resource:audit'];
    const made = await castellan.cli('create', 'mcptoken', 'watcher', '-p', 'demo', ...bind);
    const env = `CASTELLAN_TOKEN=${made.stdout.trim()}`;
    await using window = await openConsole({ env, args: `-p demo --server ${castellan.url}` });
    await window.until(/● live/);
    const revoked = await castellan.cli('revoke', 'mcptoken', 'watcher', '-p', 'demo');
    assert.equal(revoked.code, 0, revoked.stderr);
    assert.match(await isRestored(window, 77), /error: /);
  });
});

describe('console --audit says what to do', () => {
  test('where nobody sits', async () => {
    const result = await runCli(['console', '--audit', '--data-dir', castellan.dataDir]);
    assert.equal(result.code, 64);
    assert.match(result.stderr, /stdin is no terminal.*ssh -t.*castellan audit query --watch/);
    const bare = await runCli(['console']);
    assert.equal(bare.code, 64);
    assert.match(bare.stderr, /--audit is missing/);
  });

  test('when it may not, and when no server is there', { skip: noTerminal() ?? false }, async () => {
    {
      const env = `CASTELLAN_TOKEN=${token}`;
      await using window = await openConsole({ env, args: `--server ${castellan.url}` });
      assert.match(await isRestored(window, 77), /error: .*audit/);
    }
    await using window = await openConsole({ args: '--server http://127.0.0.1:9', env: 'CASTELLAN_TOKEN=x' });
    assert.match(await isRestored(window, 69), /castellan serve/);
  });
});
