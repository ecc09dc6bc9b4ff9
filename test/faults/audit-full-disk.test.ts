import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { rm, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { test } from 'node:test';
import { administrate, newAgent, writeConfig } from '../support/agent.ts';
import { temporaryFolder } from '../support/databases.ts';
import { OracleUpstream } from '../support/oracle-upstream.ts';
import { eventually } from '../support/processes.ts';
import { startCastellan } from '../support/running-castellan.ts';

const folder = await temporaryFolder();

/** Why this machine cannot mount a small file system of its own; false when it can. */
function skipped(): string | false {
  if (process.platform !== 'linux' || process.getuid?.() !== 0) return 'needs Linux and root';
  try {
    mount('size=3m');
    return false;
  } catch {
    return 'needs the right to mount a tmpfs';
  }
}

function mount(options: string): void {
  execFileSync('mount', ['-t', 'tmpfs', '-o', options, 'tmpfs', folder], { stdio: 'ignore' });
}

/** Takes all the room that is left. */
async function fill(file: string): Promise<void> {
  for (const size of [1 << 20, 1 << 16, 1 << 12]) {
    for (;;) {
      const written = await writeFile(file, Buffer.alloc(size), { flag: 'a' }).then(
        () => true,
        () => false,
      );
      if (!written) break;
    }
  }
}

test('a full disk: calls that may change something are refused, reads go on, and all comes back by itself', {
  skip: skipped(),
}, async () => {
  try {
    await using oracle = await OracleUpstream.start('modern', ['echo', 'get']);
    const file = await writeConfig(
      path.join(await temporaryFolder(), 'config.json'),
      { oracle: { url: oracle.url, tools: { readOnly: ['get'] } } },
      { p: { servers: ['oracle'] }, relaxed: { servers: ['oracle'], audit: { intent: 'relaxed' } } },
    );
    await using castellan = await startCastellan(['--config', file], { dataDir: path.join(folder, 'data') });
    const agent = await newAgent(castellan, 'p');
    const relaxed = await newAgent(castellan, 'relaxed');
    const code = async (who: typeof agent, tool: string) => {
      const { result } = await who.call(`oracle__${tool}`, {});
      return result?._meta?.['castellan/error'] ?? 'served';
    };
    assert.equal(await code(agent, 'echo'), 'served');

    const ballast = path.join(folder, 'ballast');
    await fill(ballast);
    // The log that was written before has room for a few more rows.
    await eventually('the disk is full', async () => (await code(agent, 'echo')) !== 'served', 30_000);
    const seen = oracle.calls.length;
    const refusal = await code(agent, 'echo');
    assert.deepEqual([refusal.code, refusal.retry], ['AUDIT_UNAVAILABLE', 'after_ms']);
    assert.ok(refusal.retryAfterMs > 0);
    assert.equal(oracle.calls.length, seen, 'a refused call reached its server');
    await eventually(
      'relaxed is refused too',
      async () => (await code(relaxed, 'echo')) !== 'served',
      10_000,
    );
    assert.equal(await code(agent, 'get'), 'served');
    const unchanged = administrate(castellan, 'POST', '/mcptokens', { project: 'p', name: 'late' });
    await assert.rejects(unchanged, /503/);
    const metrics = await (await fetch(`${castellan.url}/metrics`)).text();
    assert.match(metrics, /^castellan_audit_failing 1$/m);

    await rm(ballast);
    await eventually('calls go out again', async () => (await code(agent, 'echo')) === 'served', 10_000);
    await newAgent(castellan, 'p');
    const { items } = await administrate(castellan, 'GET', '/audit?event=tool.call&limit=1000');
    const outcomes = new Set((items as { outcome: string }[]).map(({ outcome }) => outcome));
    assert.ok(outcomes.has('refused') && outcomes.has('ok'), 'what was refused meanwhile is written later');
    const report = await administrate(castellan, 'GET', '/audit/verify');
    assert.equal(report.ok, true, JSON.stringify(report.findings));
  } finally {
    execFileSync('umount', ['-l', folder], { stdio: 'ignore' });
  }
});
