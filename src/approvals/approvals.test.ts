import assert from 'node:assert/strict';
import { it } from 'node:test';
import { change, DECIDER, HOUR_MS, heldCall, REQUESTER, scene } from '../../test/support/approvals-scene.ts';
import { onEachDatabase } from '../../test/support/databases.ts';
import { userCaller } from '../../test/support/identity.ts';
import { eventually } from '../../test/support/processes.ts';
import { TooManyWaiting } from './approvals.ts';

onEachDatabase('approvals', (make) => {
  it('give the outcome once within its time, again for a minute, and then ask anew', () =>
    scene(make, async ({ approvals, store, sent }) => {
      const { approval } = await approvals.request(heldCall(1), REQUESTER);
      assert.equal((await approvals.approve(approval.id, DECIDER)).state, 'succeeded');
      const again = async () => (await approvals.request(heldCall(1), REQUESTER)).approval;
      const over = await again();
      assert.deepEqual([over.id, over.outcome], [approval.id, { ok: true, result: { content: [] } }]);
      await approvals.delivered(over);
      assert.equal((await again()).id, approval.id);
      await change(store, approval.id, { delivered_at: Date.now() - 61_000 });
      assert.notEqual((await again()).id, approval.id);
      const late = (await approvals.request(heldCall(2), REQUESTER)).approval;
      await approvals.approve(late.id, DECIDER);
      await change(store, late.id, { settled_at: Date.now() - HOUR_MS - 1_000 });
      assert.notEqual((await approvals.request(heldCall(2), REQUESTER)).approval.id, late.id);
      assert.deepEqual(sent, ['{"n":1}', '{"n":2}']);
    }));

  it('expire by themselves, and are not approved any more', () =>
    scene(make, async ({ approvals, sent }) => {
      const { approval } = await approvals.request(heldCall(1, { expiresMs: 40 }), REQUESTER);
      await eventually('it expires', async () => (await approvals.current(approval)).state === 'expired');
      await assert.rejects(approvals.approve(approval.id, DECIDER), /nothing left to decide: it is expired/);
      assert.deepEqual(sent, []);
    }));

  it('are made after all when whoever approved came no further', () =>
    scene(make, async ({ approvals, store, sent, obstacle }) => {
      obstacle.now = { later: 'not yet' };
      const { approval } = await approvals.request(heldCall(1), REQUESTER);
      await assert.rejects(approvals.approve(approval.id, DECIDER), /not now: not yet; it still waits/);
      await change(store, approval.id, { state: 'approved' });
      obstacle.now = undefined;
      await eventually('it is made', async () => (await approvals.current(approval)).state === 'succeeded');
      assert.deepEqual(sent, ['{"n":1}']);
    }));

  it('are void when something is not as it was, at the decision and after it', () =>
    scene(make, async ({ approvals, store, sent, obstacle }) => {
      obstacle.now = { void: 'the policy has changed' };
      const [first, second] = [
        (await approvals.request(heldCall(1), REQUESTER)).approval,
        (await approvals.request(heldCall(2), REQUESTER)).approval,
      ];
      await assert.rejects(
        approvals.approve(first.id, DECIDER),
        /the policy has changed: the approval is void/,
      );
      await change(store, second.id, { state: 'approved' });
      for (const one of [first, second])
        await eventually('it is void', async () => (await approvals.current(one)).state === 'void');
      assert.deepEqual(sent, []);
    }));

  it('are unknown once nobody executes them, and known again when their own executor still reports', () =>
    scene(make, async ({ approvals, another, store, sent, gate }) => {
      const { promise, resolve } = Promise.withResolvers<void>();
      gate.open = promise;
      const { approval } = await approvals.request(heldCall(1), REQUESTER);
      const deciding = approvals.approve(approval.id, DECIDER);
      await eventually('it is sent', () => sent.length === 1);
      const other = await another();
      const state = async () => (await other.current(approval)).state;
      if (store.dialect === 'postgres') {
        // Another process looks after it more than once meanwhile, and leaves it to whoever executes it.
        const { approval: short } = await other.request(heldCall(2, { expiresMs: 1_500 }), REQUESTER);
        await eventually('it looks', async () => (await other.current(short)).state === 'expired');
        assert.equal(await state(), 'executing');
      }
      // Whoever executes says that it lives from time to time: it has not, for long.
      const givenUp = async () => {
        if (store.dialect === 'postgres') await change(store, approval.id, { lease_until: 0 });
        return (await state()) === 'unknown';
      };
      await eventually('it is given up', givenUp, 30_000);
      resolve();
      await deciding;
      assert.equal(await state(), 'succeeded');
      assert.equal(sent.length, 1);
    }));

  it('never hide one that is being executed behind a waiting duplicate of older data', () =>
    scene(make, async ({ approvals, store, gate, sent }) => {
      const { promise, resolve } = Promise.withResolvers<void>();
      gate.open = promise;
      const { approval } = await approvals.request(heldCall(1), REQUESTER);
      const deciding = approvals.approve(approval.id, DECIDER);
      await eventually('it is sent', () => sent.length === 1);
      await store.db.schema.dropIndex('approvals_active').execute();
      const row = await store.db.selectFrom('approvals').selectAll().executeTakeFirstOrThrow();
      const later = { id: 'apr_0', state: 'pending', requested_at: row.requested_at + 1 };
      // What it holds is sealed for the other one: nobody may come to open it.
      await store.db
        .insertInto('approvals')
        .values({ ...row, ...later })
        .execute();
      const found = await approvals.request(heldCall(1), REQUESTER).catch((error: Error) => error);
      assert.ok(!(found instanceof Error), String(found));
      assert.deepEqual([found.approval.id, found.approval.state], [approval.id, 'executing']);
      await store.db.deleteFrom('approvals').where('id', '=', 'apr_0').execute();
      resolve();
      await deciding;
    }));

  it('are listed for whoever may see them, however many others are newer', () =>
    scene(make, async ({ approvals, identity }) => {
      const name = 'approver@example.com';
      await identity.resources.put({ kind: 'User', metadata: { name }, spec: {} });
      await identity.resources.put({
        kind: 'Rbac',
        metadata: { name: 'approver' },
        spec: {
          subjects: [{ kind: 'User', name }],
          roleBindings: [{ role: 'approve', resource: 'approvals', project: 'other' }],
        },
      });
      const elsewhere = { ...heldCall(0), project: { name: 'other', uid: 'prj_2' } };
      const { approval } = await approvals.request(elsewhere, REQUESTER);
      for (let n = 1; n <= 30; n += 1) await approvals.request(heldCall(n), REQUESTER);
      const listed = async (limit: number) =>
        (await approvals.list(userCaller(name), { limit })).map(({ id }) => id);
      assert.deepEqual(await listed(10), [approval.id]);
      const all = await approvals.list(userCaller('admin'), { limit: 20 });
      assert.deepEqual([all.length, new Set(all.map(({ id }) => id)).size], [20, 20]);
      const times = all.map(({ requestedAt }) => requestedAt);
      assert.deepEqual(
        times,
        times.toSorted((a, b) => b - a),
      );
    }));

  it('let nobody have more waiting by asking for many at once', () =>
    scene(make, async ({ approvals, store }) => {
      const asked = Array.from({ length: 250 }, (_, n) => approvals.request(heldCall(n), REQUESTER));
      const refused = (await Promise.allSettled(asked)).filter(({ status }) => status === 'rejected');
      // On PostgreSQL those that are written at one moment do not see each other.
      const most = store.dialect === 'sqlite' ? 100 : 120;
      assert.ok(
        250 - refused.length >= 100 && 250 - refused.length <= most,
        `${refused.length} were refused`,
      );
    }));

  it('let nobody have more than a hundred calls waiting', () =>
    scene(make, async ({ approvals }) => {
      for (let n = 0; n < 100; n += 1) await approvals.request(heldCall(n), REQUESTER);
      await assert.rejects(approvals.request(heldCall(100), REQUESTER), TooManyWaiting);
      const other = heldCall(100);
      const { isNew } = await approvals.request(
        { ...other, requester: { ...other.requester, principal: 'McpToken:1', owner: 'other@example.com' } },
        REQUESTER,
      );
      assert.equal(isNew, true);
    }));
});
