import assert from 'node:assert/strict';
import { writeFile } from 'node:fs/promises';
import path from 'node:path';
import { after, before, describe, it } from 'node:test';
import { type Agent, administrate, newAgent, writeConfig } from '../support/agent.ts';
import { temporaryFolder } from '../support/databases.ts';
import { held, holdingPolicy, stateOf } from '../support/held-calls.ts';
import { OracleUpstream } from '../support/oracle-upstream.ts';
import { PageClient } from '../support/page-client.ts';
import { startCastellan, type TestCastellan } from '../support/running-castellan.ts';

const PASSWORD = 'correct horse battery';
let castellan: TestCastellan;
let oracle: OracleUpstream;
let agent: Agent;
let admin: PageClient;
let alice: PageClient;

before(async () => {
  const folder = await temporaryFolder();
  oracle = await OracleUpstream.start('modern', ['echo']);
  const config = await writeConfig(
    path.join(folder, 'castellan.json'),
    { x: { url: oracle.url } },
    { demo: { servers: ['x'] } },
  );
  castellan = await startCastellan(['--config', config]);
  agent = await newAgent(castellan, 'demo');
  const file = path.join(folder, 'policy.json');
  await writeFile(file, JSON.stringify(holdingPolicy(['x__echo'], { selfApproval: 'page' })));
  assert.equal((await castellan.cli('apply', '-f', file)).code, 0);
  admin = await enrolled('rotate', 'user', 'admin');
  alice = await enrolled('create', 'user', 'alice@example.com', '--invite');
});
after(async () => {
  await castellan?.[Symbol.asyncDispose]();
  await oracle?.[Symbol.asyncDispose]();
});

/** Somebody at a browser, signed in by the link that the command prints. */
async function enrolled(...command: string[]): Promise<PageClient> {
  const { stdout, stderr } = await castellan.cli(...command);
  assert.ok(stdout, stderr);
  const browser = new PageClient(castellan.url);
  const { pathname } = new URL(stdout.trim());
  await browser.get(pathname);
  assert.equal((await browser.post(pathname, { password: PASSWORD, repeated: PASSWORD })).status, 303);
  return browser;
}

async function grant(role: string): Promise<void> {
  await administrate(castellan, 'PUT', '/rbac/alice', {
    kind: 'Rbac',
    metadata: { name: 'alice' },
    spec: {
      subjects: [{ kind: 'User', name: 'alice@example.com' }],
      roleBindings: [{ role, resource: 'approvals', project: 'demo' }],
    },
  });
}

describe('the page of an approval', () => {
  it('asks for a sign-in first, and is none for whoever has no right to it', async () => {
    const id = await held(agent, 'x__echo', { text: 'one' });
    const stranger = await new PageClient(castellan.url).get(`/approvals/${id}`);
    assert.equal(stranger.status, 401);
    assert.doesNotMatch(stranger.body, /x__echo/);
    await grant('view');
    const seen = await alice.get(`/approvals/${id}`);
    assert.equal(seen.status, 200);
    assert.match(seen.body, /You cannot decide on this/);
    assert.doesNotMatch(seen.body, /value="approve"/);
    assert.equal((await alice.post(`/approvals/${id}`, { decision: 'approve', shown: 'all' })).status, 403);
    assert.equal((await alice.get('/approvals/apr_unknown')).status, 404);
    assert.equal(await stateOf(castellan, id), 'pending');
  });

  it('changes nothing when it is looked at, nor by a form that is not its own', async () => {
    const id = await held(agent, 'x__echo', { text: 'two' });
    for (let look = 0; look < 3; look += 1) await admin.get(`/approvals/${id}`);
    await admin.send('HEAD', `/approvals/${id}`, undefined);
    await admin.get(`/approvals/${id}?decision=approve`);
    const form = 'decision=approve&shown=all&form=forged';
    const forged = await admin.send('POST', `/approvals/${id}`, form, {
      'content-type': 'application/x-www-form-urlencoded',
    });
    assert.equal(forged.status, 403);
    assert.equal(await stateOf(castellan, id), 'pending');
    assert.equal(oracle.calls.length, 0);
  });

  it('shows every character of the call, and runs none of it', async () => {
    const text = 'a\u202eb\u200bc\u0000<script>alert(1)</script>\u00a0d';
    const id = await held(agent, 'x__echo', { text });
    const { body, headers } = await admin.get(`/approvals/${id}`);
    for (const hidden of ['U+202E', 'U+200B', 'U+00A0'])
      assert.ok(body.includes(`<mark>${hidden}</mark>`), hidden);
    assert.ok(body.includes('\\u0000'));
    assert.ok(!body.includes('<script') && body.includes('&lt;script&gt;'));
    assert.match(String(headers['content-security-policy']), /default-src 'none'/);
  });

  it('lets nobody approve what it has not shown as a whole', async () => {
    const id = await held(agent, 'x__echo', { text: 'x'.repeat(30_000) });
    const part = await admin.get(`/approvals/${id}`);
    assert.match(part.body, /the first 20000 of \d+ characters/);
    assert.doesNotMatch(part.body, /value="approve"/);
    assert.equal((await admin.post(`/approvals/${id}`, { decision: 'approve' })).status, 400);
    assert.equal(await stateOf(castellan, id), 'pending');
    await admin.get(`/approvals/${id}?show=all`);
    const { status, headers } = await admin.post(`/approvals/${id}`, { decision: 'approve' });
    assert.deepEqual([status, headers.location], [303, `/approvals/${id}`]);
    assert.equal(await stateOf(castellan, id), 'succeeded');
    assert.equal(oracle.calls.length, 1);
  });

  it('takes the decision of whoever has the right, until they lose it', async () => {
    await grant('approve');
    const [first, second] = [
      await held(agent, 'x__echo', { text: 'three' }),
      await held(agent, 'x__echo', { text: 'four' }),
    ];
    await alice.get(`/approvals/${first}`);
    await alice.post(`/approvals/${first}`, { decision: 'reject', reason: 'not this one' });
    assert.equal(await stateOf(castellan, first), 'rejected');
    assert.match((await alice.get(`/approvals/${first}`)).body, /not this one/);
    const open = await alice.get(`/approvals/${second}`);
    assert.match(open.body, /value="approve"/);
    await grant('view');
    assert.equal((await alice.post(`/approvals/${second}`, { decision: 'approve' })).status, 403);
    assert.equal(await stateOf(castellan, second), 'pending');
  });

  it('shows what has changed about the tool since, and then does not let it be approved', async () => {
    const id = await held(agent, 'x__echo', { text: 'five' });
    oracle.about = { description: 'now it deletes everything' };
    const { body } = await admin.get(`/approvals/${id}`);
    assert.match(body, /It cannot be approved any more/);
    assert.match(body, /<ins>\+ .*now it deletes everything/);
    assert.doesNotMatch(body, /value="approve"/);
    assert.equal(await stateOf(castellan, id), 'pending');
    oracle.about = {};
  });
});
