import assert from 'node:assert/strict';
import { it } from 'node:test';
import { onEachDatabase, openAudit, type TestDatabase } from '../../test/support/databases.ts';
import { type Identity, openIdentity } from '../../test/support/identity.ts';
import { type ExternalClaims, ExternalPeople } from './external-people.ts';

const ALICE: ExternalClaims = {
  issuer: 'https://login.example.com',
  subject: 'alice',
  email: 'alice@example.com',
  name: 'Alice',
  groups: ['ops'],
};

async function scene(
  make: () => Promise<TestDatabase>,
  play: (people: ExternalPeople, identity: Identity, pass: (ms: number) => void) => Promise<void>,
): Promise<void> {
  const database = await make();
  let identity: Identity | undefined;
  try {
    const opened = await database.open();
    identity = await openIdentity(opened, database.logger);
    const { resources } = identity;
    for (const name of ['oncall', 'local'])
      await resources.put({ kind: 'Group', metadata: { name }, spec: {} });
    let now = Date.parse('2026-06-15T12:00:00Z');
    const audit = await openAudit(opened);
    const groups = new Map([['ops', 'oncall']]);
    const people = new ExternalPeople({ store: opened.store, resources, audit, groups, now: () => now });
    await play(people, identity, (ms) => {
      now += ms;
    });
    await audit.close();
  } finally {
    await identity?.close();
    await database.dispose();
  }
}

onEachDatabase('people of another provider', (make) => {
  it('come back with each state once', () =>
    scene(make, async (people, _, pass) => {
      const both = await Promise.all([people.consume('state'), people.consume('state')]);
      assert.deepEqual(both.sort(), [false, true]);
      assert.equal(await people.consume('another'), true);
      pass(10 * 60_000);
      assert.equal(await people.consume('later'), true);
      assert.equal(await people.consume('state'), true, 'what has expired everywhere is not kept');
    }));

  it('become users by a mapped group, and are one user for ever', () =>
    scene(make, async (people, { resources }) => {
      assert.deepEqual(await people.resolve({ ...ALICE, groups: [] }), { ok: false, error: 'unknown' });
      const made = await people.resolve(ALICE);
      assert.ok(made.ok);
      assert.deepEqual([made.value.name, made.value.groups], ['alice@example.com', ['oncall']]);
      const renamed = await people.resolve({ ...ALICE, email: 'other@example.com' });
      assert.ok(renamed.ok && renamed.value.uid === made.value.uid);
      const usurper = await people.resolve({ ...ALICE, subject: 'mallory' });
      assert.deepEqual(usurper, { ok: false, error: 'taken' });
      const elsewhere = await people.resolve({ ...ALICE, issuer: 'https://other.example.com' });
      assert.ok(
        elsewhere.ok && elsewhere.value.uid === made.value.uid,
        'another provider names her its own way',
      );
      const { spec } = resources.get('User', 'alice@example.com')!;
      await resources.put({
        kind: 'User',
        metadata: { name: 'alice@example.com' },
        spec: { ...spec, disabled: true },
      });
      assert.deepEqual(await people.resolve(ALICE), { ok: false, error: 'disabled' });
    }));

  it('lose a mapped group at once when two of their browsers sign in', () =>
    scene(make, async (people, { resources }) => {
      await resources.put({
        kind: 'User',
        metadata: { name: ALICE.email },
        spec: { groups: ['local', 'oncall'] },
      });
      const both = await Promise.all([
        people.resolve({ ...ALICE, groups: [] }),
        people.resolve({ ...ALICE, groups: [] }),
      ]);
      for (const one of both) assert.ok(one.ok);
      assert.deepEqual(resources.get('User', 'alice@example.com')?.spec, { groups: ['local'] });
    }));
});
