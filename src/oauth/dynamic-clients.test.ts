import assert from 'node:assert/strict';
import { it } from 'node:test';
import { onEachDatabase, openAudit, type TestDatabase } from '../../test/support/databases.ts';
import { sha256Hex } from '../base/ids.ts';
import type { Store } from '../store/database.ts';
import { DynamicClients, registrationAnswer } from './dynamic-clients.ts';

const METADATA = { client_name: 'Tried', redirect_uris: ['http://127.0.0.1/callback'] };
const DAY = 86_400_000;

type Scene = { clients: DynamicClients; store: Store; wait(ms: number): void };

async function scene(
  make: () => Promise<TestDatabase>,
  play: (scene: Scene) => Promise<void>,
): Promise<void> {
  const database = await make();
  const { store, dataDir } = await database.open();
  const audit = await openAudit({ store, dataDir });
  let now = Date.now();
  const wait = (ms: number) => {
    now += ms;
  };
  try {
    await play({ clients: new DynamicClients({ store, audit, now: () => now }), store, wait });
  } finally {
    await audit.close();
    await database.dispose();
  }
}

async function registered(clients: DynamicClients, more: object = {}) {
  const made = await clients.register({ ...METADATA, ...more }, '127.0.0.1');
  assert.ok(made.ok, JSON.stringify(made));
  return made.value;
}

onEachDatabase('clients that registered themselves', (make) => {
  it('are found with what they said, and the hash of their secret', () =>
    scene(make, async ({ clients, store }) => {
      const made = await registered(clients);
      const { clientId } = made.record;
      const found = await clients.find(clientId);
      assert.deepEqual(found, made.record);
      assert.deepEqual(found?.secretHashes, [{ hash: sha256Hex(made.secret!) }]);
      const rows = await store.db.selectFrom('oauth_dynamic_clients').selectAll().execute();
      assert.ok(!JSON.stringify(rows).includes(made.secret!), 'the secret is kept nowhere');
      assert.equal(registrationAnswer(made).client_secret, made.secret);
      assert.equal(await clients.find('dcr_unknown'), undefined);
      assert.equal(await clients.find(`${clientId}x`), undefined);
      const keys = { token_endpoint_auth_method: 'private_key_jwt', jwks_uri: 'https://127.0.0.1/keys' };
      const refused = await clients.register({ ...METADATA, ...keys }, undefined);
      assert.ok(!refused.ok && refused.error !== 'full' && /give jwks/.test(refused.error.description));
    }));

  it('are forgotten after a day, unless somebody consented', () =>
    scene(make, async ({ clients, store, wait }) => {
      const used = await registered(clients);
      const unused = await registered(clients);
      await store.db
        .insertInto('oauth_grants')
        .values({
          id: 'grn_x',
          user_uid: 'usr_x',
          client_id: used.record.clientId,
          client_name: 'Tried',
          project_uid: 'prj_x',
          scopes: 'mcp',
          created_at: 0,
          updated_at: 0,
          last_used_at: null,
        })
        .execute();
      wait(DAY + 1);
      assert.ok(await clients.find(used.record.clientId));
      assert.equal(await clients.find(unused.record.clientId), undefined);
      await registered(clients);
      const rows = await store.db.selectFrom('oauth_dynamic_clients').select('client_id').execute();
      assert.equal(rows.length, 2, 'and its row is gone with the next registration');
      await store.db.deleteFrom('oauth_grants').execute();
      assert.equal(await clients.find(used.record.clientId), undefined);
    }));

  it('are so many at once that nobody uses', () =>
    scene(make, async ({ clients, store, wait }) => {
      await registered(clients);
      const [row] = await store.db.selectFrom('oauth_dynamic_clients').selectAll().execute();
      const more = Array.from({ length: 999 }, (_, n) => ({ ...row!, client_id: `dcr_${n}` }));
      await store.db.insertInto('oauth_dynamic_clients').values(more).execute();
      assert.deepEqual(await clients.register(METADATA, undefined), { ok: false, error: 'full' });
      wait(DAY + 1);
      await registered(clients);
    }));
});
