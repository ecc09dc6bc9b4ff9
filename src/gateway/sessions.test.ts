import assert from 'node:assert/strict';
import { it } from 'node:test';
import { onEachDatabase, type TestDatabase } from '../../test/support/databases.ts';
import { type AuthenticatedCaller, callerKey } from '../identity/caller.ts';
import type { Store } from '../store/database.ts';
import { callerContext, type Scope } from './scope.ts';
import { type LegacySession, LegacySessions } from './sessions.ts';

const ANN = { principal: 'McpToken:a' } as unknown as AuthenticatedCaller;
const BOB = { principal: 'McpToken:b' } as unknown as AuthenticatedCaller;
const SCOPE = { project: { uid: 'prj_1' }, surface: 'consumer' } as Scope;
const CLIENT = { revision: '2025-11-25', capabilities: {}, clientInfo: { name: 'c', version: '1' } };

type Scene = { sessions: LegacySessions; store: Store; another(): Promise<LegacySessions> };

async function scene(make: () => Promise<TestDatabase>, play: (scene: Scene) => Promise<void>) {
  const database = await make();
  try {
    const { dataDir, store } = await database.open();
    const another = async () => new LegacySessions(dataDir.sealer, store);
    await play({ sessions: await another(), store, another });
  } finally {
    await database.dispose();
  }
}

const begin = (sessions: LegacySessions): LegacySession => sessions.begin(ANN, SCOPE, CLIENT)!;

async function rows(store: Store): Promise<number> {
  return (await store.db.selectFrom('sessions').select('id_hash').execute()).length;
}

onEachDatabase('legacy sessions', (make) => {
  it('are found by every process until a server has state for them; then by its own alone', () =>
    scene(make, async ({ sessions, another }) => {
      const session = begin(sessions);
      const other = await another();
      assert.ok(await other.find(session.id, ANN, SCOPE));
      assert.equal(await other.find(session.id, BOB, SCOPE), undefined);
      assert.equal(await sessions.hold(session.handle), true);
      assert.equal(await sessions.hold(session.handle), true);
      const third = await another();
      assert.equal(await third.hold(session.handle), false);
      assert.equal(await third.find(session.id, ANN, SCOPE), undefined);
      assert.ok(await sessions.find(session.id, ANN, SCOPE));
    }));

  it('that have begun a task have begun it for every process, and nobody else has', () =>
    scene(make, async ({ sessions, another }) => {
      const [begun, other] = [begin(sessions), begin(sessions)];
      assert.equal(await sessions.hasBegunTask(begun), false);
      await sessions.remember(begun, { logLevel: 'error' });
      await sessions.beginTask(begun);
      await sessions.beginTask(begun);
      const elsewhere = await another();
      const same = await elsewhere.find(begun.id, ANN, SCOPE);
      assert.equal(same?.envelope.logLevel, 'error');
      assert.equal(await elsewhere.hasBegunTask(begun), true);
      assert.equal(await elsewhere.hasBegunTask(other), false);
    }));

  it('are no session of another user of the same OAuth client, nor is anything else kept for it', () =>
    scene(make, async ({ sessions }) => {
      const of = (owner: string) =>
        ({ principal: 'OAuthClient:editor', owner }) as unknown as AuthenticatedCaller;
      const [ann, bob] = [of('ann@example.com'), of('bob@example.com')];
      const session = sessions.begin(ann, SCOPE, CLIENT)!;
      assert.ok(await sessions.find(session.id, ann, SCOPE));
      assert.equal(await sessions.find(session.id, bob, SCOPE), undefined);
      assert.equal(sessions.peek(session.id, bob, SCOPE), undefined);
      const [mine, theirs] = [ann, bob].map((caller) => callerContext({ caller, scope: SCOPE }));
      assert.notEqual(mine, theirs);
      assert.notEqual(callerKey(ann), callerKey(bob));
    }));

  it('are held by one of several processes that want them at the same time', () =>
    scene(make, async ({ sessions, another }) => {
      const session = begin(sessions);
      const all = [sessions, await another(), await another(), await another()];
      const held = await Promise.all(all.map((one) => one.hold(session.handle)));
      assert.equal(held.filter((won) => won).length, 1, JSON.stringify(held));
    }));

  it('keep the last of several wishes that were made at once', () =>
    scene(make, async ({ sessions, another }) => {
      const session = begin(sessions);
      const uris = Array.from({ length: 20 }, (_, n) => `x://${n}`);
      const wishes = uris.map((uri) =>
        sessions.remember(session, { subscriptions: [...session.subscriptions, uri] }),
      );
      await Promise.all(wishes);
      const found = await (await another()).find(session.id, ANN, SCOPE);
      assert.deepEqual(found?.subscriptions, uris);
    }));

  it('that ended are not brought back by a look that began before', () =>
    scene(make, async ({ sessions, another }) => {
      const ended = begin(sessions);
      const other = await another();
      const looking = other.find(ended.id, ANN, SCOPE);
      const ending = other.end(ended.handle);
      assert.equal(await looking, undefined);
      await ending;
      assert.equal(other.peek(ended.id, ANN, SCOPE), undefined);
      assert.equal(await (await another()).find(ended.id, ANN, SCOPE), undefined);
    }));

  it('leave no row while nothing is asked of them', () =>
    scene(make, async ({ sessions, store }) => {
      for (let one = 0; one < 20_000; one += 1) begin(sessions);
      assert.equal(await rows(store), 0);
      const session = begin(sessions);
      await sessions.remember(session, { logLevel: 'error' });
      await sessions.hold(session.handle);
      await sessions.end(session.handle);
      assert.equal(await rows(store), 1);
    }));

  it('of one principal leave a bounded number of rows, and none that ended comes back', () =>
    scene(make, async ({ sessions, store, another }) => {
      const [ended, quiet, other] = [begin(sessions), begin(sessions), sessions.begin(BOB, SCOPE, CLIENT)!];
      await sessions.end(ended.handle);
      const [row] = await store.db.selectFrom('sessions').selectAll().execute();
      const tag = row!.id_hash.slice(0, 17);
      const at = Date.now() + 1_000;
      for (let part = 0; part < 40; part += 1) {
        const some = Array.from({ length: 300 }, (_, n) => ({
          ...row!,
          id_hash: `${tag}${part}-${n}`,
          created_at: at + part * 300 + n,
        }));
        await store.db.insertInto('sessions').values(some).execute();
      }
      await sessions.prune();
      assert.equal(await rows(store), 5_001);
      const fresh = await another();
      assert.equal(await fresh.find(ended.id, ANN, SCOPE), undefined);
      assert.equal(await fresh.find(quiet.id, ANN, SCOPE), undefined, 'as old, and without a row');
      assert.ok(await fresh.find(other.id, BOB, SCOPE), 'of somebody else');
      await sessions.prune();
      assert.equal(await rows(store), 5_001);
    }));
});
