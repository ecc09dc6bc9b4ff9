import assert from 'node:assert/strict';
import { it } from 'node:test';
import { onEachDatabase, quietLogger } from '../../test/support/databases.ts';
import { Artifacts, type NewArtifact } from './artifacts.ts';

const HOUR_MS = 3_600_000;
const NOBODY = { userUid: null, clientId: 'client', projectUid: null };

onEachDatabase('what the authorization server keeps', (make) => {
  it('stays in bounds, whatever is asked of it', async () => {
    const database = await make();
    const { store } = await database.open();
    const clock = { now: 1_000_000_000_000 };
    const artifacts = new Artifacts(store, quietLogger(), () => clock.now);
    const put = (kind: string, id: string, more: Partial<NewArtifact> = {}) => {
      clock.now += 1;
      const made = { payload: {}, grantId: undefined, userCode: undefined, party: NOBODY };
      return artifacts.put(kind, id, { ...made, expiresInMs: 100 * HOUR_MS, ...more });
    };
    const count = async (kind: string) =>
      (await store.db.selectFrom('oauth_artifacts').select('id_hash').where('kind', '=', kind).execute())
        .length;

    await put('Grant', 'crowded');
    await put('Grant', 'left');
    await put('Grant', 'used', {});
    await put('AuthorizationCode', 'short', { expiresInMs: 1, grantId: 'left' });
    await put('RefreshToken', 'unused', { grantId: 'used' });
    for (let n = 0; n < 203; n += 1) {
      await put('AccessToken', `at ${n}`, { grantId: 'crowded' });
      await put('ClientCredentials', `cc ${n}`);
      await put('RefreshToken', `rt ${n}`, { grantId: 'used' });
      await artifacts.consume('RefreshToken', `rt ${n}`);
    }
    clock.now += 2 * HOUR_MS;
    await artifacts.prune();
    assert.equal(await count('AuthorizationCode'), 0);
    assert.equal(await count('AccessToken'), 200);
    assert.equal(await count('ClientCredentials'), 200);
    assert.equal(await artifacts.find('AccessToken', 'at 0'), undefined, 'the oldest go');
    assert.ok(await artifacts.find('AccessToken', 'at 202'));
    assert.ok(await artifacts.find('RefreshToken', 'unused'), 'one that was not used yet stays');
    assert.equal(await count('RefreshToken'), 201);
    assert.equal(await artifacts.find('Grant', 'left'), undefined, 'nothing lives under it');
    assert.ok(await artifacts.find('Grant', 'used'));
    await artifacts.close();
    await database.dispose();
  });
});
