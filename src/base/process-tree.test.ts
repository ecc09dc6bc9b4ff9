import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { listProcesses, parseStat, readMarker, readProcess } from './process-tree.ts';

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
    const pids = (await listProcesses()).map((info) => info.pid);
    assert.ok(pids.includes(process.pid) && pids.includes(process.ppid));
    assert.equal((await readProcess(process.pid))?.parent, process.ppid);
    assert.equal(await readProcess(2 ** 30), undefined);
    assert.equal(await readMarker(process.pid), undefined);
  });
});
