import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import path from 'node:path';
import { it } from 'node:test';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { validate } from '../inspector/validation.ts';
import { newAgent, writeConfig } from '../support/agent.ts';
import { temporaryFolder } from '../support/databases.ts';
import { OracleUpstream } from '../support/oracle-upstream.ts';
import { startCastellan } from '../support/running-castellan.ts';

const SCRIPT = fileURLToPath(new URL('../../scripts/validate-mcp-client', import.meta.url));
const STEPS = ['tools/list', 'the call is held', 'a human approves it', 'the same call brings its outcome'];

it('the Inspector gets through an approval over stdio and HTTP, in both revisions', async () => {
  const { stdout } = await promisify(execFile)(SCRIPT, ['--json'], { timeout: 110_000 });
  const report = JSON.parse(stdout) as {
    ok: boolean;
    inspector: string;
    runs: { transport: string; era: string; ok: boolean; steps: { name: string; calls: number }[] }[];
  };
  assert.deepEqual([report.ok, report.inspector], [true, '2.12.0']);
  assert.deepEqual(
    report.runs.map(({ transport, era }) => `${transport} ${era}`),
    ['stdio legacy', 'stdio modern', 'http legacy', 'http modern'],
  );
  for (const { steps } of report.runs) {
    assert.deepEqual(
      steps.map(({ name }) => name),
      STEPS,
    );
    assert.deepEqual(
      steps.map(({ calls }) => calls),
      [0, 0, 1, 1],
    );
  }
});

it('a call that nobody holds is found out', async () => {
  await using oracle = await OracleUpstream.start('modern', ['delete']);
  const config = await writeConfig(
    path.join(await temporaryFolder(), 'castellan.json'),
    { notes: { url: oracle.url } },
    { demo: { servers: ['notes'] } },
  );
  await using castellan = await startCastellan(['--config', config]);
  const { token = '' } = await newAgent(castellan, 'demo');
  const { ok, steps } = await validate({ castellan, oracle, token }, 'http', 'modern');
  assert.equal(ok, false);
  assert.deepEqual(
    steps.map((step) => step.ok),
    [true, false, false, false],
  );
});
