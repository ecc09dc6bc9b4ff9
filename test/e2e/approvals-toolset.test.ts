import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import path from 'node:path';
import { after, before, describe, it } from 'node:test';
import { Agent, administrate, type Loose, newAgent, writeConfig } from '../support/agent.ts';
import { temporaryFolder } from '../support/databases.ts';
import { errorIn, held, holdingPolicy, stateOf } from '../support/held-calls.ts';
import { OracleUpstream } from '../support/oracle-upstream.ts';
import { startCastellan, type TestCastellan } from '../support/running-castellan.ts';

let castellan: TestCastellan;
let oracle: OracleUpstream;
let agent: Agent;
/** An agent of somebody else, at work on the system. */
let approver: Agent;

before(async () => {
  oracle = await OracleUpstream.start('modern', ['echo', 'fail']);
  const config = await writeConfig(
    path.join(await temporaryFolder(), 'castellan.json'),
    { x: { url: oracle.url }, decisions: { builtin: 'approvals' } },
    {
      demo: { servers: ['x'], operatorServers: ['decisions'] },
      other: { servers: ['x'], operatorServers: ['decisions'] },
    },
  );
  castellan = await startCastellan(['--config', config]);
  agent = await newAgent(castellan, 'demo');
  await administrate(castellan, 'PUT', '/policies/humans-first', holdingPolicy(['x__*']));
  const email = 'approver@example.com';
  await administrate(castellan, 'PUT', `/users/${email}`, {
    kind: 'User',
    metadata: { name: email },
    spec: {},
  });
  await grant('approve');
  const binds = ['role:run,resource:tools', 'role:approve,resource:approvals'];
  const made = await castellan.cli(
    ...['create', 'mcptoken', 'decider', '-p', 'demo', '--surface', 'operator', '--as', `User:${email}`],
    ...binds.flatMap((bind) => ['--bind', bind]),
  );
  assert.equal(made.code, 0, made.stderr);
  approver = new Agent(`${castellan.url}/projects/demo/operator-mcp`, made.stdout.trim());
});
after(async () => {
  await castellan?.[Symbol.asyncDispose]();
  await oracle?.[Symbol.asyncDispose]();
});

/** The right of the user behind the approver. */
function grant(role: string) {
  const right = { role, resource: 'approvals' };
  return administrate(castellan, 'PUT', '/rbac/approver', {
    kind: 'Rbac',
    metadata: { name: 'approver' },
    spec: {
      subjects: [{ kind: 'User', name: 'approver@example.com' }],
      roleBindings: [right, { role: 'run', resource: 'tools' }, { role: 'create', resource: 'mcptokens' }],
    },
  });
}

const use = async (who: Agent, tool: string, args: object): Promise<Loose> =>
  (await who.call(tool, args)).result;

describe('the toolset approvals', () => {
  it('is on the operator surface, with four tools', async () => {
    const { result }: Loose = await approver.ask('tools/list');
    const names = result.tools.map(({ name }: Loose) => name);
    assert.deepEqual(names, ['approval_list', 'approval_get', 'approval_approve', 'approval_reject']);
    assert.equal(((await agent.call('approval_list')) as Loose).error.data.code, 'UNKNOWN_TOOL');
  });

  it('lists, shows, approves and rejects for somebody else than whoever asked', async () => {
    const id = await held(agent, 'x__echo', { n: 1 });
    const { structuredContent: list } = await use(approver, 'approval_list', { state: 'pending' });
    assert.deepEqual([list.count, list.approvals[0].id], [1, id]);
    assert.equal(list.message, 'There are 1 approvals that are pending.');
    const { structuredContent: shown } = await use(approver, 'approval_get', { approval_id: id });
    assert.deepEqual(shown.approval.arguments, { n: 1 });
    assert.equal(oracle.calls.length, 0);
    const approved = await use(approver, 'approval_approve', { approval_id: id });
    assert.equal(approved.isError, undefined);
    assert.deepEqual([approved.structuredContent.approval.state, oracle.calls.length], ['succeeded', 1]);
    assert.equal(approved.structuredContent.approval.decidedWay, 'mcp');
    assert.equal(errorIn(await approver.call('approval_approve', { approval_id: id })).code, 'CONFLICT');
    const other = await held(agent, 'x__echo', { n: 2 });
    const rejected = await use(approver, 'approval_reject', { approval_id: other, reason: 'no' });
    assert.equal(rejected.structuredContent.approval.reason, 'no');
    assert.equal(oracle.calls.length, 1);
  });

  it('says that a call failed that it let go', async () => {
    const id = await held(agent, 'x__fail', { n: 3 });
    const result = await use(approver, 'approval_approve', { approval_id: id });
    assert.equal(result.isError, true);
    assert.equal(result.structuredContent.approval.state, 'failed');
  });

  it('decides for no credential of whoever asked, not even that of the server itself', async () => {
    const id = await held(agent, 'x__echo', { n: 4 });
    const own = await newAgent(castellan, 'demo', { surface: 'operator' });
    const refused = errorIn(await own.call('approval_approve', { approval_id: id }));
    assert.ok(['NOT_PERMITTED', 'NOT_FOUND'].includes(refused?.code), JSON.stringify(refused));
    const { credential } = JSON.parse(await readFile(path.join(castellan.dataDir, 'admin.json'), 'utf8'));
    const admin = new Agent(approver.url, credential);
    const person = errorIn(await admin.call('approval_approve', { approval_id: id }));
    assert.equal(person.code, 'NOT_PERMITTED');
    assert.equal(await stateOf(castellan, id), 'pending');
  });

  it('shows nothing of another project, and lets nobody decide who lost the right', async () => {
    const elsewhere = await newAgent(castellan, 'other');
    const foreign = await held(elsewhere, 'x__echo', { n: 5 });
    assert.equal(errorIn(await approver.call('approval_get', { approval_id: foreign })).code, 'NOT_FOUND');
    const id = await held(agent, 'x__echo', { n: 6 });
    await grant('view');
    const refused = errorIn(await approver.call('approval_approve', { approval_id: id }));
    assert.ok(['NOT_PERMITTED', 'NOT_FOUND'].includes(refused?.code), JSON.stringify(refused));
    assert.equal(await stateOf(castellan, id), 'pending');
  });
});
