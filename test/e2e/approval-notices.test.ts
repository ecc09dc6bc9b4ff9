import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { createHmac } from 'node:crypto';
import { writeFile } from 'node:fs/promises';
import path from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { after, before, describe, it } from 'node:test';
import { Agent, administrate, type Loose, newAgent, writeConfig } from '../support/agent.ts';
import { temporaryFolder } from '../support/databases.ts';
import { decide, held, holdingPolicy } from '../support/held-calls.ts';
import { OracleUpstream } from '../support/oracle-upstream.ts';
import { eventually } from '../support/processes.ts';
import { runCli, startCastellan, type TestCastellan } from '../support/running-castellan.ts';
import { type Script, ScriptedUpstream } from '../support/scripted-upstream.ts';

const KEY_BYTES = Buffer.alloc(32, 9);
const KEY = `whsec_${KEY_BYTES.toString('base64')}`;
const taken: Script = (_seen, response) => void response.writeHead(204).end();

let castellan: TestCastellan;
let oracle: OracleUpstream;
let receiver: ScriptedUpstream;
let agent: Agent;
let folder: string;
let config: string;
let env: Record<string, string>;

before(async () => {
  folder = await temporaryFolder();
  oracle = await OracleUpstream.start('modern', ['echo']);
  receiver = await ScriptedUpstream.start(taken);
  config = await writeConfig(
    path.join(folder, 'castellan.json'),
    { x: { url: oracle.url } },
    { demo: { servers: ['x'] } },
  );
  env = { CASTELLAN_NOTIFY_ORIGINS: receiver.origin };
  castellan = await startCastellan(['--config', config], { env });
  agent = await newAgent(castellan, 'demo');
  const made = await runCli(
    ['create', 'secret', 'hooks', '--from-env', 'key=HOOK_KEY', '--data-dir', castellan.dataDir],
    { env: { HOOK_KEY: KEY } },
  );
  assert.equal(made.code, 0, made.stderr);
  const notify = { url: `${receiver.origin}/hook`, secret: `\${secret:hooks.key}`, remind: '1m' };
  const file = path.join(folder, 'policy.json');
  await writeFile(file, JSON.stringify(holdingPolicy(['x__echo'], { notify })));
  const applied = await castellan.cli('apply', '-f', file);
  assert.equal(applied.code, 0, applied.stderr);
});
after(async () => {
  await castellan?.[Symbol.asyncDispose]();
  await oracle?.[Symbol.asyncDispose]();
  await receiver?.[Symbol.asyncDispose]();
});

const of = (id: string) => receiver.requests.filter(({ body }) => JSON.parse(body).data.id === id);

describe('whoever a rule names', () => {
  it('is told, signed, with where to decide, and without what is secret or asked', async () => {
    const id = await held(agent, 'x__echo', { text: 'an argument of the call' });
    await eventually('it is told', () => of(id).length === 1);
    const { headers, body } = of(id)[0]!;
    const { type, data } = JSON.parse(body);
    assert.deepEqual(
      [type, data.tool, data.url],
      ['approval.pending', 'x__echo', `${castellan.url}/approvals/${id}`],
    );
    assert.ok(Math.abs(Number(headers['webhook-timestamp']) - Date.now() / 1000) < 30);
    const signed = `${headers['webhook-id']}.${headers['webhook-timestamp']}.${body}`;
    const signature = createHmac('sha256', KEY_BYTES).update(signed).digest('base64');
    assert.equal(headers['webhook-signature'], `v1,${signature}`);
    assert.doesNotMatch(body, /an argument/);
    const shown = await castellan.cli('approvals', 'get', id);
    assert.match(shown.stdout, /^notice: +\S+ pending, delivered \(1 tries\)$/m);
    const described = await castellan.cli('describe', 'approval', id);
    assert.match(described.stdout, /notices:\n {2}- id: msg_\w+\n {4}event: pending\n {4}state: delivered/);
    for (const text of [castellan.stderr(), described.stdout, body, JSON.stringify(headers)])
      assert.ok(!text.includes(KEY));
  });

  it('gets it after a kill in the middle, with the same id', async () => {
    const hanging = Promise.withResolvers<void>();
    receiver.script = async (_seen, response) => {
      hanging.resolve();
      response.on('close', () => undefined);
    };
    const id = await held(agent, 'x__echo', { text: 'two' });
    await hanging.promise;
    await castellan.stop('SIGKILL');
    receiver.script = taken;
    const { dataDir } = castellan;
    // Whoever died is waited for no longer.
    const database = new DatabaseSync(path.join(dataDir, 'castellan.db'));
    database.exec("update approval_notices set due_at = 0 where state = 'waiting'");
    database.close();
    castellan = await startCastellan(['--config', config], { dataDir, env });
    agent = new Agent(`${castellan.url}/projects/demo/mcp`, agent.token);
    await eventually('it is told again', () => of(id).length === 2);
    assert.equal(new Set(of(id).map(({ headers }) => headers['webhook-id'])).size, 1);
    await eventually('it knows', async () => {
      const { notices }: Loose = await administrate(castellan, 'GET', `/approvals/${id}`);
      return notices[0].state === 'delivered' && notices[0].attempts === 2;
    });
  });

  it('is reminded, which a list that is watched shows, and told of the decision', async () => {
    const id = await held(agent, 'x__echo', { text: 'three' });
    const args = ['bin/castellan', 'approvals', 'list', '-w', '--data-dir', castellan.dataDir];
    const watching = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'inherit'] });
    try {
      let said = '';
      watching.stdout.setEncoding('utf8').on('data', (text) => {
        said += text;
      });
      const lineOf = (event: string, rest: string) => new RegExp(`^${event} +${id} +${rest}`, 'm');
      await eventually('it is listed', () => lineOf('ADDED', 'pending').test(said), 20_000);
      const database = new DatabaseSync(path.join(castellan.dataDir, 'castellan.db'), { timeout: 5_000 });
      database.prepare('update approvals set remind_at = 1 where id = ?').run(id);
      database.close();
      await eventually('it is reminded of', () => of(id).length === 2);
      assert.equal(JSON.parse(of(id)[1]!.body).type, 'approval.reminder');
      await eventually('that is watched', () => lineOf('MODIFIED', 'pending').test(said), 10_000);
      await decide(castellan, id, 'approve');
      await eventually('it is told', () => of(id).length === 3);
      assert.equal(JSON.parse(of(id)[2]!.body).type, 'approval.approved');
      await eventually('that is watched', () => lineOf('MODIFIED', 'succeeded').test(said), 10_000);
    } finally {
      watching.kill('SIGKILL');
    }
  });
});
