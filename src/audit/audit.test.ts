import assert from 'node:assert/strict';
import { it } from 'node:test';
import { sql } from 'kysely';
import { onEachDatabase, type TestDatabase } from '../../test/support/databases.ts';
import { Audit } from './audit.ts';
import type { AuditEvent } from './event.ts';
import { queryEvents } from './query.ts';
import { AuditRetention } from './retention.ts';
import { ToolSightings } from './sightings.ts';
import { AuditVerifier, type VerifyReport } from './verify.ts';

const CALL: AuditEvent = {
  event: 'tool.call',
  outcome: 'ok',
  actor: { kind: 'token', user: 'alice@example.com', token: 'laptop', sha: 'ab'.repeat(32) },
  project: 'demo',
  surface: 'consumer',
  server: 'github',
  tool: 'github__delete_repo',
  trace: '0af7651916cd43dd8448eb211c80319c',
  durationMs: 12.4,
};
const CHANGE: AuditEvent = {
  event: 'resource.changed',
  outcome: 'ok',
  actor: { kind: 'user', user: 'admin' },
  target: 'Server/github',
  detail: { fields: ['url'] },
};

type Opened = Awaited<ReturnType<TestDatabase['open']>> & { audit: Audit };

async function withAudit(
  make: () => Promise<TestDatabase>,
  use: (opened: Opened, another: () => Promise<Opened>) => Promise<void>,
): Promise<void> {
  const database = await make();
  const audits: Audit[] = [];
  const logger = database.logger;
  const open = async () => {
    const opened = await database.open();
    const { masterKey } = opened.dataDir;
    const audit = await Audit.open({ store: opened.store, masterKey, version: '1.2.3', logger });
    audits.push(audit);
    return { ...opened, audit };
  };
  try {
    await use(await open(), open);
  } finally {
    for (const audit of audits) await audit.close();
    await database.dispose();
  }
}

const verify = ({ store, audit }: Opened): Promise<VerifyReport> =>
  new AuditVerifier(store.background, audit.chains.keys).run();

async function calls({ audit }: Opened, count: number): Promise<string[]> {
  return Promise.all(
    Array.from({ length: count }, (_, at) => audit.intent({ ...CALL, event: 'tool.intent', durationMs: at })),
  );
}

const chainOf = (id: string) => id.split('.')[0]!;

onEachDatabase('audit', (make) => {
  it('knows who acts while they do, and not in what they set off for later', () =>
    withAudit(make, async ({ audit }) => {
      const actor = { kind: 'user', user: 'admin' } as const;
      const act = Promise.withResolvers<void>();
      let later: Promise<unknown> | undefined;
      const acting = audit.acting({ actor }, async () => {
        later = act.promise.then(() => audit.origin().actor);
        await new Promise(setImmediate);
        assert.deepEqual(audit.origin().actor, actor);
      });
      await acting;
      act.resolve();
      assert.deepEqual(await later, { kind: 'castellan' });
    }));

  it('lets what nobody waits for gather into one commit, and hurries for whoever waits', (test) =>
    withAudit(make, async (opened) => {
      const { audit } = opened;
      test.mock.timers.enable({ apis: ['setTimeout'] });
      let commits = 0;
      const committed = Promise.withResolvers<void>();
      audit.onCommit(() => {
        commits += 1;
        committed.resolve();
      });
      for (let at = 0; at < 3; at += 1) {
        audit.record({ ...CALL, durationMs: at });
        await new Promise(setImmediate);
      }
      assert.equal(commits, 0);
      test.mock.timers.tick(50);
      test.mock.timers.reset();
      await committed.promise;
      assert.equal(commits, 1);
      audit.record({ ...CALL });
      await audit.intent({ ...CALL, event: 'tool.intent' });
      assert.equal(commits, 2);
      const { rows } = (await verify(opened)) as { rows: number };
      assert.equal(rows, 2 + 5);
    }));

  it('shows what was recorded to whoever asks, however many calls go on', () =>
    withAudit(make, async (opened) => {
      const { audit, store } = opened;
      let over = false;
      const lanes = Array.from({ length: 8 }, async () => {
        while (!over) await audit.intent({ ...CALL, event: 'tool.intent' });
      });
      audit.record({ ...CALL });
      await audit.flush();
      const { items } = await queryEvents(store.background, {
        filter: { event: 'tool.call' },
        order: 'newest',
        limit: 10,
      });
      over = true;
      assert.equal(items.length, 1);
      await Promise.all(lanes);
      await audit.flush();
    }));

  it('makes an announcement durable before it says so, and links every row', () =>
    withAudit(make, async (opened) => {
      const ids = await calls(opened, 600);
      assert.equal(new Set(ids).size, 600);
      opened.audit.record({ ...CALL });
      await opened.store.db
        .transaction()
        .execute((transaction) => opened.audit.append(transaction, { ...CHANGE }));
      await opened.audit.close();
      assert.deepEqual(await verify(opened), { ok: true, chains: 2, rows: 604, findings: [], more: 0 });
      const { items } = await queryEvents(opened.store.background, {
        filter: { event: 'tool.call' },
        order: 'newest',
        limit: 10,
      });
      const [{ id: _, at, ...call }] = items as [(typeof items)[0]];
      assert.ok(Math.abs(Date.parse(at) - Date.now()) < 60_000);
      assert.deepEqual(call, {
        event: 'tool.call',
        outcome: 'ok',
        actor: 'token',
        user: 'alice@example.com',
        token: 'laptop',
        tokenSha: 'ab'.repeat(32),
        project: 'demo',
        surface: 'consumer',
        server: 'github',
        tool: 'github__delete_repo',
        trace: '0af7651916cd43dd8448eb211c80319c',
        durationMs: 12,
      });
    }));

  it('keeps a row of a change only with the change', () =>
    withAudit(make, async (opened) => {
      const failing = opened.store.db.transaction().execute(async (transaction) => {
        await opened.audit.append(transaction, { ...CHANGE });
        throw new Error('the change was undone');
      });
      await assert.rejects(failing, /undone/);
      await opened.store.db
        .transaction()
        .execute((transaction) => opened.audit.append(transaction, { ...CHANGE }, { ...CHANGE }));
      const report = await verify(opened);
      assert.deepEqual({ ok: report.ok, rows: report.rows }, { ok: true, rows: 4 });
    }));

  const damages: Record<
    string,
    { by(ids: string[], o: Opened): ReturnType<typeof sql>; says: RegExp; at?: number }
  > = {
    'a changed byte': {
      by: (ids) =>
        sql`update audit_events set tool = 'github__delete_rep0' where chain = ${chainOf(ids[0]!)} and seq = 3`,
      says: /this row was changed/,
      at: 3,
    },
    'a removed row': {
      by: (ids) => sql`delete from audit_events where chain = ${chainOf(ids[0]!)} and seq = 5`,
      says: /row 5 was removed/,
      at: 5,
    },
    'a removed first row': {
      by: (ids) => sql`delete from audit_events where chain = ${chainOf(ids[0]!)} and seq = 1`,
      says: /row 1 was removed/,
      at: 1,
    },
    'a tail that was cut off': {
      by: (ids) => sql`delete from audit_events where chain = ${chainOf(ids[0]!)} and seq > 9`,
      says: /rows 10 to 11 were cut off the end/,
      at: 10,
    },
    'all rows of a chain': {
      by: (ids) => sql`delete from audit_events where chain = ${chainOf(ids[0]!)}`,
      says: /rows 1 to 11 were cut off the end/,
      at: 1,
    },
    'two rows that changed places': {
      by: (ids) => sql`update audit_events set seq = case seq when 4 then 1006 when 6 then 1004 end
          where chain = ${chainOf(ids[0]!)} and seq in (4, 6)`,
      says: /row 4 was removed/,
      at: 4,
    },
    'an edited head': {
      by: (ids) => sql`update audit_chains set head_seq = 8 where id = ${chainOf(ids[0]!)}`,
      says: /the sealed head of the chain was changed/,
      at: 8,
    },
    'an edited checkpoint': {
      by: (ids) => sql`update audit_chains set base_seq = 2 where id = ${chainOf(ids[0]!)}`,
      says: /the checkpoint that the chain begins at was changed/,
      at: 2,
    },
    'an edited manifest': {
      by: () => sql`update audit_manifest set last_ordinal = last_ordinal - 1`,
      says: /the manifest was changed/,
    },
    'a removed manifest': { by: () => sql`delete from audit_manifest`, says: /the manifest is missing/ },
    'a row that was made up': {
      by: (
        ids,
      ) => sql`insert into audit_events select chain, 12, at, event, outcome, actor, user_name, token_name,
          token_sha, behind, address, project, surface, server, tool, target, trace, duration_ms, digest, intent, detail, hash
          from audit_events where chain = ${chainOf(ids[0]!)} and seq = 11`,
      says: /rows 12 to 12 stand behind the sealed head/,
      at: 12,
    },
    'rows of a made-up chain': {
      by: () => sql`update audit_events set chain = 'ach_x' where seq = 2`,
      says: /rows of a chain that nobody opened/,
    },
  };
  for (const [what, { by, says, at }] of Object.entries(damages)) {
    it(`finds ${what} and says where`, () =>
      withAudit(make, async (opened) => {
        const ids = await calls(opened, 10);
        assert.equal((await verify(opened)).ok, true);
        await by(ids, opened).execute(opened.store.db);
        const { ok, findings } = await verify(opened);
        assert.equal(ok, false);
        const found = findings.find(({ problem }) => says.test(problem));
        assert.ok(found, JSON.stringify(findings));
        assert.equal(found.sequence, at ?? found.sequence);
        if (at !== undefined) assert.equal(found.chain, chainOf(ids[0]!));
      }));
  }

  it('finds two swapped contents at both places', () =>
    withAudit(make, async (opened) => {
      const chain = chainOf((await calls(opened, 10))[0]!);
      const swap = sql`update audit_events set duration_ms = case seq when 4 then 4 when 6 then 2 end
        where chain = ${chain} and seq in (4, 6)`;
      await swap.execute(opened.store.db);
      const { findings } = await verify(opened);
      assert.deepEqual(
        findings.map(({ sequence }) => sequence),
        [4, 6],
      );
    }));

  it('finds a chain that was removed with everything, and goes on with another', () =>
    withAudit(make, async (opened) => {
      const ids = await calls(opened, 3);
      const chain = chainOf(ids[0]!);
      await sql`delete from audit_events where chain = ${chain}`.execute(opened.store.db);
      await sql`delete from audit_chains where id = ${chain}`.execute(opened.store.db);
      const { findings } = await verify(opened);
      assert.match(findings[0]!.problem, /chain 1 was removed with all rows/);
      const [after] = await calls(opened, 1);
      assert.notEqual(chainOf(after!), chain);
      assert.match((await verify(opened)).findings[0]!.problem, /chain 1 was removed/);
    }));

  it('finds an older head that was put back after the process ended', () =>
    withAudit(make, async (opened, another) => {
      const [first] = await calls(opened, 2);
      const chain = chainOf(first!);
      const old = await opened.store.db
        .selectFrom('audit_chains')
        .select(['head_seq', 'head_hash', 'head_seal'])
        .where('id', '=', chain)
        .executeTakeFirstOrThrow();
      await calls(opened, 2);
      let next = opened;
      if (opened.store.dialect === 'postgres') next = await another();
      else {
        const { masterKey } = opened.dataDir;
        const logger = { error() {} } as never;
        next = {
          ...opened,
          audit: await Audit.open({ store: opened.store, masterKey, version: '1', logger }),
        };
      }
      const { db } = next.store;
      await db
        .deleteFrom('audit_events')
        .where('chain', '=', chain)
        .where('seq', '>', old.head_seq)
        .execute();
      await db.updateTable('audit_chains').set(old).where('id', '=', chain).execute();
      const { findings } = await verify(next);
      assert.match(findings[0]!.problem, /row 5 is not what it was when chain 3 was opened/);
    }));

  it('notes a manifest that did not hold when a chain was opened', () =>
    withAudit(make, async (opened) => {
      await opened.store.db.deleteFrom('audit_manifest').execute();
      await opened.audit.chains.open('calls', '1');
      const { findings } = await verify(opened);
      assert.match(findings[0]!.problem, /when this chain was opened, the manifest was missing/);
    }));

  it('refuses a change when its chain is not as it was left, and recovers', () =>
    withAudit(make, async (opened) => {
      const { store, audit } = opened;
      const change = () =>
        store.db.transaction().execute((transaction) => audit.append(transaction, { ...CHANGE }));
      await change();
      await sql`update audit_chains set head_seq = head_seq - 1 where kind = 'changes'`.execute(store.db);
      await assert.rejects(change(), /the audit cannot be written now/);
      for (let tries = 0; ; tries += 1) {
        if (
          await change().then(
            () => true,
            () => tries > 100,
          )
        )
          break;
        await new Promise(setImmediate);
      }
      await change();
      assert.match((await verify(opened)).findings[0]!.problem, /the sealed head of the chain was changed/);
    }));

  it('pages through events by any field', () =>
    withAudit(make, async ({ store, audit }) => {
      for (let at = 0; at < 25; at += 1) {
        audit.record({ ...CALL, at: 1_000 + Math.floor(at / 3), outcome: at % 2 ? 'ok' : 'refused' });
      }
      await audit.close();
      for (const order of ['newest', 'oldest'] as const) {
        const seen: string[] = [];
        let cursor: string | undefined;
        do {
          const page = await queryEvents(store.background, {
            filter: { outcome: 'refused', tool: 'github__*', tokenSha: 'ab'.repeat(32) },
            until: 1_008,
            order,
            limit: 4,
            cursor,
          });
          seen.push(...page.items.map(({ id }) => id));
          cursor = page.next;
        } while (cursor !== undefined);
        assert.equal(seen.length, 12);
        assert.equal(new Set(seen).size, 12);
      }
      await assert.rejects(
        queryEvents(store.background, { filter: {}, order: 'newest', limit: 1, cursor: 'x' }),
        /cursor: is none/,
      );
    }));

  it('forgets what is old, behind a signed checkpoint', () =>
    withAudit(make, async (opened) => {
      const { store, audit } = opened;
      for (let at = 0; at < 20; at += 1) audit.record({ ...CALL, at: 1_000 + at });
      await calls(opened, 1);
      const retention = new AuditRetention({ store, audit, keepMs: 60_000, logger: { warn() {} } as never });
      const removed = await retention.prune(Date.now() + 30_000);
      // The opening row is not old yet, and what is behind it stays with it.
      assert.equal(removed, 0);
      const later = await retention.prune(Date.now() + 120_000);
      assert.ok(later >= 22, String(later));
      assert.equal((await verify(opened)).ok, true);
      await calls(opened, 1);
      assert.equal((await verify(opened)).ok, true);
      await sql`update audit_chains set base_seq = base_seq - 1 where kind = 'calls'`.execute(store.db);
      assert.equal((await verify(opened)).ok, false);
      await retention.close();
    }));

  it('drops the chains of processes that ended long ago', () =>
    withAudit(make, async (opened) => {
      const { store, audit } = opened;
      await audit.close();
      const { masterKey } = opened.dataDir;
      const logger = { error() {}, warn() {}, info() {} } as never;
      const later = await Audit.open({ store, masterKey, version: '1', logger });
      const retention = new AuditRetention({ store, audit: later, keepMs: 1, logger });
      await retention.prune(Date.now() + 60_000);
      await retention.prune(Date.now() + 120_000);
      const chains = await store.db.selectFrom('audit_chains').select('ordinal').orderBy('ordinal').execute();
      assert.deepEqual(
        chains.map(({ ordinal }) => ordinal),
        [3, 4],
      );
      assert.equal((await new AuditVerifier(store.db, later.chains.keys).run()).ok, true);
      await retention.close();
      await later.close();
    }));

  it('tells once of a tool that appears, changes or disappears', () =>
    withAudit(make, async ({ store, audit }) => {
      const told = async () =>
        (
          await queryEvents(store.background, { filter: { event: 'tool.*' }, order: 'oldest', limit: 100 })
        ).items.map(({ event, tool }) => `${event} ${tool}`);
      const note = (tools: Record<string, string>) =>
        new ToolSightings(store, audit).note('s', new Map(Object.entries(tools)), (tool) => ({
          canonical: `s__${tool}`,
          flags: [],
        }));
      await note({ a: '1', b: '1' });
      await note({ a: '1', b: '1' });
      assert.deepEqual(await told(), ['tool.appeared s__a', 'tool.appeared s__b']);
      await note({ a: '2', c: '1' });
      assert.deepEqual((await told()).slice(2).sort(), [
        'tool.appeared s__c',
        'tool.changed s__a',
        'tool.disappeared s__b',
      ]);
    }));
});
