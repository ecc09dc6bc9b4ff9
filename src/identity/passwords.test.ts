import assert from 'node:assert/strict';
import { it } from 'node:test';
import { onEachDatabase, openAudit, type TestDatabase } from '../../test/support/databases.ts';
import { type Identity, openIdentity, userCaller, userWith } from '../../test/support/identity.ts';
import type { Store } from '../store/database.ts';
import { BrowserSessions, type Proof } from './browser-sessions.ts';
import { Passwords } from './passwords.ts';

const START = Date.parse('2026-06-15T12:00:00Z');
const ALICE = 'alice@example.com';
const GOOD = 'correct horse battery';
const FROM = { address: '192.0.2.1', agent: 'test' };
const HOUR = 3_600_000;

type Scene = {
  passwords: Passwords;
  sessions: BrowserSessions;
  identity: Identity;
  store: Store;
  pass(ms: number): void;
  proof(): Proof;
  alice(): ReturnType<Identity['authorizer']['rights']>['access']['users'] extends ReadonlyMap<
    string,
    infer U
  >
    ? U
    : never;
};

async function scene(
  make: () => Promise<TestDatabase>,
  play: (scene: Scene) => Promise<void>,
): Promise<void> {
  const database = await make();
  let identity: Identity | undefined;
  try {
    const opened = await database.open();
    let now = START;
    identity = await openIdentity(opened, database.logger, { now: () => now });
    const { authorizer } = identity;
    await userWith(identity, ALICE, []);
    const audit = await openAudit(opened);
    const options = { store: opened.store, audit, authorizer, now: () => now };
    await play({
      passwords: new Passwords(options),
      sessions: new BrowserSessions(options),
      identity,
      store: opened.store,
      pass: (ms) => {
        now += ms;
      },
      proof: () => ({ method: 'password', at: now }),
      alice: () => authorizer.rights().access.users.get(ALICE)!,
    });
    await audit.close();
  } finally {
    await identity?.close();
    await database.dispose();
  }
}

onEachDatabase('passwords', (make) => {
  it('are set by a link, once, and then open their account alone', () =>
    scene(make, async ({ passwords, store, alice }) => {
      assert.equal(await passwords.verify(ALICE, GOOD), undefined);
      const { code, expiresAt } = await passwords.link(userCaller('admin'), ALICE);
      assert.equal(expiresAt, START + 24 * HOUR);
      assert.equal((await passwords.linkedUser(code))?.name, ALICE);
      const both = await Promise.all([passwords.redeem(code, GOOD), passwords.redeem(code, `${GOOD} two`)]);
      assert.equal(both.filter((user) => user?.name === ALICE).length, 1, 'one of two has it');
      const won = both[0] ? GOOD : `${GOOD} two`;
      assert.equal((await passwords.verify(ALICE, won))?.uid, alice().uid);
      for (const [email, password] of [
        [ALICE, 'wrong horse battery'],
        ['admin', won],
        ['nobody@example.com', won],
        [ALICE, ''],
      ] as const)
        assert.equal(await passwords.verify(email, password), undefined, email);
      assert.equal(await passwords.redeem(code, GOOD), undefined, 'the link is used up');
      const kept = JSON.stringify([
        await store.db.selectFrom('passwords').selectAll().execute(),
        await store.db.selectFrom('password_links').selectAll().execute(),
        await store.db.selectFrom('audit_events').selectAll().execute(),
      ]);
      assert.match(kept, /\$argon2id\$v=19\$m=65536,t=2,p=1\$/);
      assert.ok(kept.includes('password.link') && kept.includes('password.set'));
      assert.ok(!kept.includes(won) && !kept.includes(code.slice(8)), 'neither is in any column');
    }));

  it('take the same letters however a keyboard writes them', () =>
    scene(make, async ({ passwords }) => {
      const { code } = await passwords.link(userCaller('admin'), ALICE);
      await passwords.redeem(code, 'Schlüssel zum Türschloß'.normalize('NFD'));
      assert.ok(await passwords.verify(ALICE, 'Schlüssel zum Türschloß'.normalize('NFC')));
    }));

  it('that are weak are refused with the reason, and the link stays', () =>
    scene(make, async ({ passwords }) => {
      const { code } = await passwords.link(userCaller('admin'), ALICE);
      for (const [password, reason] of [
        ['short', /at least 12 characters/],
        ['x'.repeat(1_000_000), /at most 256/],
        ['abababababababab', /different/],
        [`my ${ALICE} password`, /e-mail address/],
      ] as const)
        await assert.rejects(passwords.redeem(code, password), reason);
      assert.ok(await passwords.redeem(code, GOOD));
    }));

  it('links expire, and a new one replaces the one before', () =>
    scene(make, async ({ passwords, pass }) => {
      const first = await passwords.link(userCaller('admin'), ALICE);
      const second = await passwords.link(userCaller('admin'), ALICE);
      assert.equal(await passwords.linkedUser(first.code), undefined);
      assert.ok(await passwords.linkedUser(second.code));
      pass(24 * HOUR);
      assert.equal(await passwords.linkedUser(second.code), undefined);
      assert.equal(await passwords.redeem(second.code, GOOD), undefined);
      for (const text of ['', 'x', `${second.code}x`, 'x'.repeat(100_000)])
        assert.equal(await passwords.linkedUser(text), undefined);
    }));

  it('the first link is made once, and not for whoever has a password', () =>
    scene(make, async ({ passwords, pass }) => {
      const made = await Promise.all([passwords.firstLink('admin'), passwords.firstLink('admin')]);
      assert.equal(made.filter(Boolean).length, 1);
      pass(48 * HOUR);
      assert.equal(await passwords.firstLink('admin'), undefined, 'an expired one is replaced by hand');
      const { code } = await passwords.link(userCaller('admin'), ALICE);
      await passwords.redeem(code, GOOD);
      assert.equal(await passwords.firstLink(ALICE), undefined);
      assert.equal(await passwords.firstLink('nobody@example.com'), undefined);
    }));

  it('links are made in person, by somebody who may do whatever the user may', () =>
    scene(make, async ({ passwords, identity }) => {
      await userWith(identity, 'clerk@example.com', [{ role: 'edit', resource: 'users' }]);
      const clerk = userCaller('clerk@example.com');
      await assert.rejects(passwords.link(clerk, 'admin'), /you do not have role:admin/);
      const { code } = await passwords.link(clerk, ALICE);
      await passwords.redeem(code, GOOD);
      await assert.rejects(passwords.link(clerk, ALICE), /action:impersonate, which taking the password/);
      const own = await passwords.link(clerk, clerk.owner);
      await passwords.redeem(own.code, GOOD);
      assert.ok(await passwords.link(clerk, clerk.owner), 'it is their own');
      assert.ok(await passwords.link(userCaller('admin'), ALICE));
      const { raw } = await identity.tokens.create({
        name: 'agent',
        project: { name: 'demo', uid: 'prj_1' },
        creator: userCaller('admin'),
        surfaces: ['consumer'],
        rbac: 'clone',
        expiresAt: null,
      });
      const token = await identity.tokens.authenticate(raw);
      assert.ok(token.ok);
      await assert.rejects(passwords.link(token.value, ALICE), /in person/);
      await assert.rejects(passwords.link(userCaller('admin'), 'gone@example.com'), /no active user/);
    }));

  it('go with their user, and what is disabled opens nothing', () =>
    scene(make, async ({ passwords, sessions, identity, store, alice, proof }) => {
      const { code } = await passwords.link(userCaller('admin'), ALICE);
      await passwords.redeem(code, GOOD);
      const { cookie } = await sessions.open(alice(), proof(), FROM);
      await identity.resources.put({ kind: 'User', metadata: { name: ALICE }, spec: { disabled: true } });
      assert.equal(await passwords.verify(ALICE, GOOD), undefined);
      assert.equal(await sessions.find(cookie), undefined);
      const object = identity.resources.get('User', ALICE)!;
      await identity.objects.remove(userCaller('admin'), 'User', object, {});
      await identity.resources.put({ kind: 'User', metadata: { name: ALICE }, spec: {} });
      assert.equal(await passwords.verify(ALICE, GOOD), undefined, 'a namesake inherits nothing');
      for (const table of ['passwords', 'password_links', 'browser_sessions'] as const)
        assert.deepEqual(await store.db.selectFrom(table).selectAll().execute(), []);
    }));
});

onEachDatabase('sessions of browsers', (make) => {
  it('are found by their cookie, which the database does not have', () =>
    scene(make, async ({ sessions, store, alice, proof }) => {
      const { cookie, session } = await sessions.open(alice(), proof(), FROM);
      const found = await sessions.find(cookie);
      assert.deepEqual(found, session);
      assert.equal(found?.email, ALICE);
      assert.equal(found?.provenAt, START);
      assert.equal(found?.caller.principal, `User:${ALICE}`);
      const kept = JSON.stringify(await store.db.selectFrom('browser_sessions').selectAll().execute());
      assert.ok(!kept.includes(cookie.slice(8, 40)));
    }));

  it('are not looked up for a cookie that was made up', () =>
    scene(make, async ({ sessions, store, alice, proof }) => {
      const { cookie } = await sessions.open(alice(), proof(), FROM);
      await store.close();
      const [secret = '', signature = ''] = cookie.split('.');
      const other = signature.replace(/^./, (first) => (first === '0' ? '1' : '0'));
      for (const text of [
        '',
        '.',
        secret,
        `${secret}.`,
        `${secret}.${other}`,
        `${cookie}.`,
        'x'.repeat(1_000_000),
      ])
        assert.equal(await sessions.find(text), undefined, text.slice(0, 80));
    }));

  it('end when nobody uses them, at last in any case, and when they are ended', () =>
    scene(make, async ({ sessions, pass, alice, proof }) => {
      const idle = await sessions.open(alice(), proof(), FROM);
      pass(12 * HOUR);
      assert.equal(await sessions.find(idle.cookie), undefined);
      const used = await sessions.open(alice(), proof(), FROM);
      for (let hours = 0; hours < 7 * 24 - 6; hours += 6) {
        pass(6 * HOUR);
        assert.ok(await sessions.find(used.cookie), `after ${hours} hours`);
      }
      pass(6 * HOUR);
      assert.equal(await sessions.find(used.cookie), undefined);
      const ended = await sessions.open(alice(), proof(), FROM);
      assert.equal(await sessions.end(alice(), ended.session.id), true);
      assert.equal(await sessions.end(alice(), ended.session.id), false);
      assert.equal(await sessions.find(ended.cookie), undefined);
    }));

  it('get another cookie when the person is proven anew, or may do something else', () =>
    scene(make, async ({ sessions, identity, pass, alice, proof }) => {
      const first = await sessions.open(alice(), proof(), FROM);
      pass(HOUR);
      const proven = await sessions.rotate(first.session, proof());
      assert.ok(proven);
      assert.equal(proven.session.provenAt, START + HOUR);
      assert.equal(proven.session.id, first.session.id);
      assert.equal(await sessions.find(first.cookie), undefined);
      assert.equal((await sessions.find(proven.cookie))?.outdated, false);
      await identity.resources.put({
        kind: 'Rbac',
        metadata: { name: 'alice' },
        spec: { subjects: [{ kind: 'User', name: ALICE }], roleBindings: [{ action: 'logs' }] },
      });
      const outdated = await sessions.find(proven.cookie);
      assert.equal(outdated?.outdated, true);
      pass(1_000);
      const renewed = await sessions.rotate(outdated!);
      assert.equal(renewed?.session.outdated, false);
      assert.equal(renewed?.session.provenAt, START + HOUR, 'nobody was proven by that');
      await sessions.end(alice(), first.session.id);
      assert.equal(await sessions.rotate(renewed!.session), undefined);
    }));

  it('end with a new password, but for the one in which it was set', () =>
    scene(make, async ({ sessions, passwords, alice, proof }) => {
      const own = await sessions.open(alice(), proof(), FROM);
      const other = await sessions.open(alice(), proof(), FROM);
      await passwords.change(alice(), GOOD, own.session.id);
      assert.ok(await sessions.find(own.cookie));
      assert.equal(await sessions.find(other.cookie), undefined);
      const { code } = await passwords.link(userCaller('admin'), ALICE);
      await passwords.redeem(code, `${GOOD} two`);
      assert.equal(await sessions.find(own.cookie), undefined);
    }));

  it('are fifty a person at most', () =>
    scene(make, async ({ sessions, pass, alice, proof }) => {
      const first = await sessions.open(alice(), proof(), FROM);
      for (let count = 0; count < 50; count += 1) {
        pass(1);
        await sessions.open(alice(), proof(), FROM);
      }
      assert.equal((await sessions.list(alice())).length, 50);
      assert.equal(await sessions.find(first.cookie), undefined);
    }));

  it('know the browser of a user again, and nobody else’s', () =>
    scene(make, async ({ sessions, alice }) => {
      const known = sessions.knownBrowser(alice());
      assert.ok(sessions.familiar(known, ALICE));
      assert.equal(sessions.familiar(known, 'admin'), undefined);
      assert.equal(sessions.familiar(known.replace(/.$/, '-'), ALICE), undefined);
      assert.equal(sessions.familiar('', ALICE), undefined);
    }));
});
