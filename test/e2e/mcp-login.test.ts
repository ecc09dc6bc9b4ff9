import assert from 'node:assert/strict';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import path from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { after, before, describe, test } from 'node:test';
import { Agent, administrate, type Loose, newAgent, writeConfig } from '../support/agent.ts';
import { temporaryFolder } from '../support/databases.ts';
import { errorIn } from '../support/held-calls.ts';
import { eventually } from '../support/processes.ts';
import { startCastellan, type TestCastellan } from '../support/running-castellan.ts';
import { Vendor } from '../support/vendor.ts';

let vendor: Vendor;
let mute: Server;
let castellan: TestCastellan;
let agent: Agent & { tokenName: string };

before(async () => {
  vendor = await Vendor.start();
  mute = createServer(() => undefined).listen(0, '127.0.0.1');
  await new Promise((resolve) => mute.once('listening', resolve));
  const silent = { url: `http://127.0.0.1:${(mute.address() as AddressInfo).port}/mcp` };
  const auth = { type: 'oauth' };
  const file = await writeConfig(
    path.join(await temporaryFolder(), 'castellan.json'),
    { crm: { url: vendor.url, auth }, shop: { url: vendor.url, auth }, silent },
    {
      crm: { servers: ['crm'], audit: { arguments: true } },
      shop: { servers: ['shop'] },
      dialling: { servers: ['silent', 'crm'], exposure: 'meta' },
    },
  );
  castellan = await startCastellan(['--config', file]);
  agent = await newAgent(castellan, 'crm');
});
after(async () => {
  await castellan?.[Symbol.asyncDispose]();
  await vendor?.[Symbol.asyncDispose]();
  mute?.closeAllConnections();
  mute?.close();
});

const mcp = (who: Agent, args: object) => who.call('mcp', args);
const dataOf = (answer: Loose): Loose => answer.result.structuredContent;
const namesOf = async (who: Agent) =>
  (await who.ask('tools/list')).result?.tools.map(({ name }: Loose) => name);

function auditRows(): string[] {
  const database = new DatabaseSync(path.join(castellan.dataDir, 'castellan.db'), { readOnly: true });
  try {
    return database
      .prepare('select * from audit_events order by at')
      .all()
      .map((row) => JSON.stringify(row));
  } finally {
    database.close();
  }
}

describe('signing in for a server through the mcp tool', () => {
  test('is there where a server wants it, and says so', async () => {
    assert.deepEqual(await namesOf(agent), ['mcp', 'status']);
    const { servers, message } = dataOf(await mcp(agent, { action: 'status' }));
    assert.deepEqual([servers[0].name, servers[0].status], ['crm', 'needs_auth']);
    assert.match(message, /castellan mcp login crm/);
  });

  test('takes the address that the browser came back to, and no code of it is left anywhere', async () => {
    const begun = dataOf(await mcp(agent, { action: 'login', server: 'crm', flow: 'paste' }));
    assert.equal(begun.flow, 'paste');
    assert.ok(Date.parse(begun.expires_at) > Date.now());
    const wrong = await mcp(agent, {
      action: 'complete_login',
      server: 'crm',
      url: 'https://example.com/?code=x',
    });
    assert.deepEqual([errorIn(wrong).code, errorIn(wrong).field], ['INVALID_ARGUMENT', 'url']);
    const url = await vendor.visit(begun.url);
    const done = dataOf(await mcp(agent, { action: 'complete_login', server: 'crm', url }));
    assert.deepEqual([done.flow, done.state], ['paste', 'signed_in']);
    await eventually('its tools are listed', async () => (await namesOf(agent)).includes('crm__echo'));
    const { result } = await agent.call('crm__echo');
    assert.ok(!result?.isError);
    await eventually('all is in the audit', () => auditRows().some((row) => row.includes('crm__echo')));
    const rows = auditRows();
    const code = new URL(url).searchParams.get('code') ?? '';
    assert.ok(code.length > 10);
    assert.ok(rows.every((row) => !row.includes(code)));
    for (const event of ['login.started', 'login.completed']) {
      const row = rows.find((one) => one.includes(`"${event}"`));
      assert.ok(row?.includes(agent.tokenName), `${event} is the doing of the token`);
    }
    const intents = rows.filter((row) => row.includes('"tool.intent"') && row.includes('"mcp"'));
    assert.equal(intents.length, 3, 'each of the three changes was announced');
    assert.ok(!castellan.stderr().includes(code));
  });

  test('goes by a device where the vendor has that, and says when to ask again', async () => {
    const shop = await newAgent(castellan, 'shop');
    const begun = dataOf(await mcp(shop, { action: 'login', server: 'shop' }));
    assert.equal(begun.flow, 'device');
    assert.match(begun.message, new RegExp(begun.user_code));
    const pending = dataOf(await mcp(shop, { action: 'complete_login', server: 'shop' }));
    assert.deepEqual([pending.flow, pending.state], ['device', 'pending']);
    assert.ok(pending.retry_after_ms > 0 && pending.retry_after_ms <= 60_000);
    await vendor.agree(begun.user_code);
    await eventually(
      'it is signed in',
      async () => dataOf(await mcp(shop, { action: 'complete_login', server: 'shop' })).state === 'signed_in',
      20_000,
    );
    const over = await mcp(shop, { action: 'complete_login', server: 'shop' });
    assert.equal(errorIn(over).code, 'CONFLICT');
    assert.match(over.result?.content[0].text, /no sign-in of shop is under way/);
  });

  test('needs the right to edit that very server', async () => {
    const run = { role: 'run', resource: 'tools' };
    const edit = { role: 'edit', resource: 'servers', name: 'shop' };
    const other = { role: 'edit', resource: 'servers', name: 'crm' };
    const answers: [object[], string | undefined][] = [
      [[run], 'NOT_PERMITTED'],
      [[run, other], 'NOT_PERMITTED'],
      [[run, edit], undefined],
    ];
    for (const [at, [binds, code]] of answers.entries()) {
      const wish = { project: 'shop', name: `bound-${at}`, rbac: 'empty', surfaces: ['consumer'], binds };
      const { token } = await administrate(castellan, 'POST', '/mcptokens', wish);
      const one = new Agent(`${castellan.url}/projects/shop/mcp`, token);
      const answer = await mcp(one, { action: 'login', server: 'shop', flow: 'paste' });
      assert.equal(errorIn(answer)?.code, code, JSON.stringify(answer));
      const unknown = await mcp(one, { action: 'login', server: 'crm' });
      assert.equal(errorIn(unknown).code, 'NOT_FOUND', 'a server of another project is none');
    }
  });
});

test('status and list_servers wait for nobody who is dialling', async () => {
  const waiting = await newAgent(castellan, 'dialling');
  let isListed = false;
  const listed = waiting.ask('tools/list').then(() => {
    isListed = true;
  });
  const times: number[] = [];
  for (let turn = 0; turn < 20; turn += 1) {
    for (const action of ['status', 'list_servers']) {
      const started = performance.now();
      const { servers } = dataOf(await mcp(waiting, { action }));
      times.push(performance.now() - started);
      assert.equal(servers[0].name, 'silent');
      assert.notEqual(servers[0].status, 'healthy');
    }
  }
  assert.ok(!isListed, 'whoever lists still waits for the server');
  times.sort((a, b) => a - b);
  assert.ok(times[times.length / 2]! < 50, `half of them are answered within ${times[times.length / 2]} ms`);
  await listed;
});
