import assert from 'node:assert/strict';
import { it } from 'node:test';
import { onEachDatabase } from '../../test/support/databases.ts';
import { WantedScopes } from './wanted-scopes.ts';

onEachDatabase('the scopes that a server wants besides', (make) => {
  async function opened() {
    const database = await make();
    const { store } = await database.open();
    return { scopes: new WantedScopes(store), database };
  }
  const key = { server: 'server-uid', owner: '' };

  it('are kept with those that a token had, for each owner alone, until somebody signs out', async (test) => {
    const { scopes, database } = await opened();
    test.after(() => database.dispose());
    const other = { ...key, owner: 'ann@example.com' };
    assert.equal(await scopes.of(key), undefined);
    assert.equal(await scopes.want(key, 'base', ['write']), true);
    assert.equal(await scopes.want(key, 'base', ['admin']), true);
    assert.equal(await scopes.of(key), 'base write admin');
    assert.equal(await scopes.of(other), undefined);
    await scopes.forget(key);
    assert.equal(await scopes.of(key), undefined);
  });

  it('are asked for at three sign-ins, and others count anew', async (test) => {
    const { scopes, database } = await opened();
    test.after(() => database.dispose());
    const answers: boolean[] = [];
    for (let signIns = 1; signIns <= 4; signIns += 1) {
      answers.push(await scopes.want(key, 'base', ['write']));
      await scopes.signedIn(key);
    }
    assert.deepEqual(answers, [true, true, false, false]);
    assert.equal(await scopes.want(key, 'base', ['admin']), true);
  });

  it('are so many and no more', async (test) => {
    const { scopes, database } = await opened();
    test.after(() => database.dispose());
    const many = Array.from({ length: 100 }, (_, index) => `s${index}`);
    assert.equal(await scopes.want(key, undefined, many), true);
    assert.equal(await scopes.want(key, undefined, ['one-more']), false);
    assert.equal((await scopes.of(key))?.split(' ').length, 100);
  });
});
