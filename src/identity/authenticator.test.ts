import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { sql } from 'kysely';
import { postgresDatabase, postgresMissing } from '../../test/support/databases.ts';
import { openIdentity } from '../../test/support/identity.ts';
import { Authenticator } from './authenticator.ts';
import { localAdminCaller, openLocalAdmin } from './local-admin.ts';

describe('authenticator', () => {
  it('lets nobody in by rights of which it cannot tell whether they still hold', async (test) => {
    const missing = await postgresMissing();
    if (missing !== undefined && process.env.CI !== 'true') return test.skip(`no PostgreSQL: ${missing}`);
    const database = await postgresDatabase();
    test.after(() => database.dispose());
    const { dataDir, store } = await database.open();
    const identity = await openIdentity({ store, dataDir }, database.logger);
    test.after(() => identity.close());
    const { tokens, authorizer, resources } = identity;
    const admin = await openLocalAdmin(dataDir, database.logger);
    const authenticator = new Authenticator(tokens, tokens, admin, authorizer, resources);
    const project = { name: 'demo', uid: 'u' };
    const creator = localAdminCaller();
    const wanted = { name: 'a', project, creator, surfaces: ['consumer'], rbac: 'clone', expiresAt: null };
    const { raw } = await tokens.create(wanted as Parameters<typeof tokens.create>[0]);
    assert.ok((await authenticator.authenticate(raw)).ok);

    // Tokens can be read all the while, and what grants their rights cannot.
    await sql`alter table resources rename to resources_away`.execute(store.db);
    const until = Date.now() + 10_000;
    while (resources.isCurrent) {
      assert.ok(Date.now() < until, 'noticed in five seconds');
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
    assert.equal(authenticator.peek(raw), undefined);
    await assert.rejects(authenticator.authenticate(raw), /changes of the configuration cannot be read/);
    await sql`alter table resources_away rename to resources`.execute(store.db);
    assert.ok((await authenticator.authenticate(raw)).ok);
  });
});
