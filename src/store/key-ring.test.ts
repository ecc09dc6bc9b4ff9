import assert from 'node:assert/strict';
import { it } from 'node:test';
import { onEachDatabase, type TestDatabase } from '../../test/support/databases.ts';
import { keyIdOf } from '../base/seal.ts';

type Process = Awaited<ReturnType<TestDatabase['open']>>;

onEachDatabase('the ring of keys', (make) => {
  it('begins with the master key, which the database never holds', async (test) => {
    const database = await make();
    test.after(() => database.dispose());
    const { store, dataDir } = await database.open();
    assert.equal(store.keys.sealer, dataDir.sealer);
    assert.equal(dataDir.sealer.keyId, keyIdOf(dataDir.masterKey));
    assert.deepEqual(
      store.keys.keys.map(({ number }) => number),
      [0],
    );
  });

  it('seals with a new key once it is active, and opens what older ones sealed', async (test) => {
    const database = await make();
    test.after(() => database.dispose());
    const first = await database.open();
    const { keys } = first.store;
    const before = keys.sealer.seal('test', 'kept', 'of a caller');
    let told = 0;
    keys.onCurrent(() => {
      told += 1;
    });
    await Promise.all([keys.rotate(), keys.rotate()]);
    assert.equal(told, keys.keys.length - 1);
    const after = keys.sealer.seal('test', 'new', 'of a caller');
    assert.notEqual(after.slice(0, 6), before.slice(0, 6));
    const again = database.name === 'SQLite' ? await reopened(database, first) : await database.open();
    for (const { sealer } of [again.store.keys]) {
      assert.deepEqual(sealer.open('test', before, 'of a caller'), { ok: true, value: 'kept' });
      assert.deepEqual(sealer.open('test', after, 'of a caller'), { ok: true, value: 'new' });
      assert.equal(sealer.open('test', after, 'of another').ok, false);
    }
  });

  it('forgets retired keys, and the master key as a sealing one with them', async (test) => {
    const database = await make();
    test.after(() => database.dispose());
    const first = await database.open();
    const { keys } = first.store;
    const before = keys.sealer.seal('test', 'gone');
    await keys.rotate();
    const [old] = keys.keys;
    assert.ok(old?.supersededAt);
    await first.store.db.transaction().execute((transaction) => keys.retireIn(transaction, [old]));
    await keys.refresh();
    assert.deepEqual(keys.sealer.open('test', before), { ok: false, error: 'unknown_key' });
    const kept = keys.sealer.seal('test', 'kept');
    const again = database.name === 'SQLite' ? await reopened(database, first) : await database.open();
    assert.deepEqual(again.store.keys.sealer.open('test', kept), { ok: true, value: 'kept' });
    assert.deepEqual(again.store.keys.sealer.open('test', before), { ok: false, error: 'unknown_key' });
  });

  it('refuses a wrapped key that was altered', async (test) => {
    const database = await make();
    test.after(() => database.dispose());
    const first = await database.open();
    const { keys, db } = first.store;
    await keys.rotate();
    const wrapped = keys.sealer.seal('data-key', 'not under the master key', '1');
    await db.updateTable('data_keys').set({ wrapped }).where('number', '=', 1).execute();
    const again = database.name === 'SQLite' ? reopened(database, first) : database.open();
    await assert.rejects(again, /key 1 in the database was altered; restore it from a backup/);
  });

  it('is known to every process before a new key seals', async (test) => {
    const database = await make();
    test.after(() => database.dispose());
    if (database.name === 'SQLite') return test.skip('a SQLite file serves one process');
    const [one, two] = [await database.open(), await database.open()];
    const rotated = one.store.keys.rotate();
    let sealed = 0;
    let running = true;
    const used = rotated.finally(() => {
      running = false;
    });
    while (running) {
      for (const [from, to] of [
        [one, two],
        [two, one],
      ] as const) {
        const text = from.store.keys.sealer.seal('test', 'x');
        assert.deepEqual(to.store.keys.sealer.open('test', text), { ok: true, value: 'x' });
      }
      sealed += 1;
      await new Promise(setImmediate);
    }
    await used;
    assert.ok(sealed > 100);
    const fresh = one.store.keys.sealer.seal('test', 'fresh');
    assert.deepEqual(two.store.keys.sealer.open('test', fresh), { ok: true, value: 'fresh' });
    await two.store.keys.refresh();
    assert.equal(two.store.keys.sealer.keyId, one.store.keys.sealer.keyId);
  });
});

async function reopened(database: TestDatabase, before: Process): Promise<Process> {
  await before.close();
  return database.open();
}
