import assert from 'node:assert/strict';
import { it } from 'node:test';
import {
  change,
  DECIDER,
  heldCall,
  REQUESTER,
  type Scene,
  scene,
} from '../../test/support/approvals-scene.ts';
import { onEachDatabase, type TestDatabase } from '../../test/support/databases.ts';
import { eventually } from '../../test/support/processes.ts';
import { type Script, ScriptedUpstream } from '../../test/support/scripted-upstream.ts';
import { ok } from '../base/result.ts';
import { GuardedClient } from '../net/guarded-client.ts';
import type { Approval, HeldCall } from './approval.ts';
import type { Notice } from './notice.ts';

const SECRET = `\${secret:hook.key}`;
const KEY = `whsec_${Buffer.alloc(32, 7).toString('base64')}`;
const taken: Script = (_seen, response) => void response.writeHead(204).end();

/** Approvals whose notices go to a receiver on loopback, which is allowed unless the test says otherwise. */
async function told(
  make: () => Promise<TestDatabase>,
  play: (scene: Scene & { receiver: ScriptedUpstream; ask: Ask }) => Promise<void>,
  { script = taken, allowed = true } = {},
): Promise<void> {
  await using receiver = await ScriptedUpstream.start(script);
  const road = {
    client: new GuardedClient(),
    allowOrigins: allowed ? [receiver.origin] : [],
    withSecrets: (text: string) => ok(text.replace(SECRET, KEY)),
    origin: () => 'https://castellan.example.com',
  };
  await scene(
    make,
    (set) => {
      const notify = {
        url: `${receiver.origin}/hook`,
        secret: SECRET,
        format: 'webhook',
      } as const;
      const ask: Ask = async (n, terms = {}) => {
        const { remindMs, ...others } = terms;
        const call = heldCall(n, { ...others, notify: { ...notify, remindMs } });
        return (await set.approvals.request(call, REQUESTER)).approval;
      };
      return play({ ...set, receiver, ask });
    },
    road,
  );
}
type Ask = (n: number, terms?: Partial<HeldCall['terms']> & { remindMs?: number }) => Promise<Approval>;

const typesAt = (receiver: ScriptedUpstream) => receiver.requests.map(({ body }) => JSON.parse(body).type);
const idsAt = (receiver: ScriptedUpstream) => receiver.requests.map(({ headers }) => headers['webhook-id']);
const rowsOf = (scene: Scene) => scene.store.db.selectFrom('approval_notices').selectAll().execute();
const hasten = (scene: Scene) =>
  scene.store.db.updateTable('approval_notices').set({ due_at: 0 }).where('state', '=', 'waiting').execute();
const summary = (notices: Notice[]) =>
  notices.map(({ event, state, attempts }) => `${event} ${state} ${attempts}`);

onEachDatabase('notices of approvals', (make) => {
  it('tell whom the rule names of what becomes of a call, each once, and of no other call', () =>
    told(make, async (set) => {
      const { approvals, receiver, ask } = set;
      const first = await ask(1);
      await approvals.request(heldCall(99), REQUESTER);
      await eventually('it is told', () => receiver.requests.length === 1);
      await approvals.approve(first.id, DECIDER);
      const second = await ask(2);
      await approvals.reject(second.id, DECIDER, 'no');
      await ask(3, { expiresMs: 40 });
      await eventually('all is told', () => typesAt(receiver).includes('approval.expired'));
      assert.deepEqual(typesAt(receiver).toSorted(), [
        'approval.approved',
        'approval.expired',
        'approval.pending',
        'approval.rejected',
      ]);
      assert.deepEqual(summary(await approvals.notices(second)), [
        'pending overtaken 1',
        'rejected delivered 1',
      ]);
      assert.equal(new Set(idsAt(receiver)).size, 4);
      const { method, url, headers } = receiver.requests[0]!;
      assert.deepEqual([method, url, headers['content-type']], ['POST', '/hook', 'application/json']);
    }));

  it('are tried again with the same id until they are taken, and nothing follows a redirect', async () => {
    const statuses = [500, 302, 200];
    let elsewhere = 0;
    const script: Script = ({ url }, response) => {
      if (url !== '/hook') elsewhere += 1;
      response.writeHead(statuses.shift() ?? 200, { location: '/elsewhere' }).end('x'.repeat(1_000_000));
    };
    await told(
      make,
      async (set) => {
        const { approvals, receiver, ask } = set;
        const approval = await ask(1);
        await eventually('it is tried', async () => (await rowsOf(set))[0]?.problem === 'the answer was 500');
        const [waiting] = await approvals.notices(approval);
        const later = (waiting?.dueAt ?? 0) - (waiting?.madeAt ?? 0);
        assert.ok(later > 2_000 && later < 8_000, `it waits for ${later} ms`);
        for (const state of ['waiting', 'delivered']) {
          await hasten(set);
          const tried = receiver.requests.length;
          await eventually('it is tried again', () => receiver.requests.length > tried);
          await eventually('it is recorded', async () => {
            const [row] = await rowsOf(set);
            return row?.state === state && (state === 'delivered' || row.problem === 'the answer was 302');
          });
        }
        assert.equal(new Set(idsAt(receiver)).size, 1);
        assert.deepEqual([receiver.requests.length, elsewhere], [3, 0]);
      },
      { script },
    );
  });

  it('leave once for each, however many processes look', () =>
    told(make, async (set) => {
      await set.another();
      await set.another();
      for (let n = 0; n < 25; n += 1) await set.ask(n);
      await eventually('all are told', async () =>
        (await rowsOf(set)).every(({ state }) => state === 'delivered'),
      );
      assert.equal(set.receiver.requests.length, 25);
      assert.equal(new Set(idsAt(set.receiver)).size, 25);
    }));

  it('leave after all when whoever took them came no further', () =>
    told(make, async (set) => {
      await set.approvals.close();
      await set.ask(1);
      const [row] = await rowsOf(set);
      const until = Date.now() + 2_500;
      await set.store.db.updateTable('approval_notices').set({ attempts: 1, due_at: until }).execute();
      await set.another();
      await eventually('it is told', () => set.receiver.requests.length === 1);
      assert.ok(Date.now() >= until - 500, 'whoever has it is left alone until then');
      assert.deepEqual(idsAt(set.receiver), [row?.id]);
    }));

  it('remind while nobody decides, once each time in whatever process, and not of what is over', () =>
    told(make, async (set) => {
      const { approvals, receiver, ask } = set;
      await set.another();
      const approval = await ask(1, { remindMs: 1_200 });
      await eventually('it is reminded of twice', () => receiver.requests.length === 3, 10_000);
      assert.deepEqual(typesAt(receiver), ['approval.pending', 'approval.reminder', 'approval.reminder']);
      assert.equal((await approvals.current(approval)).reminders, 2);
      assert.equal(receiver.requests.length, 3);
      // What was missed while nobody looked is not made up.
      await change(set.store, approval.id, { remind_at: approval.requestedAt - 600_000 });
      await eventually('it is reminded of', () => receiver.requests.length === 4);
      assert.equal((await approvals.current(approval)).reminders, 3);
      await approvals.reject(approval.id, DECIDER, undefined);
      await change(set.store, approval.id, { remind_at: 0 });
      await eventually('it is told', () => typesAt(receiver).includes('approval.rejected'));
      const events = (await approvals.notices(approval)).map(({ event }) => event);
      assert.deepEqual(events.slice(-2), ['reminder', 'rejected']);
    }));

  it('fail for good after some time, which the audit tells without what is confidential', async () => {
    const script: Script = (_seen, response) => void response.writeHead(503).end(KEY);
    await told(
      make,
      async (set) => {
        const approval = await set.ask(1);
        await eventually('it is tried', async () => (await rowsOf(set))[0]?.problem !== null);
        await set.store.db.updateTable('approval_notices').set({ attempts: 11, due_at: 0 }).execute();
        await eventually('it has failed', async () => (await rowsOf(set))[0]?.state === 'failed');
        assert.deepEqual(summary(await set.approvals.notices(approval)), ['pending failed 12']);
        const audit = await set.store.db.selectFrom('audit_events').selectAll().execute();
        const told = audit.filter(({ event }) => event === 'approval.untold');
        assert.equal(told.length, 1);
        assert.match(JSON.stringify(told), /the answer was 503/);
        for (const text of [JSON.stringify(audit), JSON.stringify(await rowsOf(set))])
          assert.ok(!text.includes(KEY) && !text.includes('/hook'));
      },
      { script },
    );
  });

  it('reach nothing that is not public unless the operator names it', () =>
    told(
      make,
      async (set) => {
        const approval = await set.ask(1);
        await eventually('it is tried', async () => (await rowsOf(set))[0]?.problem !== null);
        const [notice] = await set.approvals.notices(approval);
        assert.match(notice?.problem ?? '', /CASTELLAN_NOTIFY_ORIGINS/);
        assert.equal(set.receiver.connections, 0);
      },
      { allowed: false },
    ));

  it('do not pile up without end', () =>
    told(make, async (set) => {
      const row = { approval_id: 'apr_gone', event: 'pending', state: 'waiting', made_at: 0, attempts: 1 };
      const far = Date.now() + 3_600_000;
      for (let batch = 0; batch < 50; batch += 1) {
        const ids = Array.from({ length: 200 }, (_, n) => `msg_${batch}_${n}`);
        const rows = ids.map((id) => ({ ...row, id, due_at: far }));
        await set.store.db.insertInto('approval_notices').values(rows).execute();
      }
      const approval = await set.ask(1);
      const [notice] = await set.approvals.notices(approval);
      assert.deepEqual([notice?.state, notice?.problem], ['failed', 'more than 10000 notices wait already']);
      assert.equal(approval.state, 'pending');
    }));
});
