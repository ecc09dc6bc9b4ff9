import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import {
  type MarkedProcess,
  membersIn,
  ProcessTableReader,
  parseStat,
  readMarker,
  readProcess,
  readProcessTable,
} from './process-tree.ts';

describe('a line of the process table', () => {
  const rest = '100 42 41 0 -1 4194304 1 2 3 4 5 6 7 8 20 0 11 0 987654 1000 200';

  it('is read whatever the command is called', () => {
    for (const name of ['node', 'a b', '(sd-pam)', 'x) S 1 1 1', 'new\nline']) {
      assert.deepEqual(parseStat(`77 (${name}) S ${rest}\n`), {
        pid: 77,
        state: 'S',
        parent: 100,
        group: 42,
        session: 41,
        startTime: '987654',
      });
    }
  });

  it('that is no such line is none', () => {
    for (const text of ['', '77 (node', '77 (node) S 1', 'x (node) S 1'])
      assert.equal(parseStat(text), undefined);
  });
});

describe('the process table', { skip: process.platform !== 'linux' && 'needs /proc' }, () => {
  it('has this process and its parent', async () => {
    const pids = (await readProcessTable()).map((info) => info.pid);
    assert.ok(pids.includes(process.pid) && pids.includes(process.ppid));
    assert.equal((await readProcess(process.pid))?.parent, process.ppid);
    assert.equal(await readProcess(2 ** 30), undefined);
    assert.equal(await readMarker(process.pid), undefined);
  });

  it('is read again for whoever asks while it is being read, once for all of them', async () => {
    const reader = new ProcessTableReader();
    const [first, second, third] = [reader.read(), reader.read(), reader.read()];
    assert.notEqual(first, second);
    assert.equal(second, third);
    const late = second.then(() => reader.read());
    assert.notEqual(await late, await second);
    assert.ok((await first).length > 0);
  });
});

describe('the members of a family', () => {
  const entry = (pid: number, parent: number, session: number, marker?: string): MarkedProcess => ({
    pid,
    parent,
    group: session,
    session,
    state: 'S',
    startTime: `${pid * 10}`,
    marker,
  });
  const family = { leader: 50, leaderStart: '500', marker: 'm.1', known: new Map<number, string>() };
  const pidsIn = (table: MarkedProcess[], of = family) =>
    membersIn(table, of)
      .map(({ pid }) => pid)
      .sort((left, right) => left - right);

  it('are its session, the marked wherever they are, and all descendants of those', () => {
    const table = [
      entry(1, 0, 1),
      entry(90, 80, 90),
      entry(50, 40, 50, 'm.1'),
      entry(60, 1, 50),
      entry(70, 1, 70, 'm.1'),
      entry(80, 70, 80),
      entry(95, 1, 95, 'm.10'),
      entry(40, 1, 40),
    ];
    assert.deepEqual(pidsIn(table), [50, 60, 70, 80, 90]);
  });

  it('are not those of a later process with the same pid', () => {
    const reused = { ...entry(50, 1, 50), startTime: '99999' };
    assert.deepEqual(pidsIn([reused, entry(51, 50, 50)]), []);
  });

  it('are those known before, unless their pid is used again', () => {
    const known = { ...family, known: new Map([[30, '300']]) };
    assert.deepEqual(pidsIn([entry(30, 1, 30), entry(31, 30, 31)], known), [30, 31]);
    assert.deepEqual(pidsIn([{ ...entry(30, 1, 30), startTime: '301' }], known), []);
  });
});
