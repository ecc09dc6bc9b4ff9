import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { after, before, test } from 'node:test';
import { newAgent } from '../support/agent.ts';
import { startCastellan, type TestCastellan } from '../support/running-castellan.ts';

let castellan: TestCastellan;
before(async () => {
  castellan = await startCastellan();
});
after(() => castellan[Symbol.asyncDispose]());

/** A command that goes on until it is stopped, and what it has said so far. */
class Watching implements AsyncDisposable {
  readonly #child: ChildProcess;
  readonly #ended: Promise<unknown>;
  said = '';

  constructor(...args: string[]) {
    const all = ['bin/castellan', 'get', ...args, '-w', '--data-dir', castellan.dataDir];
    this.#child = spawn(process.execPath, all, { stdio: ['ignore', 'pipe', 'inherit'] });
    this.#ended = once(this.#child, 'close');
    this.#child.stdout!.setEncoding('utf8').on('data', (text) => {
      this.said += text;
    });
  }

  async until(pattern: RegExp): Promise<void> {
    const deadline = AbortSignal.timeout(30_000);
    while (!pattern.test(this.said)) {
      await once(this.#child.stdout!, 'data', { signal: deadline }).catch(() => {
        throw new Error(`waited for ${pattern}, saw:\n${this.said}`);
      });
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#child.kill('SIGKILL');
    await this.#ended;
  }
}

async function passes(...args: string[]): Promise<string> {
  const { code, stdout, stderr } = await castellan.cli(...args);
  assert.equal(code, 0, stderr);
  return stdout;
}

test('tokens are watched: made, revoked, deleted', async () => {
  await passes('create', 'mcptoken', 'before', '-p', 'demo');
  await using watching = new Watching('tokens', '-p', 'demo', '-o', 'name');
  await watching.until(/^ADDED mcptoken\/before$/m);
  await passes('create', 'mcptoken', 'later', '-p', 'demo');
  await watching.until(/^ADDED mcptoken\/later$/m);
  await passes('revoke', 'mcptoken', 'later', '-p', 'demo');
  await watching.until(/^MODIFIED mcptoken\/later$/m);
  await passes('delete', 'mcptoken', 'later', '-p', 'demo');
  await watching.until(/^DELETED mcptoken\/later$/m);
});

test('tools are watched', async () => {
  await using watching = new Watching('tools', '-p', 'demo', '-o', 'json');
  await watching.until(/"type":"ADDED","object":\{"canonical":"memory__create_entities"/);
});

test('events are watched', async () => {
  await using watching = new Watching('auditevents', '-o', 'wide');
  await watching.until(/server\.started/);
  await passes('create', 'group', 'seen');
  await watching.until(/resource\.created +ok +admin +- +Group\/seen/);
});

test('sessions are listed while they are in use, and watched', async () => {
  const agent = await newAgent(castellan, 'demo');
  assert.match(await passes('get', 'sessions', '-p', 'demo', '-o', 'json'), /"items": \[\]/);
  await using watching = new Watching('sessions', '-p', 'demo', '-o', 'name');
  const session = await agent.openSession();
  await agent.ask('tools/list', {}, session);
  await watching.until(/^ADDED session\/session:/m);
  const { items } = JSON.parse(await passes('get', 'sessions', '-o', 'json'));
  const [mine] = items.filter(({ type }: { type: string }) => type === 'session');
  assert.deepEqual(
    [mine.user, mine.project, mine.surface, mine.client, mine.protocol],
    ['admin', 'demo', 'consumer', 'agent', '2025-11-25'],
  );
  assert.match(await passes('get', 'sessions'), /^ID +TYPE +USER +TOKEN +PROJECT/);
  assert.deepEqual(JSON.parse(await passes('get', 'session', mine.id, '-o', 'json')).items[0].id, mine.id);
  await agent.send(undefined, { method: 'DELETE', headers: session });
  await watching.until(/^DELETED session\/session:/m);
  const gone = await castellan.cli('get', `session/${mine.id}`);
  assert.equal(gone.code, 1);
  assert.match(gone.stderr, /no such session in /);
});
