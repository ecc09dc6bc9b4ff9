import assert from 'node:assert/strict';
import path from 'node:path';
import { after, before, describe, it } from 'node:test';
import { administrate, type Loose, newAgent, writeConfig } from '../support/agent.ts';
import { temporaryFolder } from '../support/databases.ts';
import { decide, errorIn, held, holdingPolicy, stateOf } from '../support/held-calls.ts';
import { OracleUpstream } from '../support/oracle-upstream.ts';
import { startCastellan, type TestCastellan } from '../support/running-castellan.ts';
import { StdioClient } from '../support/stdio-client.ts';

const ASKER = 'asker@example.com';

let castellan: TestCastellan;
let oracle: OracleUpstream;
/** A token of another user than the administrator. */
let asker = '';

before(async () => {
  oracle = await OracleUpstream.start('modern', ['echo', 'fail']);
  const config = await writeConfig(
    path.join(await temporaryFolder(), 'castellan.json'),
    { x: { url: oracle.url } },
    { demo: { servers: ['x'] }, other: { servers: ['x'] } },
  );
  castellan = await startCastellan(['--config', config]);
  await administrate(castellan, 'PUT', '/policies/humans-first', holdingPolicy(['x__*']));
  await administrate(castellan, 'PUT', `/users/${ASKER}`, {
    kind: 'User',
    metadata: { name: ASKER },
    spec: {},
  });
  await administrate(castellan, 'PUT', '/rbac/asker', {
    kind: 'Rbac',
    metadata: { name: 'asker' },
    spec: {
      subjects: [{ kind: 'User', name: ASKER }],
      roleBindings: [
        { role: 'run', resource: 'tools' },
        { role: 'create', resource: 'mcptokens' },
      ],
    },
  });
  asker = await newToken('asker', ['role:run,resource:tools'], ['--as', `User:${ASKER}`]);
});
after(async () => {
  await castellan?.[Symbol.asyncDispose]();
  await oracle?.[Symbol.asyncDispose]();
});

async function newToken(name: string, binds: readonly string[], more: readonly string[] = []) {
  const bound = binds.flatMap((bind) => ['--bind', bind]);
  const made = await castellan.cli('create', 'mcptoken', name, '-p', 'demo', ...bound, ...more);
  assert.equal(made.code, 0, made.stderr);
  return made.stdout.trim();
}

const started = (token?: string, project = 'demo') =>
  new StdioClient(['--data-dir', castellan.dataDir, '-p', project], token ? { CASTELLAN_TOKEN: token } : {});

/** A call that is held, through the bridge; the id of its approval. */
async function heldBy(client: StdioClient, name: string, args: object): Promise<string> {
  const answer = await client.ask('tools/call', { name, arguments: args });
  assert.equal(errorIn(answer)?.code, 'APPROVAL_REQUIRED', JSON.stringify(answer));
  return errorIn(answer).approvalId;
}

describe('the older methods', () => {
  it('list and show what waits in the project, as REST does', async () => {
    await using client = started();
    const id = await heldBy(client, 'x__echo', { n: 1 });
    const agent = await newAgent(castellan, 'other');
    const elsewhere = await held(agent, 'x__echo', { n: 1 });
    const { result } = await client.ask('approvals/list', { state: 'pending' });
    assert.deepEqual(
      result.items.map((one: Loose) => one.id),
      [id],
    );
    const shown = await client.ask('approvals/get', { id });
    assert.deepEqual(shown.result, await administrate(castellan, 'GET', `/approvals/${id}`));
    assert.deepEqual((await client.ask('approvals/list', { state: 'rejected' })).result.items, []);
    const { error } = await client.ask('approvals/get', { id: elsewhere });
    assert.equal(error.code, -32602);
    const modern = await client.askModern('approvals/get', { id });
    assert.deepEqual(modern.result, { resultType: 'complete', ...shown.result });
  });

  it('say what is wrong with a request', async () => {
    await using client = started();
    const cases: [string, object, RegExp][] = [
      ['approvals/get', {}, /^id: is missing/],
      ['approvals/get', { id: 7 }, /^id: must be text/],
      ['approvals/get', { id: '../whoami' }, /^id: is no id/],
      ['approvals/get', { id: 'apr_none' }, /there is no approval apr_none/],
      ['approvals/approve', { id: 'apr_none' }, /there is no approval apr_none/],
      ['approvals/approve', { approval: 'x' }, /^approval: unknown parameter: use id, project/],
      ['approvals/list', { state: 'open' }, /^state: must be one of/],
    ];
    for (const [method, params, said] of cases) {
      const { error } = await client.ask(method, params);
      assert.equal(error.code, -32602, method);
      assert.match(error.message, said);
    }
    assert.equal((await client.ask('approvals/resolve', { id: 'x' })).error.code, -32601);
    const foreign = await client.ask('approvals/list', { project: 'other' });
    assert.deepEqual([foreign.error.code, foreign.error.data.code], [403, 'FORBIDDEN']);
  });

  it('never let whoever asked decide, nor the administrator of the data directory', async () => {
    await using client = started();
    const id = await heldBy(client, 'x__echo', { n: 2 });
    const own = await newToken('own-decider', ['role:approve,resource:approvals', 'role:run,resource:tools']);
    await using sibling = started(own);
    for (const one of [client, sibling]) {
      for (const verb of ['approve', 'reject']) {
        const { error } = await one.ask(`approvals/${verb}`, { id });
        assert.deepEqual([error.code, error.data.code], [403, 'FORBIDDEN'], verb);
      }
    }
    assert.equal(await stateOf(castellan, id), 'pending');
    assert.equal(oracle.calls.length, 0);
    // In person the same administrator may, and the outcome is there for whoever asked.
    assert.equal((await decide(castellan, id, 'approve')).answer.state, 'succeeded');
    const { result } = await client.ask('tools/call', { name: 'x__echo', arguments: { n: 2 } });
    assert.equal(result._meta['castellan/approval'].approvalId, id);
    assert.equal(oracle.calls.length, 1);
  });

  it('decide for a token of somebody else, and call a failed execution a failure', async () => {
    const decider = await newToken('decider', ['role:approve,resource:approvals']);
    await using asking = started(asker);
    await using client = started(decider);
    const { length } = oracle.calls;
    const [good, bad, unwanted] = [
      await heldBy(asking, 'x__echo', { n: 3 }),
      await heldBy(asking, 'x__fail', { n: 3 }),
      await heldBy(asking, 'x__echo', { n: 4 }),
    ];
    const { result: made } = await client.ask('approvals/approve', { id: good });
    assert.deepEqual([made.ok, made.state, made.decidedWay], [true, 'succeeded', 'mcp']);
    const { result: failed } = await client.ask('approvals/approve', { id: bad });
    assert.deepEqual([failed.ok, failed.state], [false, 'failed']);
    const why = { id: unwanted, reason: 'not today' };
    const { result: rejected } = await client.ask('approvals/reject', why);
    assert.deepEqual([rejected.ok, rejected.state, rejected.reason], [true, 'rejected', 'not today']);
    assert.equal(oracle.calls.length, length + 2);
    const { error } = await client.ask('approvals/approve', { id: good });
    assert.deepEqual([error.code, error.data.code], [409, 'CONFLICT']);
  });
});

describe('a decision that comes as a program', () => {
  it('is no act of a person, even with the credential of the data directory', async () => {
    const agent = await newAgent(castellan, 'demo');
    const id = await held(agent, 'x__echo', { n: 5 });
    for (const decision of ['approve', 'reject']) {
      const { status, answer } = await decide(castellan, id, 'decide', { body: { decision } });
      assert.equal(status, 403, JSON.stringify(answer));
      assert.match(answer.error.message, /a person decides on the page or on the command line/);
    }
    for (const body of [{}, { decision: 'cancel' }, { decision: 'approve', reason: 'x' }])
      assert.equal((await decide(castellan, id, 'decide', { body })).status, 400, JSON.stringify(body));
    assert.equal(await stateOf(castellan, id), 'pending');
  });
});

describe('a held call', () => {
  it('is bound to what the client wrote, to the character', async () => {
    await using client = started();
    const line = (args: string) =>
      `{"jsonrpc":"2.0","id":"exact","method":"tools/call","params":{"name":"x__echo","arguments":${args}}}`;
    for (const args of ['{"n":9007199254740993}', '{"n":1,"n":2}']) {
      client.messages.length = 0;
      client.write(line(args));
      const answer = await client.answer('exact');
      assert.notEqual(errorIn(answer)?.code, 'APPROVAL_REQUIRED', JSON.stringify(answer));
    }
    assert.ok(!oracle.calls.some((call) => JSON.stringify(call.arguments).includes('900719925474099')));
  });

  it('is the same one for the next client on the data directory', async () => {
    const ids = new Set<string>();
    for (let turn = 0; turn < 2; turn += 1) {
      await using client = started();
      ids.add(await heldBy(client, 'x__echo', { n: 6 }));
    }
    assert.equal(ids.size, 1);
  });
});
