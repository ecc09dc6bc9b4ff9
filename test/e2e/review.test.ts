import assert from 'node:assert/strict';
import { writeFile } from 'node:fs/promises';
import path from 'node:path';
import { after, before, test } from 'node:test';
import { BUILTIN_TOOLSETS } from '../../src/resources/builtin-toolsets.ts';
import { Agent, administrate, type Loose, newAgent } from '../support/agent.ts';
import { temporaryFolder } from '../support/databases.ts';
import { commit, git, write } from '../support/review-rig.ts';
import { startCastellan, type TestCastellan } from '../support/running-castellan.ts';

let castellan: TestCastellan;
let code = '';

before(async () => {
  const folder = await temporaryFolder();
  code = path.join(folder, 'code');
  write(code, { 'a.ts': 'export const alpha = 1;\n' });
  git(code, 'init', '--quiet', '--initial-branch=main');
  commit(code, 'one');
  const file = path.join(folder, 'config.yaml');
  await writeFile(
    file,
    `
kind: Server
metadata: { name: review }
spec: { builtin: review }
---
kind: Repository
metadata: { name: shop }
spec: { path: "${code}" }
---
kind: Repository
metadata: { name: gone }
spec: { path: "${folder}/nothing" }
---
kind: Project
metadata: { name: p }
spec: { operatorServers: [review] }
`,
  );
  castellan = await startCastellan(['--config', file]);
});
after(() => castellan[Symbol.asyncDispose]());

const listed = async (agent: { ask(method: string): Promise<Loose> }) =>
  ((await agent.ask('tools/list')).result.tools as { name: string }[]).map(({ name }) => name);

test('the operator surface has the review tools by their plain names, and the other has none', async () => {
  const [operator, consumer] = await Promise.all([
    newAgent(castellan, 'p', { surface: 'operator' }),
    newAgent(castellan, 'p'),
  ]);
  assert.deepEqual(
    (await listed(operator)).toSorted(),
    [...BUILTIN_TOOLSETS.get('review')!.tools].toSorted(),
  );
  assert.deepEqual(await listed(consumer), []);
  assert.match(JSON.stringify(await consumer.call('git_log')), /Unknown tool/);
});

test('reads what is registered, refuses with the field, and says so of a repository that is gone', async () => {
  const agent = await newAgent(castellan, 'p', { surface: 'operator' });
  const { result } = await agent.call('search_code', { repository: 'shop', pattern: 'alpha' });
  assert.equal(result?.structuredContent.matches[0].anchor, 'a.ts:1');
  for (const [args, sentence] of [
    [{ repository: 'shop', pattern: 'x', path: '../x' }, /path: leads upwards/],
    [{ repository: 'shop', pattern: 'x', ref: '--output=x' }, /ref: begins with/],
    [{ repository: 'shop', pattern: 7 }, /pattern must be text/],
    [{ repository: 'shop', pattern: 'x', '--upload-pack': 'y' }, /--upload-pack/],
    [{ repository: 'gone', pattern: 'x' }, /gone is no git repository on this machine/],
  ] as const) {
    const refused = (await agent.call('search_code', args)).result!;
    assert.equal(refused.isError, true);
    assert.match(refused.content[0].text, sentence);
  }
});

test('needs the right to view repositories, which running the tools does not bring', async () => {
  const made = await administrate(castellan, 'POST', '/mcptokens', {
    project: 'p',
    name: 'runner',
    surfaces: ['operator'],
    binds: [{ role: 'run', resource: 'tools' }],
  });
  const url = `${castellan.url}/projects/p/operator-mcp`;
  const runner = new Agent(url, made.token);
  assert.deepEqual((await runner.call('browse_codebase')).result?.structuredContent.repositories, []);
  const refused = (await runner.call('read_code', { repository: 'shop', path: 'a.ts' })).result!;
  assert.match(
    refused.content[0].text,
    /repository: there is none that you may view; that needs role:view,resource:repositories,name:shop/,
  );
  const more = await administrate(castellan, 'POST', '/mcptokens', {
    project: 'p',
    name: 'reader',
    surfaces: ['operator'],
    binds: [
      { role: 'run', resource: 'tools' },
      { role: 'view', resource: 'repositories', name: 'shop' },
    ],
  });
  const reader = new Agent(url, more.token);
  const read = (await reader.call('read_code', { path: 'a.ts' })).result!;
  assert.equal(read.structuredContent.content, 'export const alpha = 1;');
});
