import assert from 'node:assert/strict';
import { it, type TestContext } from 'node:test';
import { onEachDatabase, openAudit, quietLogger, type TestDatabase } from '../../test/support/databases.ts';
import { KeyRotation } from './key-rotation.ts';
import { Resources } from './registry.ts';

const open = '${';
const logger = quietLogger();

type Process = Pick<Awaited<ReturnType<TestDatabase['open']>>, 'store' | 'dataDir'>;

async function openResources({ store, dataDir }: Process) {
  const audit = await openAudit({ store, dataDir });
  const options = { files: [], env: {}, logger, dataDir: dataDir.path, nodePath: '' };
  return Resources.open({ store, audit, ...options });
}

async function openRooms({ store, dataDir }: Process) {
  const audit = await openAudit({ store, dataDir });
  const resources = await openResources({ store, dataDir });
  const rotation = new KeyRotation({ store, resources, others: [], audit, logger });
  const close = async () => {
    await rotation.close();
    await resources.close();
  };
  return { store, resources, rotation, close };
}

async function started(make: () => Promise<TestDatabase>, test: TestContext) {
  const database = await make();
  test.after(() => database.dispose());
  const rooms = await openRooms(await database.open());
  test.after(() => rooms.close());
  return { database, ...rooms };
}

const secret = (name: string, data: object) => ({ kind: 'Secret', metadata: { name }, spec: { data } });
const using = (name: string, reference: string) => ({
  kind: 'Server',
  metadata: { name },
  spec: { url: 'http://127.0.0.1:1/mcp', headers: { 'X-Key': `${open}secret:${reference}}` } },
});
function given(resources: Resources, name: string): string | undefined {
  const entry = resources.snapshot().servers.get(name);
  const target = entry?.spec?.target;
  return target?.type === 'http' ? target.headers['X-Key'] : entry?.error;
}

onEachDatabase('a rotation of the key', (make) => {
  it('seals everything anew and dials nothing again', async (test) => {
    const { resources, rotation, store } = await started(make, test);
    const data = Object.fromEntries(
      Array.from({ length: 60 }, (_, index) => [`k${index}`, `value ${index}`]),
    );
    for (const name of ['a', 'b']) await resources.put(secret(name, data));
    await resources.put(using('s', 'a.k7'));
    const before = resources.snapshot().servers.get('s');
    const done = await rotation.rotate(undefined);
    assert.deepEqual([done.keys, done.retired], [2, 0]);
    const rows = await store.db.selectFrom('secret_values').select('key_id').execute();
    assert.equal(rows.length, 120);
    assert.ok(rows.every((row) => row.key_id === done.key));
    await resources.reload();
    assert.equal(resources.snapshot().servers.get('s'), before);
    await resources.put(using('t', 'b.k8'));
    assert.equal(given(resources, 't'), 'value 8');
    const told = await store.db
      .selectFrom('audit_events')
      .selectAll()
      .where('event', '=', 'keys.rotated')
      .execute();
    assert.equal(told.length, 1);
    assert.match(String(told[0]!.detail), new RegExp(done.key));
  });

  it('does not happen where the audit cannot tell of it', async (test) => {
    const { resources, rotation, store } = await started(make, test);
    await resources.put(secret('a', { k: 'one' }));
    await store.db.updateTable('audit_chains').set({ head_seq: 999 }).execute();
    const before = store.keys.sealer.keyId;
    await assert.rejects(rotation.rotate(undefined), /the audit cannot be written now/);
    await store.keys.refresh();
    assert.equal(store.keys.sealer.keyId, before);
    const { length } = await store.db.selectFrom('data_keys').select('number').execute();
    assert.equal(length, 1);
  });

  it('fails no read and no write meanwhile, and forgets the older keys when asked to', async (test) => {
    const { resources, rotation, store } = await started(make, test);
    await resources.put(secret('a', { k: 'first' }));
    await resources.put(using('s', 'a.k'));
    const sealed = store.keys.sealer.seal('session', 'x');
    let running = true;
    let writes = 0;
    const load = async () => {
      while (running) {
        writes += 1;
        await resources.put(secret('a', { k: `value ${writes}` }));
        assert.equal(given(resources, 's'), `value ${writes}`);
        assert.equal(store.keys.sealer.open('session', sealed).ok, true);
      }
    };
    const loaded = load();
    await rotation.rotate(undefined);
    running = false;
    await loaded;
    assert.ok(writes > 0);
    const done = await rotation.rotate(0);
    assert.deepEqual([done.keys, done.retired], [1, 2]);
    assert.deepEqual(store.keys.sealer.open('session', sealed), { ok: false, error: 'unknown_key' });
    const kept = await store.db.selectFrom('data_keys').select('wrapped').where('number', '<', 2).execute();
    assert.ok(kept.every(({ wrapped }) => wrapped === null));
    const told = await store.db
      .selectFrom('audit_events')
      .selectAll()
      .where('event', '=', 'keys.retired')
      .execute();
    assert.equal((JSON.parse(told[0]!.detail ?? '{}') as { keys: string[] }).keys.length, 2);
  });

  it('forgets no key that something unreadable lies under', async (test) => {
    const { resources, rotation, store } = await started(make, test);
    await resources.put(secret('a', { k: 'one', l: 'two' }));
    await store.db.updateTable('secret_values').set({ sealed: 'x' }).where('name', '=', 'k').execute();
    await assert.rejects(
      rotation.rotate(0),
      /no key was forgotten: some secrets cannot be opened, sec_\w+\/k first/,
    );
    assert.equal(store.keys.keys.length, 2);
  });

  it('is gone on with by the next start', async (test) => {
    const database = await make();
    test.after(() => database.dispose());
    const { store, dataDir } = await database.open();
    const first = await openResources({ store, dataDir });
    await first.put(secret('a', { k: 'one' }));
    await first.put(using('s', 'a.k'));
    await first.close();
    const row = () => store.db.selectFrom('secret_values').select('key_id').executeTakeFirstOrThrow();
    const { key_id: old } = await row();
    // As an end of the process leaves it between the new key and the values: it seals, and nothing lies under it.
    await store.keys.rotate();
    assert.equal((await row()).key_id, old);
    const again = await openRooms({ store, dataDir });
    assert.equal(given(again.resources, 's'), 'one');
    await again.close();
    assert.equal((await row()).key_id, store.keys.sealer.keyId);
    assert.notEqual(store.keys.sealer.keyId, old);
  });
});
