import assert from 'node:assert/strict';
import { test } from 'node:test';
import { openAudit, sqliteDatabase } from '../../test/support/databases.ts';
import { CountedEvents } from './counted-events.ts';
import { Denials } from './denials.ts';
import { queryEvents } from './query.ts';

async function rowsAfter(flood: (counted: CountedEvents) => void, event: string) {
  const database = await sqliteDatabase();
  try {
    const opened = await database.open();
    const audit = await openAudit(opened);
    const counted = new CountedEvents(audit);
    flood(counted);
    counted.close();
    await audit.close();
    const query = { filter: { event }, order: 'oldest', limit: 2_000 } as const;
    return (await queryEvents(opened.store.db, query)).items;
  } finally {
    await database.dispose();
  }
}

const alice = { kind: 'user', user: 'alice@example.com' } as const;

test('the first of a kind are rows, and all others of its minute are counted into one', async () => {
  const rows = await rowsAfter((counted) => {
    for (let at = 0; at < 5_000; at += 1) {
      const detail = { session: `s${at}` };
      const event = {
        event: 'session.started',
        outcome: 'ok',
        actor: alice,
        project: 'demo',
        detail,
      } as const;
      counted.note({ event, kind: 'alice', source: 'alice', rows: 20 });
    }
  }, 'session.started');
  assert.equal(rows.length, 21);
  assert.deepEqual(rows[19]!.detail, { session: 's19' });
  assert.equal((rows[20]!.detail as { count: number }).count, 4_980);
});

test('whoever varies what they do has few rows all the same, and takes none from others', async () => {
  const rows = await rowsAfter((counted) => {
    const denials = new Denials(counted);
    const deny = (actor: typeof alice | { kind: 'user'; user: string }, reason: string) =>
      denials.note({ event: 'api.refused', actor, address: '192.0.2.1', reason });
    for (let at = 0; at < 5_000; at += 1)
      deny(alice, `you do not have role:edit,resource:servers,name:s${at}`);
    deny({ kind: 'user', user: 'bob@example.com' }, 'no');
  }, 'api.refused');
  const mine = rows.filter(({ user }) => user === alice.user);
  assert.equal(mine.length, 21);
  const { count, reason } = mine.at(-1)!.detail as { count: number; reason: string };
  assert.deepEqual([count, reason], [4_980, 'too many kinds to tell apart']);
  assert.equal(rows.length, 22);
});

test('strangers from everywhere are counted as one', async () => {
  const rows = await rowsAfter((counted) => {
    const denials = new Denials(counted);
    for (let at = 0; at < 5_000; at += 1) {
      const address = `2001:db8:0:${at.toString(16)}::/64`;
      denials.note({ event: 'auth.failed', actor: { kind: 'stranger' }, address, reason: 'unknown' });
    }
  }, 'auth.failed');
  const others = rows.filter(({ address }) => address === 'others');
  assert.deepEqual([rows.length, others.length], [1_001, 1]);
  assert.equal((others[0]!.detail as { count: number }).count, 4_000);
});
