import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import type { RecordedEvent } from '../../src/audit/row.ts';
import { newAgent } from '../support/agent.ts';
import { startCastellan, type TestCastellan } from '../support/running-castellan.ts';

const INITIALIZE = {
  jsonrpc: '2.0',
  id: 1,
  method: 'initialize',
  params: { protocolVersion: '2025-11-25', capabilities: {}, clientInfo: { name: 'a', version: '1' } },
};

let castellan: TestCastellan;

before(async () => {
  castellan = await startCastellan(undefined, { env: { CASTELLAN_TRUSTED_PROXIES: '127.0.0.0/8' } });
});
after(() => castellan[Symbol.asyncDispose]());

async function rows(event: string): Promise<RecordedEvent[]> {
  const deadline = Date.now() + 5_000;
  for (;;) {
    const { stdout, stderr } = await castellan.cli('audit', 'query', '--event', event, '-o', 'json');
    assert.equal(stderr, '');
    const { items } = JSON.parse(stdout) as { items: RecordedEvent[] };
    if (items.length > 0 || Date.now() > deadline) return items;
  }
}

test('behind a trusted proxy the rows name the address of the client', async () => {
  const agent = await newAgent(castellan, 'demo');
  const from = (address: string) => ({ 'x-forwarded-for': `203.0.113.99, ${address}` });
  assert.equal((await agent.send(INITIALIZE, { headers: from('198.51.100.1') })).status, 200);
  const api = (path: string, authorization: string, address: string) =>
    fetch(`${castellan.url}/api/v1/${path}`, { headers: { authorization, ...from(address) } });
  const refused = await api('servers', `Bearer ${agent.token}`, '2001:db8:1:2:3:4:5:6');
  assert.equal(refused.status, 403);
  assert.equal((await api('whoami', 'Bearer cst_pat_x', '198.51.100.3')).status, 401);
  const seen = async (event: string) => (await rows(event)).map(({ address }) => address);
  assert.deepEqual(await seen('session.started'), ['198.51.100.1']);
  assert.deepEqual(await seen('api.refused'), ['2001:db8:1:2:3:4:5:6']);
  assert.deepEqual(await seen('auth.failed'), ['198.51.100.3']);
});

test('a flood of sessions and of refusals ends with few rows, and the sessions with 429', async () => {
  const agent = await newAgent(castellan, 'demo');
  const before = (await rows('session.started')).length;
  const flood = async (): Promise<Response | undefined> => {
    for (let at = 0; at < 40; at += 1) {
      const answer = await agent.send(INITIALIZE);
      await answer.text();
      if (answer.status === 429) return answer;
      assert.equal(answer.status, 200);
    }
  };
  const refused = (await Promise.all(Array.from({ length: 32 }, flood))).filter((one) => one !== undefined);
  assert.ok(refused.length > 0, 'more than a thousand were begun at once');
  assert.match(refused[0]!.headers.get('retry-after') ?? '', /^[1-9]/);
  assert.ok((await agent.ask('tools/list')).result, 'what needs no session goes on');
  for (let at = 0; at < 40; at += 1) {
    const headers = { authorization: `Bearer ${agent.token}` };
    assert.equal((await fetch(`${castellan.url}/api/v1/users`, { headers })).status, 403);
  }
  const token = (await rows('api.refused')).filter(({ detail }) => /users/.test(JSON.stringify(detail)));
  assert.equal(token.length, 1);
  assert.equal((await rows('session.started')).length - before, 20);
});

test('what the authorization server tells names the address of the client, too', async () => {
  const made = await castellan.cli('create', 'oauthclient', 'worker', '-p', 'demo', '--user', 'admin');
  assert.equal(made.code, 0, made.stderr);
  const form = { grant_type: 'client_credentials', client_id: 'worker', client_secret: made.stdout.trim() };
  const headers = { 'x-forwarded-for': '198.51.100.4' };
  const answer = await fetch(`${castellan.url}/token`, {
    method: 'POST',
    headers,
    body: new URLSearchParams(form),
  });
  assert.equal(answer.status, 200, await answer.text());
  assert.deepEqual(
    (await rows('access.issued')).map(({ address }) => address),
    ['198.51.100.4'],
  );
});
