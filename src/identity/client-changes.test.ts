import assert from 'node:assert/strict';
import { it } from 'node:test';
import { onEachDatabase, type TestDatabase } from '../../test/support/databases.ts';
import { grant, type Identity, openIdentity, userCaller, userWith } from '../../test/support/identity.ts';
import type { Refusal } from '../base/errors.ts';
import { sha256Hex } from '../base/ids.ts';
import { parseBinding } from '../resources/bindings.ts';
import type { Store } from '../store/database.ts';
import type { AuthenticatedCaller } from './caller.ts';
import { clientSecrets } from './client-secrets.ts';
import { actsForUser } from './client-sponsors.ts';

const NOW = { dryRun: false };
const ADMIN = userCaller('admin');
const HOUR = 3_600_000;

const client = (name: string, spec: object = {}) => ({ kind: 'OAuthClient', metadata: { name }, spec });
const headless = (user: string, more: object = {}) => ({
  user,
  project: 'demo',
  redirectUris: ['https://bot.example/callback'],
  ...more,
});
const bindings = (...texts: string[]) => texts.map((text) => parseBinding(text, 'x'));
const refusedAs = (kind: Refusal['kind'], message: RegExp) => (error: Error & { kind?: string }) => {
  assert.match(error.message, message);
  return error.kind === kind;
};

type Scene = Identity & {
  store: Store;
  put(by: AuthenticatedCaller, body: object): ReturnType<Identity['objects']['put']>;
  secretsOf(name: string): ReturnType<typeof clientSecrets>;
  mayAct(name: string): Promise<boolean>;
};

async function scene(
  make: () => Promise<TestDatabase>,
  play: (scene: Scene) => Promise<void>,
): Promise<void> {
  const database = await make();
  const opened = await database.open();
  const identity = await openIdentity(opened, database.logger);
  const { objects, resources, authorizer } = identity;
  const { db } = opened.store;
  const uidOf = (name: string) => resources.get('OAuthClient', name)!.metadata.uid;
  try {
    await objects.put(ADMIN, { kind: 'Project', metadata: { name: 'demo' }, spec: {} }, NOW);
    await play({
      ...identity,
      store: opened.store,
      put: (by, body) => objects.put(by, body, NOW),
      secretsOf: (name) => clientSecrets(db, uidOf(name), Date.now()),
      mayAct: (name) => actsForUser(db, authorizer.rights(), resources.get('OAuthClient', name)!),
    });
  } finally {
    await identity.close();
    await database.dispose();
  }
}

onEachDatabase('OAuth clients', (make) => {
  it('get a secret once, of which a hash is kept', () =>
    scene(make, async ({ put, secretsOf }) => {
      const { secret, object } = await put(ADMIN, client('bot'));
      assert.match(secret ?? '', /^cst_cs_[0-9A-Za-z]{49}$/);
      assert.doesNotMatch(JSON.stringify(object), /cst_cs_/);
      const [row, ...more] = await secretsOf('bot');
      assert.deepEqual([row?.hash, row?.prefix, more], [sha256Hex(secret!), secret!.slice(0, 16), []]);
      const again = await put(ADMIN, client('bot', { displayName: 'Bot' }));
      assert.deepEqual([again.action, again.secret], ['configured', undefined]);
      const open = await put(ADMIN, client('desktop', { tokenEndpointAuthMethod: 'none' }));
      assert.equal(open.secret, undefined);
      const closed = await put(ADMIN, client('desktop', { tokenEndpointAuthMethod: 'post' }));
      assert.match(closed.secret ?? '', /^cst_cs_/);
    }));

  it('are given another secret, the one before going on for a while or not', () =>
    scene(make, async ({ put, objects, resources, secretsOf }) => {
      const { secret: first } = await put(ADMIN, client('bot'));
      const { uid } = resources.get('OAuthClient', 'bot')!.metadata;
      const second = await objects.rotateClient(ADMIN, uid, HOUR);
      const both = await secretsOf('bot');
      assert.deepEqual(
        new Set(both.map(({ hash }) => hash)),
        new Set([sha256Hex(first!), sha256Hex(second)]),
      );
      const old = both.find(({ hash }) => hash === sha256Hex(first!))!;
      assert.ok(Math.abs(Number(old.expires_at) - Date.now() - HOUR) < 60_000);
      for (let n = 0; n < 8; n += 1) await objects.rotateClient(ADMIN, uid, HOUR);
      assert.equal((await secretsOf('bot')).length, 5);
      const last = await objects.rotateClient(ADMIN, uid, 0);
      assert.deepEqual(
        (await secretsOf('bot')).map(({ hash }) => hash),
        [sha256Hex(last)],
      );
      await put(ADMIN, client('desktop', { tokenEndpointAuthMethod: 'none' }));
      const open = resources.get('OAuthClient', 'desktop')!.metadata.uid;
      await assert.rejects(objects.rotateClient(ADMIN, open, 0), refusedAs('conflict', /has no secret/));
    }));

  it('leave no secret to a later namesake', () =>
    scene(make, async ({ put, objects, resources, store }) => {
      await put(ADMIN, client('bot', headless('admin')));
      await objects.remove(ADMIN, 'OAuthClient', resources.get('OAuthClient', 'bot')!, NOW);
      for (const table of ['oauth_client_secrets', 'oauth_client_sponsors'] as const)
        assert.deepEqual(await store.db.selectFrom(table).selectAll().execute(), []);
    }));

  it('name a user and a project that exist, and keep neither from going', () =>
    scene(make, async ({ put, objects, resources }) => {
      await assert.rejects(
        put(ADMIN, client('bot', headless('x@example.com'))),
        refusedAs('invalid', /no user x/),
      );
      await assert.rejects(
        put(ADMIN, client('bot', { project: 'gone' })),
        refusedAs('invalid', /no project gone/),
      );
      await put(ADMIN, { kind: 'User', metadata: { name: 'bob@example.com' }, spec: {} });
      await put(ADMIN, client('bot', headless('bob@example.com', { autoApprove: true })));
      const demo = resources.get('Project', 'demo')!;
      await assert.rejects(
        objects.remove(ADMIN, 'Project', demo, NOW),
        refusedAs('conflict', /demo is named by oauthclient bot/),
      );
      await objects.remove(ADMIN, 'User', resources.get('User', 'bob@example.com')!, NOW);
      const { user, autoApprove } = resources.get('OAuthClient', 'bot')!.spec;
      assert.deepEqual([user, autoApprove], [undefined, undefined]);
    }));

  it('act for a user only when somebody who may do that says so, each time', () =>
    scene(make, async (all) => {
      const { put, mayAct, objects, resources } = all;
      const editor = ['role:edit,resource:oauthclients', 'role:create,resource:oauthclients'];
      const maker = await userWith(all, 'maker@example.com', bindings(...editor));
      const bob = 'bob@example.com';
      await userWith(all, bob, bindings('role:run,resource:tools'));
      await assert.rejects(
        put(maker, client('bot', headless(bob))),
        refusedAs('forbidden', /action:impersonate, which a client that acts for bob@example.com needs/),
      );
      // For oneself it takes nothing more, unless nobody is ever asked.
      await put(maker, client('own', headless('maker@example.com')));
      assert.equal(await mayAct('own'), true);
      await assert.rejects(
        put(maker, client('own', headless('maker@example.com', { autoApprove: true }))),
        refusedAs('forbidden', /impersonate/),
      );
      await grant(all, 'maker@example.com', bindings(...editor, 'action:impersonate'));
      await assert.rejects(
        put(maker, client('bot', headless(bob, { autoApprove: true }))),
        refusedAs('forbidden', /role:run,resource:tools yourself, which bob@example.com has/),
      );
      const enough = bindings(...editor, 'action:impersonate', 'role:run,resource:tools');
      await grant(all, 'maker@example.com', enough);
      await put(maker, client('bot', headless(bob, { autoApprove: true })));
      assert.equal(await mayAct('bot'), true);
      // Another's client is not changed into one's own way in, and its secret is not seen.
      const other = await userWith(all, 'other@example.com', bindings('role:edit,resource:oauthclients'));
      const hijacked = headless(bob, { autoApprove: true, redirectUris: ['https://evil.example/'] });
      await assert.rejects(put(other, client('bot', hijacked)), refusedAs('forbidden', /impersonate/));
      await assert.rejects(put(other, client('bot', {})), refusedAs('forbidden', /impersonate/));
      const { uid } = resources.get('OAuthClient', 'bot')!.metadata;
      await assert.rejects(objects.rotateClient(other, uid, 0), refusedAs('forbidden', /impersonate/));
      // What the one who answers for it loses, the client loses.
      await put(ADMIN, { kind: 'User', metadata: { name: 'maker@example.com' }, spec: { disabled: true } });
      assert.equal(await mayAct('bot'), false);
      await put(ADMIN, client('bot', headless(bob, { autoApprove: true, displayName: 'Bot' })));
      assert.equal(await mayAct('bot'), true);
      await put(ADMIN, { kind: 'User', metadata: { name: bob }, spec: { disabled: true } });
      assert.equal(await mayAct('bot'), false);
    }));
});
