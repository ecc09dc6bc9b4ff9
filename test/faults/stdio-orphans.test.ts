import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { existsSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, describe, it } from 'node:test';
import { ChildProcesses } from '../../src/base/child-processes.ts';
import { membersIn, readProcess, readProcessTable, signalProcess } from '../../src/base/process-tree.ts';
import { eventually, isAlive, pidsMarked } from '../support/processes.ts';

const STAND_IN = join(import.meta.dirname, '../support/castellan-with-children.ts');
const silent = { warn: () => undefined, info: () => undefined };
const started: ChildProcess[] = [];

/** A parent with children of every kind; `watchdog` is the pid of its watchdog. */
async function startParent(
  marker: string,
  mode = '',
  env = process.env,
): Promise<{ parent: ChildProcess; watchdog: number }> {
  const parent = spawn(process.execPath, [STAND_IN, marker, mode], {
    stdio: ['pipe', 'pipe', 'inherit'],
    env,
  });
  started.push(parent);
  let text = '';
  parent.stdout!.on('data', (data) => {
    text += data;
  });
  await eventually('the parent is ready', () => text.includes('\n'), 15_000);
  return { parent, watchdog: Number(text.split(' ')[1]) };
}

/** Everyone who descends from `pid` now, whatever its environment says. */
async function descendantsOf(pid: number): Promise<number[]> {
  const leaderStart = (await readProcess(pid))?.startTime ?? '';
  const family = { leader: -1, leaderStart, marker: '-', known: new Map([[pid, leaderStart]]) };
  return membersIn(await readProcessTable(), family)
    .map((info) => info.pid)
    .filter((member) => member !== pid);
}

const freshMarker = () => `t${randomBytes(6).toString('hex')}`;
const ended = (child: ChildProcess) =>
  new Promise<void>((resolve) => {
    if (child.exitCode !== null || child.signalCode !== null) resolve();
    else child.once('exit', () => resolve());
  });

afterEach(() => {
  for (const child of started.splice(0)) child.kill('SIGKILL');
});

describe('when this process is killed', { skip: process.platform !== 'linux' && 'needs /proc' }, () => {
  it('nothing of what it started is left within five seconds, the watchdog included', async () => {
    const marker = freshMarker();
    const { parent, watchdog } = await startParent(marker);
    const everyone = await descendantsOf(parent.pid!);
    assert.ok(everyone.length >= 6, `${everyone.length} processes`);
    assert.ok(everyone.includes(watchdog));
    const marked = await pidsMarked(marker);
    assert.ok(marked.length >= 5);
    parent.kill('SIGKILL');
    await eventually('no marked process', async () => (await pidsMarked(marker)).length === 0);
    for (const pid of [...everyone, ...marked]) {
      await eventually(`process ${pid} is gone`, async () => !(await isAlive(pid)));
    }
  });

  it('also while it spawns without pause', async () => {
    for (let round = 0; round < 2; round += 1) {
      const marker = freshMarker();
      const { parent, watchdog } = await startParent(marker, 'load');
      await eventually('it is under load', async () => (await pidsMarked(marker)).length > 10);
      parent.kill('SIGKILL');
      await ended(parent);
      await eventually('the watchdog has done its work', async () => !(await isAlive(watchdog)));
      assert.deepEqual(await pidsMarked(marker), []);
    }
  });

  it('the next start ends what is left when the watchdog was killed too, and nobody else', async () => {
    const marker = freshMarker();
    const dead = await startParent(marker);
    const living = await startParent(marker);
    const other = await startParent(`${marker}x`);
    const ofLiving = await descendantsOf(living.parent.pid!);
    const ofDead = await descendantsOf(dead.parent.pid!);
    process.kill(dead.watchdog, 'SIGSTOP');
    dead.parent.kill('SIGKILL');
    await ended(dead.parent);
    process.kill(dead.watchdog, 'SIGKILL');
    const before = (await pidsMarked(marker)).length;

    const next = new ChildProcesses({ marker, logger: silent });
    assert.ok((await next.sweepOrphans()) >= 3);
    assert.equal(await next.sweepOrphans(), 0);
    const after = await pidsMarked(marker);
    assert.ok(after.length < before);
    for (const pid of ofLiving) assert.ok(await isAlive(pid), `${pid} of the living parent`);
    assert.ok((await pidsMarked(`${marker}x`)).length >= 5);

    for (const { parent } of [living, other]) {
      parent.stdin!.end();
      await ended(parent);
    }
    assert.deepEqual([await pidsMarked(marker), await pidsMarked(`${marker}x`)], [[], []]);
    // What has neither marker nor parent any more nobody could find.
    for (const pid of ofDead) signalProcess(pid, 'SIGKILL');
  });
});

describe('the watchdog', { skip: process.platform !== 'linux' && 'needs /proc' }, () => {
  it('goes with a clean stop', async () => {
    const marker = freshMarker();
    const { parent, watchdog } = await startParent(marker);
    assert.ok(await isAlive(watchdog));
    parent.stdin!.end();
    await ended(parent);
    await eventually('no watchdog', async () => !(await isAlive(watchdog)), 1000);
    assert.deepEqual(await pidsMarked(marker), []);
  });

  it('also works with the poorest tools: a grep that stops at NUL, and no awk', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'castellan-tools-'));
    for (const tool of ['cat', 'cut', 'tr', 'sleep', 'setsid', 'sh']) {
      const found = (process.env.PATH ?? '').split(':').find((part) => existsSync(join(part, tool)));
      symlinkSync(join(found ?? '/bin', tool), join(folder, tool));
    }
    writeFileSync(join(folder, 'grep'), '#!/bin/sh\nexit 1\n', { mode: 0o755 });
    const marker = freshMarker();
    const { parent, watchdog } = await startParent(marker, '', { ...process.env, PATH: folder });
    const cleaned = (await descendantsOf(parent.pid!)).filter((pid) => pid !== watchdog);
    parent.kill('SIGKILL');
    await eventually('no marked process', async () => (await pidsMarked(marker)).length === 0);
    await eventually('no watchdog', async () => !(await isAlive(watchdog)));
    // What cleaned its environment and left its session is known by its parent alone, which takes awk to find.
    for (const pid of cleaned) signalProcess(pid, 'SIGKILL');
    rmSync(folder, { recursive: true });
  });

  it('is started again when somebody kills it, and still knows the groups', async () => {
    const marker = freshMarker();
    const warnings: string[] = [];
    const children = new ChildProcesses({
      marker,
      logger: { ...silent, warn: (_, text) => warnings.push(text) },
    });
    const spawned = await children.spawn({ command: 'sleep', args: ['1000'], env: {} });
    assert.ok(spawned.ok);
    const first = children.watchdogPid!;
    process.kill(first, 'SIGKILL');
    await eventually('a new one', () => children.watchdogPid !== undefined && children.watchdogPid !== first);
    assert.equal(warnings.length, 1);
    assert.ok(await isAlive(spawned.value.pid));
    await children[Symbol.asyncDispose]();
    assert.equal(await isAlive(spawned.value.pid), false);
  });
});

describe('starting and stopping again and again', () => {
  it('leaves as many processes and descriptors as before', async () => {
    const marker = freshMarker();
    const children = new ChildProcesses({ marker, logger: silent });
    const descriptors = () => process.getActiveResourcesInfo().length;
    let before = 0;
    for (let round = 0; round < 25; round += 1) {
      const batch = await Promise.all(
        [1, 2].map(() => children.spawn({ command: 'cat', args: [], env: {} })),
      );
      await Promise.all(batch.map((result) => result.ok && result.value.stop()));
      assert.equal(children.size, 0);
      if (round === 5) before = descriptors();
    }
    assert.ok(descriptors() <= before + 2, `${descriptors()} resources, ${before} before`);
    assert.deepEqual(await pidsMarked(marker), []);
    await children[Symbol.asyncDispose]();
  });

  it('a stop of the whole while a child is being spawned leaves none', async () => {
    const marker = freshMarker();
    const children = new ChildProcesses({ marker, logger: silent });
    const spawning = children.spawn({ command: 'sleep', args: ['1000'], env: {} });
    await children[Symbol.asyncDispose]();
    await spawning;
    await eventually('no process', async () => (await pidsMarked(marker)).length === 0);
    const late = await children.spawn({ command: 'sleep', args: ['1000'], env: {} });
    assert.equal(late.ok, false);
  });
});
