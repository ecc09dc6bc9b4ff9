import assert from 'node:assert/strict';
import path from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { test } from 'node:test';
import { newAgent } from '../support/agent.ts';
import { startCastellan } from '../support/running-castellan.ts';

const CONFIG = 'examples/quickstart.yaml';

test('tampering with the file is found, and said where', async () => {
  const castellan = await startCastellan(['--config', CONFIG]);
  const agent = await newAgent(castellan, 'demo');
  assert.ok((await agent.call('everything__echo', { message: 'told' })).result);
  await castellan.stop();
  const database = new DatabaseSync(path.join(castellan.dataDir, 'castellan.db'), { timeout: 5_000 });
  const row = database.prepare("select chain, seq from audit_events where event = 'tool.call'").get()!;
  database.exec(
    `update audit_events set token_name = 'other' where chain = '${row.chain}' and seq = ${row.seq}`,
  );
  database.close();
  await using again = await startCastellan(['--config', CONFIG], { dataDir: castellan.dataDir });
  const { code, stdout, stderr } = await again.cli('audit', 'verify');
  assert.equal(code, 1);
  assert.match(
    stdout,
    new RegExp(`chain \\d+, row ${row.seq} \\(${row.chain}\\.${row.seq}\\): this row was changed`),
  );
  assert.match(stderr, /1 findings/);
});
