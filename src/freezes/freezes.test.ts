import assert from 'node:assert/strict';
import { it } from 'node:test';
import { onEachDatabase } from '../../test/support/databases.ts';
import { eventually } from '../../test/support/processes.ts';
import { Freezes } from './freezes.ts';

onEachDatabase('freezes', (make) => {
  const demo = { scope: 'demo', reason: 'strange', by: 'User:admin', at: 1_700_000_000_000 };

  it('stop one project or all, survive a restart, and end', async () => {
    await using database = Object.assign(await make(), { [Symbol.asyncDispose]: () => database.dispose() });
    const { logger } = database;
    const first = await database.open();
    const freezes = await Freezes.open({ store: first.store, logger });
    assert.equal(freezes.of('demo'), undefined);
    await freezes.freeze(demo);
    assert.deepEqual(freezes.of('demo'), demo);
    assert.equal(freezes.of('other'), undefined);
    await freezes.freeze({ ...demo, reason: 'stranger' });
    await freezes.freeze({ ...demo, scope: '*', reason: 'all' });
    assert.equal(freezes.of('other')?.reason, 'all');
    await freezes.close();
    await first.close();

    const second = await database.open();
    const again = await Freezes.open({ store: second.store, logger });
    assert.deepEqual(
      again.list().map(({ scope, reason }) => [scope, reason]),
      [
        ['*', 'all'],
        ['demo', 'stranger'],
      ],
    );
    await again.thaw('*');
    await again.thaw('demo');
    await again.thaw('demo');
    assert.deepEqual(again.list(), []);
    await again.close();
  });

  it('do not happen when what belongs to them fails', async () => {
    await using database = Object.assign(await make(), { [Symbol.asyncDispose]: () => database.dispose() });
    const { store } = await database.open();
    const freezes = await Freezes.open({ store, logger: database.logger });
    const broken = () => Promise.reject(new Error('no audit'));
    await assert.rejects(freezes.freeze(demo, broken), /no audit/);
    assert.equal(freezes.of('demo'), undefined);
    await freezes.freeze(demo);
    await assert.rejects(freezes.thaw('demo', broken), /no audit/);
    await freezes.refresh();
    assert.equal(freezes.of('demo')?.reason, 'strange');
    await freezes.close();
  });

  it('of another process act within five seconds', async (t) => {
    await using database = Object.assign(await make(), { [Symbol.asyncDispose]: () => database.dispose() });
    if (database.name === 'SQLite') return t.skip('a SQLite file serves one process');
    const [a, b] = [await database.open(), await database.open()];
    const here = await Freezes.open({ store: a.store, logger: database.logger });
    const there = await Freezes.open({ store: b.store, logger: database.logger });
    await here.freeze(demo);
    await eventually('the other process has it', () => there.of('demo') !== undefined, 5_000);
    await here.thaw('demo');
    await eventually('the other process lets go', () => there.of('demo') === undefined, 5_000);
    await here.close();
    await there.close();
  });
});
