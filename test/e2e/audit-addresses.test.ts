import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import type { RecordedEvent } from '../../src/audit/row.ts';
import { newAgent } from '../support/agent.ts';
import { startCastellan, type TestCastellan } from '../support/running-castellan.ts';

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
  const initialize = {
    jsonrpc: '2.0',
    id: 1,
    method: 'initialize',
    params: { protocolVersion: '2025-11-25', capabilities: {}, clientInfo: { name: 'a', version: '1' } },
  };
  assert.equal((await agent.send(initialize, { headers: from('198.51.100.1') })).status, 200);
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
