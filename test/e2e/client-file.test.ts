import assert from 'node:assert/strict';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { after, test } from 'node:test';
import { administrate, type Loose, newAgent } from '../support/agent.ts';
import { startCastellan } from '../support/running-castellan.ts';

const HOSTILE = path.join(import.meta.dirname, '../support/hostile-server.ts');
const folder = await mkdtemp(path.join(tmpdir(), 'castellan-client-file-'));
after(() => rm(folder, { recursive: true }));

test('a client file with one unset variable: the others start, and the variable is named with its place', async () => {
  const file = path.join(folder, 'mcp.json');
  const entry = (name: string, env: string) =>
    `    "${name}": {\n      "command": "${process.execPath}",\n      "args": ["${HOSTILE}", "${folder}/${name}"],\n      "env": { "KEY": "${env}" }\n    }`;
  const entries = [
    entry('first', `\${SET_IN_TEST}`),
    entry('second', `\${UNSET_IN_TEST}`),
    entry('third', 'x'),
  ];
  await writeFile(file, `{\n  "mcpServers": {\n${entries.join(',\n')}\n  }\n}\n`);
  await using castellan = await startCastellan(['--config', file], { env: { SET_IN_TEST: 'yes' } });

  const agent = await newAgent(castellan, 'default');
  const { result } = await agent.ask('tools/list');
  const servers = new Set(result?.tools.map((tool: { name: string }) => tool.name.split('__')[0]));
  assert.deepEqual([...servers], ['first', 'third', 'status']);
  const [degraded, ...others] = result!._meta['castellan/degraded'] as Loose[];
  assert.deepEqual(others, []);
  assert.equal(degraded.server, 'second');
  assert.match(degraded.reason, /UNSET_IN_TEST/);
  assert.match(degraded.reason, /mcp\.json:11\b/);
  assert.match(degraded.reason, /env\.KEY/);
  for (const name of ['first', 'third']) {
    const called = await agent.call(`${name}__echo`, { text: 'hello' });
    assert.match(called.result?.content[0].text, /hello/);
  }

  const call = await agent.call('second__echo');
  assert.equal(call.result?.isError, true);
  assert.equal(call.result?._meta['castellan/error'].code, 'UPSTREAM_UNAVAILABLE');
  assert.match(call.result?.content[0].text, /UNSET_IN_TEST/);

  const { items } = await administrate(castellan, 'GET', '/mcp/status');
  const second = items.find((one: Loose) => one.name === 'second');
  assert.equal(second.state, 'broken');
  assert.match(second.lastError, /UNSET_IN_TEST/);
  const list = await castellan.cli('mcp', 'list');
  assert.match(list.stdout, /✗.*second.*UNSET_IN_TEST|second.*✗.*UNSET_IN_TEST/);
});
