import assert from 'node:assert/strict';
import { writeFile } from 'node:fs/promises';
import path from 'node:path';
import { after, before, describe, it } from 'node:test';
import { Agent, administrate, type Loose, newAgent, writeConfig } from '../support/agent.ts';
import { temporaryFolder } from '../support/databases.ts';
import { decide, endOf, errorIn, held, holdingPolicy, stateOf } from '../support/held-calls.ts';
import { OracleUpstream } from '../support/oracle-upstream.ts';
import { eventually } from '../support/processes.ts';
import { startCastellan, type TestCastellan } from '../support/running-castellan.ts';

const TOOLS = ['x__echo', 'x__hold', 'x__fail', 'armed__echo', 'schemed__echo'];
let castellan: TestCastellan;
let oracle: OracleUpstream;
let schemed: OracleUpstream;
let agent: Agent & { tokenName: string };
let folder: string;
let config: string;

before(async () => {
  folder = await temporaryFolder();
  oracle = await OracleUpstream.start('modern', ['echo', 'hold', 'fail', 'plain']);
  schemed = await OracleUpstream.start('modern', ['echo']);
  schemed.about = {
    outputSchema: { type: 'object', properties: { n: { type: 'number' } }, required: ['n'] },
    annotations: { readOnlyHint: true, destructiveHint: false, idempotentHint: true },
  };
  config = await writeConfig(
    path.join(folder, 'castellan.json'),
    {
      x: { url: oracle.url, tools: { readOnly: ['echo'] } },
      armed: { url: oracle.url, isolation: 'session' },
      schemed: { url: schemed.url },
    },
    { demo: { servers: ['x', 'armed', 'schemed'], changedTools: 'warn' }, other: { servers: ['x'] } },
  );
  castellan = await startCastellan(['--config', config]);
  agent = await newAgent(castellan, 'demo');
  await policy();
});
after(async () => {
  await castellan?.[Symbol.asyncDispose]();
  await oracle?.[Symbol.asyncDispose]();
  await schemed?.[Symbol.asyncDispose]();
});

async function policy(more: object = {}): Promise<void> {
  const file = path.join(folder, 'policy.json');
  await writeFile(file, JSON.stringify(holdingPolicy(TOOLS, more)));
  const { code, stderr } = await castellan.cli('apply', '-f', file);
  assert.equal(code, 0, stderr);
}

const markIn = (answer: Loose) => answer.result?._meta?.['castellan/approval'];
let serial = 0;
const unique = () => {
  serial += 1;
  return { text: `call ${serial}` };
};
const callsOf = (args: object) =>
  oracle.calls.filter((call) => JSON.stringify(call.arguments) === JSON.stringify(args)).length;

/** A token of a new user with these rights, on both surfaces. */
async function tokenOf(email: string, ...binds: string[]): Promise<string> {
  const name = email.replace(/\W/g, '-');
  const user = { kind: 'User', metadata: { name: email }, spec: {} };
  await administrate(castellan, 'PUT', `/users/${email}`, user);
  await grant(email, 'role:admin,resource:mcptokens', ...binds);
  const surfaces = ['--surface', 'consumer', '--surface', 'operator'];
  const given = binds.flatMap((bind) => ['--bind', bind]);
  const as = ['--as', `User:${email}`];
  const made = await castellan.cli('create', 'mcptoken', name, '-p', 'demo', ...surfaces, ...given, ...as);
  assert.equal(made.code, 0, made.stderr);
  return made.stdout.trim();
}

async function grant(email: string, ...binds: string[]): Promise<void> {
  const roleBindings = binds.map((bind) =>
    Object.fromEntries(bind.split(',').map((part) => part.split(':') as [string, string])),
  );
  const name = email.replace(/\W/g, '-');
  await administrate(castellan, 'PUT', `/rbac/${name}`, {
    kind: 'Rbac',
    metadata: { name },
    spec: { subjects: [{ kind: 'User', name: email }], roleBindings },
  });
}

describe('a call that a policy holds', () => {
  it('is not made before it is approved, is made once then, and its outcome waits for its caller', async () => {
    const args = unique();
    const answer: Loose = await agent.call('x__echo', args);
    const error = errorIn(answer);
    assert.equal(error.code, 'APPROVAL_REQUIRED');
    assert.equal(error.retry, 'after_approval');
    assert.equal(answer.result.isError, true);
    assert.match(error.url, new RegExp(`^http://127\\.0\\.0\\.1:\\d+/approvals/${error.approvalId}$`));
    assert.ok(Date.parse(error.expiresAt) > Date.now());
    assert.match(answer.result.content[0].text, /Call again with the same arguments after approval/);
    assert.equal(await held(agent, 'x__echo', args), error.approvalId, 'the same call is the same approval');
    assert.equal(callsOf(args), 0);
    const { code, stdout, stderr } = await castellan.cli('approvals', 'approve', error.approvalId);
    assert.equal(code, 0, stderr);
    assert.equal(stdout, `approval/${error.approvalId} succeeded\n`);
    assert.equal(callsOf(args), 1);
    const again: Loose = await agent.call('x__echo', args);
    assert.equal(again.result.content[0].text, JSON.stringify(args));
    const { executedAt, ...mark } = markIn(again);
    assert.deepEqual(mark, { approvalId: error.approvalId, replayed: true });
    assert.ok(Date.parse(executedAt) <= Date.now());
    const lost: Loose = await agent.call('x__echo', args);
    assert.equal(markIn(lost).approvalId, error.approvalId, 'an answer that was lost comes again');
    assert.equal(callsOf(args), 1);
    const free: Loose = await agent.call('x__plain', args);
    assert.equal(free.result.isError, undefined);
  });

  it('is one approval, however many ask at once, and another one with anything else changed', async () => {
    const args = unique();
    const answers = await Promise.all(Array.from({ length: 100 }, () => agent.call('x__echo', args)));
    const ids = new Set(answers.map((answer) => errorIn(answer).approvalId));
    assert.equal(ids.size, 1);
    const other = await newAgent(castellan, 'demo');
    const elsewhere = await newAgent(castellan, 'other');
    ids.add(await held(agent, 'x__echo', { ...args, more: 1 }));
    ids.add(await held(agent, 'x__hold', args));
    ids.add(await held(other, 'x__echo', args));
    ids.add(await held(elsewhere, 'x__echo', args));
    assert.equal(ids.size, 5);
    assert.equal(
      await held(agent, 'x__echo', { more: 1, ...args }),
      await held(agent, 'x__echo', { ...args, more: 1 }),
    );
    assert.equal(callsOf(args), 0);
  });

  it('is refused where programs would read its numbers differently', async () => {
    const before = oracle.calls.length;
    for (const number of ['12345678901234567890', '0.1234567890123456789', '1e400']) {
      const body = `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"x__echo","arguments":{"n":${number}}}}`;
      const { error } = (await (await agent.send(body)).json()) as Loose;
      assert.match(error.message, new RegExp(`${number} is a number that JSON programs read differently`));
    }
    await held(agent, 'x__echo', { n: 1.5e3, m: -0.1, k: 9007199254740991 });
    assert.equal(oracle.calls.length, before);
  });

  it('is told that it was rejected, with the reason, or taken back', async () => {
    const [no, back] = [unique(), unique()];
    const rejected = await held(agent, 'x__echo', no);
    await assert.rejects(
      administrate(castellan, 'POST', `/approvals/${rejected}/reject`, { reason: 'a\0b' }),
      /400 .*reason: contains a NUL/,
    );
    const { code } = await castellan.cli('approvals', 'reject', rejected, '--reason', 'not today');
    assert.equal(code, 0);
    const refused = errorIn(await agent.call('x__echo', no));
    assert.deepEqual(refused, {
      code: 'APPROVAL_REJECTED',
      retry: 'never',
      approvalId: rejected,
      reason: 'not today',
    });
    const cancelled = await held(agent, 'x__echo', back);
    assert.equal((await decide(castellan, cancelled, 'cancel', { credential: agent.token! })).status, 200);
    assert.equal(errorIn(await agent.call('x__echo', back)).code, 'APPROVAL_CANCELLED');
    assert.equal((await castellan.cli('approvals', 'approve', cancelled)).code, 1);
    assert.equal(callsOf(no) + callsOf(back), 0);
  });

  it('fails everywhere in its own way when the call fails', async () => {
    const args = unique();
    const id = await held(agent, 'x__fail', args);
    const { code, stdout, stderr } = await castellan.cli('approvals', 'approve', id);
    assert.equal(code, 1, stderr);
    assert.equal(stdout, `approval/${id} failed\n`);
    assert.equal(await stateOf(castellan, id), 'failed');
    const answer: Loose = await agent.call('x__fail', args);
    assert.equal(answer.result.isError, true);
    assert.equal(markIn(answer).approvalId, id);
    assert.equal(callsOf(args), 1);
  });

  it('is told of as being made while it is', async () => {
    const args = unique();
    const id = await held(agent, 'x__hold', args);
    const deciding = decide(castellan, id, 'approve');
    await eventually('it is sent', () => callsOf(args) === 1);
    assert.equal(errorIn(await agent.call('x__hold', args)).code, 'APPROVAL_IN_PROGRESS');
    assert.equal((await decide(castellan, id, 'approve')).status, 409);
    assert.equal((await decide(castellan, id, 'cancel')).status, 409);
    oracle.letGo();
    assert.equal((await deciding).answer.state, 'succeeded');
    assert.equal(callsOf(args), 1);
  });

  it('waits for its caller where its server keeps state for a session', async () => {
    const args = unique();
    const id = await held(agent, 'armed__echo', args);
    assert.equal((await decide(castellan, id, 'approve')).answer.state, 'approved');
    assert.equal(callsOf(args), 0);
    const answer: Loose = await agent.call('armed__echo', args);
    assert.equal(answer.result.content[0].text, JSON.stringify(args));
    assert.equal(callsOf(args), 1);
    assert.equal(await stateOf(castellan, id), 'succeeded');
    const again = markIn(await agent.call('armed__echo', args));
    assert.deepEqual([markIn(answer).replayed, again.replayed, again.approvalId], [false, true, id]);
    assert.equal(callsOf(args), 1);
  });

  it('is void once the policy, the definition or the credential behind it is not what it was', async () => {
    const [first, second, third] = [unique(), unique(), unique()];
    const byPolicy = await held(agent, 'x__echo', first);
    await policy({ reason: 'another version' });
    const void1 = await decide(castellan, byPolicy, 'approve');
    assert.equal(void1.status, 409);
    assert.match(void1.answer.error.message, /policy humans-first has changed since.*void/);
    assert.equal(errorIn(await agent.call('x__echo', first)).code, 'APPROVAL_VOID');
    const byTool = await held(agent, 'x__echo', second);
    // Without a word.
    oracle.about = { description: 'now it deletes everything' };
    assert.match(
      (await decide(castellan, byTool, 'approve')).answer.error.message,
      /definition of echo has changed/,
    );
    oracle.about = {};
    // A decision reads the lists anew, whatever becomes of it.
    await decide(castellan, await held(agent, 'x__echo', unique()), 'approve');
    const leaving = await newAgent(castellan, 'demo');
    const byToken = await held(leaving, 'x__echo', third);
    await administrate(castellan, 'POST', `/mcptokens/${leaving.tokenName}/revoke?project=demo`);
    assert.match(
      (await decide(castellan, byToken, 'approve')).answer.error.message,
      /credential .* has ended/,
    );
    for (const id of [byPolicy, byTool, byToken]) assert.equal(await stateOf(castellan, id), 'void');
    assert.equal(callsOf(first) + callsOf(second) + callsOf(third), 0);
  });

  it('outlives the key that secrets were sealed under', async () => {
    const args = unique();
    const id = await held(agent, 'x__echo', args);
    await administrate(castellan, 'POST', '/secrets/rotate-key', { retireOld: '1ms' });
    assert.equal((await decide(castellan, id, 'approve')).answer.state, 'succeeded');
    assert.equal(markIn(await agent.call('x__echo', args)).approvalId, id);
  });

  it('is left alone while the project is frozen', async () => {
    const args = unique();
    const id = await held(agent, 'x__echo', args);
    await administrate(castellan, 'PUT', '/freezes/demo', { reason: 'an exercise' });
    const { status, answer } = await decide(castellan, id, 'approve');
    assert.deepEqual([status, callsOf(args), await stateOf(castellan, id)], [409, 0, 'pending']);
    assert.match(answer.error.message, /an exercise.*it still waits/);
    await administrate(castellan, 'DELETE', '/freezes/demo');
    assert.equal((await decide(castellan, id, 'approve')).answer.state, 'succeeded');
  });

  it('is listed and shown on the command line, what nobody sees in it by its number', async () => {
    const id = await held(agent, 'x__echo', { text: 'a\u202eb' });
    const list = await castellan.cli('approvals', 'list', '-p', 'demo', '--state', 'pending');
    assert.match(list.stdout, new RegExp(`^${id}\\s+pending\\s+demo\\s+x__echo`, 'm'));
    const { stdout } = await castellan.cli('approvals', 'get', id);
    assert.match(stdout, /^tool: +x__echo$/m);
    assert.match(stdout, /"text": "a‹U\+202E›b"/);
    const one = await castellan.cli('approvals', 'get', id, '-o', 'json');
    assert.deepEqual(JSON.parse(one.stdout).arguments, { text: 'a\u202eb' });
    assert.match((await castellan.cli('get', 'approvals', id, '-o', 'name')).stdout, new RegExp(id));
    assert.equal((await castellan.cli('approvals', 'get', 'apr_nothing')).code, 1);
    assert.equal((await castellan.cli('approvals', 'list', '--state', 'lost')).code, 64);
  });

  it('is held although its server says that it only reads, and so does the operator', async () => {
    const { result } = await agent.ask('tools/list');
    const listed: Loose[] = result?.tools;
    assert.equal(listed.find(({ name }) => name === 'schemed__echo').annotations.readOnlyHint, true);
    for (const tool of ['schemed__echo', 'x__echo']) {
      const before = oracle.calls.length + schemed.calls.length;
      await held(agent, tool, unique());
      assert.equal(oracle.calls.length + schemed.calls.length, before);
    }
  });

  it('is refused readably for a tool with an output schema', async () => {
    const answer: Loose = await agent.call('schemed__echo', unique());
    assert.equal(answer.result.structuredContent, undefined);
    assert.equal(errorIn(answer).code, 'APPROVAL_REQUIRED');
  });
});

describe('who may decide', () => {
  const approving = ['role:run,resource:tools', 'role:approve,resource:approvals'];

  it('is never the credential that asked, nor another one of its owner, nor anybody as somebody else', async () => {
    const own = await tokenOf('asker@example.com', ...approving);
    const asking = new Agent(agent.url, own);
    const id = await held(asking, 'x__echo', unique());
    const sibling = await castellan.cli(
      ...['create', 'mcptoken', 'sibling', '-p', 'demo', '--rbac', 'empty', '--as', 'User:asker@example.com'],
      ...approving.flatMap((bind) => ['--bind', bind]),
    );
    for (const credential of [own, sibling.stdout.trim()]) {
      const { status, answer } = await decide(castellan, id, 'approve', { credential });
      assert.equal(status, 403, JSON.stringify(answer));
    }
    assert.equal((await decide(castellan, id, 'approve', { as: 'User:asker@example.com' })).status, 403);
    assert.equal(await stateOf(castellan, id), 'pending');
    // Somebody else at the keyboard of the server may.
    assert.equal((await decide(castellan, id, 'approve')).answer.state, 'succeeded');
  });

  it('is a token of somebody else with the right to it, for as long as it has it', async () => {
    const token = await tokenOf('approver@example.com', 'role:approve,resource:approvals');
    const [first, second] = [await held(agent, 'x__echo', unique()), await held(agent, 'x__echo', unique())];
    const done = await decide(castellan, first, 'approve', { credential: token });
    assert.equal(done.answer.state, 'succeeded', JSON.stringify(done.answer));
    assert.equal(done.answer.decidedWay, 'api');
    await grant('approver@example.com', 'role:view,resource:approvals');
    assert.notEqual((await decide(castellan, second, 'approve', { credential: token })).status, 200);
    assert.equal(await stateOf(castellan, second), 'pending');
  });

  it('is told nothing of the approvals of another project, nor of those of others without a right', async () => {
    const id = await held(agent, 'x__echo', unique());
    const foreign = await newAgent(castellan, 'other');
    const stranger = await newAgent(castellan, 'demo');
    assert.equal((await decide(castellan, id, 'approve', { credential: foreign.token! })).status, 404);
    const bare = await tokenOf('bare@example.com', 'role:run,resource:tools');
    assert.equal((await decide(castellan, id, 'approve', { credential: bare })).status, 404);
    // It sees it by the right to view that it was made with, and is a token of the same owner.
    assert.equal((await decide(castellan, id, 'approve', { credential: stranger.token! })).status, 403);
    const list = await fetch(`${castellan.url}/api/v1/approvals`, {
      headers: { authorization: `Bearer ${bare}` },
    });
    assert.deepEqual(((await list.json()) as Loose).items, []);
  });

  it('is whom the rule names, and the owner in person only where the rule says so', async () => {
    await policy({ approvers: ['User:somebody@example.com'] });
    const named = await held(agent, 'x__echo', unique());
    assert.match(
      (await decide(castellan, named, 'approve')).answer.error.message,
      /User:somebody@example\.com/,
    );
    for (const [selfApproval, sentence] of [
      ['page', /in person on its page/],
      ['never', /leaves it to somebody else/],
    ] as const) {
      await policy({ selfApproval });
      const own = await held(agent, 'x__echo', unique());
      const { status, answer } = await decide(castellan, own, 'approve');
      assert.equal(status, 403);
      assert.match(answer.error.message, sentence);
    }
    await policy();
  });
});

describe('after a stop', () => {
  it('a call that was being made has ended, and its outcome is there', async () => {
    const args = unique();
    const id = await held(agent, 'x__hold', args);
    const deciding = decide(castellan, id, 'approve').catch(() => undefined);
    await eventually('it is sent', () => callsOf(args) === 1);
    const stopping = castellan.stop();
    await eventually('it takes nothing new', async () => {
      const late = await fetch(`${castellan.url}/healthz`).catch(() => undefined);
      return late?.status !== 200;
    });
    oracle.letGo();
    await Promise.all([stopping, deciding]);
    castellan = await startCastellan(['--config', config], { dataDir: castellan.dataDir });
    agent = Object.assign(new Agent(`${castellan.url}/projects/demo/mcp`, agent.token), {
      tokenName: agent.tokenName,
    });
    assert.equal(await stateOf(castellan, id), 'succeeded');
    assert.equal(callsOf(args), 1);
  });
});

describe('after a kill', () => {
  it('a call that was sent is unknown, is not sent again, and is settled by whoever finds out', async () => {
    const args = unique();
    const id = await held(agent, 'x__hold', args);
    const deciding = decide(castellan, id, 'approve').catch(() => undefined);
    await eventually('it is sent', () => callsOf(args) === 1);
    await castellan.stop('SIGKILL');
    await deciding;
    const { dataDir } = castellan;
    castellan = Object.assign(await startCastellan(['--config', config], { dataDir }), {});
    assert.equal(await endOf(castellan, id), 'unknown');
    const again = new Agent(`${castellan.url}/projects/demo/mcp`, agent.token);
    const error = errorIn(await again.call('x__hold', args));
    assert.equal(error.code, 'OUTCOME_UNKNOWN');
    assert.equal(error.approvalId, id);
    const resolved = await castellan.cli('approvals', 'resolve', id, '--outcome', 'succeeded');
    assert.equal(resolved.code, 0, resolved.stderr);
    const told: Loose = await again.call('x__hold', args);
    assert.equal(told.result.isError, false);
    assert.equal(callsOf(args), 1);
    oracle.letGo();
    agent = Object.assign(again, { tokenName: agent.tokenName });
  });

  it('a call that waits still waits', async () => {
    const args = unique();
    const id = await held(agent, 'x__echo', args);
    await castellan.stop('SIGKILL');
    castellan = await startCastellan(['--config', config], { dataDir: castellan.dataDir });
    agent = Object.assign(new Agent(`${castellan.url}/projects/demo/mcp`, agent.token), {
      tokenName: agent.tokenName,
    });
    assert.equal(await stateOf(castellan, id), 'pending');
    assert.equal((await decide(castellan, id, 'approve')).answer.state, 'succeeded');
    assert.equal(callsOf(args), 1);
  });
});
