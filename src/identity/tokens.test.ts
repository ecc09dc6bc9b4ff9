import assert from 'node:assert/strict';
import { it } from 'node:test';
import { onEachDatabase, type TestDatabase } from '../../test/support/databases.ts';
import { type Identity, openIdentity, userCaller, userWith } from '../../test/support/identity.ts';
import { credentialKind, mintCredential, sha256Hex } from '../base/ids.ts';
import type { Binding } from '../resources/bindings.ts';
import type { Store } from '../store/database.ts';
import { authenticatedCaller } from './caller.ts';
import type { NewToken } from './new-token.ts';
import type { Tokens } from './tokens.ts';

const DEMO = { name: 'demo', uid: 'prj_1' };
const OTHER = { name: 'other', uid: 'prj_2' };
const START = Date.parse('2026-06-15T12:00:00Z');

type Scene = {
  tokens: Tokens;
  identity: Identity;
  store: Store;
  /** Moves the clock that `tokens` reads. */
  pass(ms: number): void;
  /** Another process on the same database; on SQLite another reader of the same store. */
  replica(): Promise<Tokens>;
  /** Ids that were told as ended. */
  ended: string[];
};

const wanted = (more: Partial<NewToken> = {}): NewToken => ({
  name: 'agent',
  project: DEMO,
  creator: userCaller('admin'),
  surfaces: ['consumer'],
  rbac: 'empty',
  expiresAt: null,
  ...more,
});

async function scene(
  make: () => Promise<TestDatabase>,
  play: (scene: Scene) => Promise<void>,
): Promise<void> {
  const database = await make();
  const opened: Identity[] = [];
  try {
    const first = await database.open();
    const { store } = first;
    let now = START;
    const on = async (over: typeof first) => {
      const identity = await openIdentity(over, database.logger, { now: () => now });
      opened.push(identity);
      return identity;
    };
    const identity = await on(first);
    const { tokens } = identity;
    const ended: string[] = [];
    tokens.onEnded((id) => ended.push(id));
    await play({
      tokens,
      identity,
      store,
      ended,
      pass: (ms) => {
        now += ms;
      },
      replica: async () => (await on(database.name === 'SQLite' ? first : await database.open())).tokens,
    });
  } finally {
    for (const each of opened) await each.close();
    await database.dispose();
  }
}

onEachDatabase('tokens', (make) => {
  it('are shown once, stored as a hash, and recognised', () =>
    scene(make, async ({ tokens, store }) => {
      const { record, raw } = await tokens.create(
        wanted({
          surfaces: ['operator', 'consumer', 'consumer'],
          description: 'for CI',
          labels: { use: 'ci' },
          rbac: 'empty',
        }),
      );
      assert.equal(credentialKind(raw), 'pat');
      assert.deepEqual(record, {
        id: record.id,
        name: 'agent',
        project: DEMO,
        hash: sha256Hex(raw),
        parentId: null,
        prefix: raw.slice(0, 16),
        owner: 'admin',
        surfaces: ['consumer', 'operator'],
        rbac: 'empty',
        bindings: [],
        description: 'for CI',
        labels: { use: 'ci' },
        createdAt: START,
        expiresAt: null,
        revokedAt: null,
        lastUsedAt: null,
        status: 'active',
      });
      const kept = JSON.stringify(await store.db.selectFrom('mcp_tokens').selectAll().execute());
      assert.ok(kept.includes(sha256Hex(raw)));
      assert.ok(!kept.includes(raw.slice(8)), 'the raw token is in no column');

      assert.equal(tokens.peek(raw), undefined, 'nothing is known before the first look-up');
      const answer = await tokens.authenticate(raw);
      assert.ok(answer.ok);
      assert.deepEqual(answer.value, {
        principal: `McpToken:${sha256Hex(raw)}`,
        owner: 'admin',
        ceilings: ['User:admin'],
        tokenId: record.id,
        credentialId: record.id,
        tokenName: 'agent',
        project: 'demo',
        projectUid: 'prj_1',
        surfaces: new Set(['consumer', 'operator']),
      });
      assert.equal(tokens.peek(raw), answer.value);
    }));

  it('that are no tokens are told apart without a look-up', () =>
    scene(make, async ({ tokens, store }) => {
      const { raw } = await tokens.create(wanted());
      await store.close();
      const typo = raw.slice(0, -1) + (raw.endsWith('0') ? '1' : '0');
      for (const text of ['', 'x', typo, mintCredential('adm'), 'x'.repeat(1_000_000)]) {
        assert.deepEqual(await tokens.authenticate(text), { ok: false, error: 'malformed' });
        assert.equal(tokens.peek(text), undefined);
      }
    }));

  it('that are unknown, expired or revoked open nothing, for their own reason', () =>
    scene(make, async ({ tokens, pass }) => {
      assert.deepEqual(await tokens.authenticate(mintCredential('pat')), { ok: false, error: 'unknown' });
      const short = await tokens.create(wanted({ name: 'short', expiresAt: START + 60_000 }));
      assert.ok((await tokens.authenticate(short.raw)).ok);
      pass(57_000);
      assert.ok((await tokens.authenticate(short.raw)).ok);
      pass(3_000);
      assert.equal(tokens.peek(short.raw), undefined, 'a cached answer ends at the expiry itself');
      assert.deepEqual(await tokens.authenticate(short.raw), { ok: false, error: 'expired' });
      assert.equal((await tokens.get('demo', 'short')).status, 'expired');
      const revoked = await tokens.create(wanted({ name: 'revoked' }));
      await tokens.revoke('demo', 'revoked');
      assert.deepEqual(await tokens.authenticate(revoked.raw), { ok: false, error: 'revoked' });
      const removed = await tokens.create(wanted({ name: 'removed' }));
      await tokens.remove('demo', 'removed');
      assert.deepEqual(await tokens.authenticate(removed.raw), { ok: false, error: 'unknown' });
    }));

  it('keep their name while they are active; force replaces and ends them', () =>
    scene(make, async ({ tokens, ended }) => {
      const first = await tokens.create(wanted());
      await assert.rejects(
        tokens.create(wanted()),
        (error: Error & { kind?: string }) =>
          error.kind === 'conflict' &&
          error.message ===
            'an active token agent already exists in project demo; use --force to replace it, or another name',
      );
      await tokens.create(wanted({ project: OTHER }));
      assert.ok((await tokens.authenticate(first.raw)).ok);
      const second = await tokens.create(wanted({ force: true }));
      assert.deepEqual(ended, [first.record.id]);
      assert.equal(tokens.peek(first.raw), undefined);
      assert.deepEqual(await tokens.authenticate(first.raw), { ok: false, error: 'revoked' });
      assert.ok((await tokens.authenticate(second.raw)).ok);
      assert.equal(
        (await tokens.get('demo', 'agent')).id,
        second.record.id,
        'the name means the one that holds it',
      );
    }));

  it('free their name by revocation and by expiry, and the old row stays', () =>
    scene(make, async ({ tokens, pass, ended }) => {
      const revoked = await tokens.create(wanted());
      await tokens.revoke('demo', 'agent');
      const short = await tokens.create(wanted({ expiresAt: START + 1_000 }));
      pass(2_000);
      const third = await tokens.create(wanted());
      const rows = await tokens.list('demo');
      assert.deepEqual(
        rows.map((row) => [row.id, row.status]).sort(),
        [
          [revoked.record.id, 'revoked'],
          [short.record.id, 'expired'],
          [third.record.id, 'active'],
        ].sort(),
      );
      assert.equal((await tokens.get('demo', 'agent')).id, third.record.id);
      assert.equal((await tokens.get(undefined, short.record.id)).status, 'expired');
      assert.ok(ended.includes(revoked.record.id));
      await tokens.remove('demo', 'agent');
      assert.deepEqual(await tokens.list('demo'), []);
    }));

  it('of one name made by twenty at once: one is made, nineteen are refused', () =>
    scene(make, async ({ tokens, replica }) => {
      const makers = [tokens, await replica()];
      const ended = await Promise.allSettled(
        Array.from({ length: 20 }, (_, index) => makers[index % 2]!.create(wanted())),
      );
      assert.equal(ended.filter((each) => each.status === 'fulfilled').length, 1);
      for (const each of ended)
        if (each.status === 'rejected') assert.equal(each.reason.kind, 'conflict', each.reason);
      assert.equal((await tokens.list()).length, 1);
    }));

  it('never outgrow their creator, by bind or by clone', () =>
    scene(make, async ({ tokens, identity }) => {
      const ceiling: Binding[] = [
        { role: 'create', resource: 'mcptokens' },
        { role: 'run', resource: 'tools', name: 'github__*' },
        { role: 'edit', resource: 'servers' },
        { action: 'spawn' },
      ];
      const creator = await userWith(identity, 'dev@example.com', ceiling);
      await assert.rejects(
        tokens.create(wanted({ creator, binds: [{ role: 'run', resource: 'tools' }] })),
        (error: Error & { kind?: string }) =>
          error.kind === 'forbidden' && error.message.includes('role:run,resource:tools'),
      );
      const viewer: Binding = { role: 'view', resource: 'servers' };
      const bound = await tokens.create(wanted({ name: 'bound', creator, binds: [viewer, viewer] }));
      assert.deepEqual(bound.record.bindings, [viewer]);
      const clone = await tokens.create(wanted({ name: 'clone', creator, rbac: 'clone', binds: [viewer] }));
      assert.deepEqual(clone.record.bindings, [...ceiling.slice(0, 3), viewer]);
      assert.equal(clone.record.rbac, 'clone');
      const { owner, surfaces } = creator;
      const principal = 'OAuthClient:castellan-cli' as const;
      const fields = { principal, owner, surfaces, ceilings: [creator.principal], project: '*' };
      const client = authenticatedCaller(fields);
      const by = await tokens.create(wanted({ name: 'by-client', creator: client, rbac: 'clone' }));
      assert.deepEqual(by.record.bindings, ceiling.slice(0, 3), 'of the user, for whom a client acts');
    }));

  it('are refused by the field that is wrong', () =>
    scene(make, async ({ tokens }) => {
      const cases: [Partial<NewToken>, RegExp][] = [
        [{ name: '' }, /^name: /],
        [{ name: 'a b' }, /^name: /],
        [{ name: '-a' }, /^name: /],
        [{ name: 'a'.repeat(64) }, /^name: /],
        [{ surfaces: [] }, /^surfaces: /],
        [{ surfaces: ['both' as 'consumer'] }, /^surfaces: "both"/],
        [{ expiresAt: START }, /^ttl: /],
        [{ expiresAt: Number.NaN }, /^ttl: /],
        [{ description: 'x'.repeat(501) }, /^description: /],
        [
          { creator: userCaller('nobody@example.com') },
          /^owner: there is no active user nobody@example\.com/,
        ],
      ];
      for (const [more, message] of cases) {
        await assert.rejects(
          tokens.create(wanted(more)),
          (error: Error & { kind?: string }) => error.kind === 'invalid' && message.test(error.message),
          JSON.stringify(more),
        );
      }
      assert.deepEqual(await tokens.list(), []);
    }));

  it('are found by name within their project, by id anywhere, and nowhere else', () =>
    scene(make, async ({ tokens }) => {
      const { record } = await tokens.create(wanted());
      assert.equal((await tokens.get('demo', record.id)).id, record.id);
      assert.equal((await tokens.get(undefined, record.id)).id, record.id);
      const missing = (error: Error & { kind?: string }) => error.kind === 'not_found';
      await assert.rejects(tokens.get('other', 'agent'), missing);
      await assert.rejects(tokens.get('other', record.id), missing);
      await assert.rejects(tokens.get(undefined, 'agent'), missing);
      await assert.rejects(tokens.revoke('other', 'agent'), missing);
      await assert.rejects(tokens.remove('other', 'agent'), missing);
      assert.deepEqual(await tokens.list('other'), []);
    }));

  it('end once: revoking again keeps the first moment', () =>
    scene(make, async ({ tokens, pass }) => {
      await tokens.create(wanted());
      const first = await tokens.revoke('demo', 'agent');
      pass(1_000);
      assert.equal((await tokens.revoke('demo', 'agent')).revokedAt, first.revokedAt);
    }));

  it('go with their project, its namesake untouched', () =>
    scene(make, async ({ tokens, identity, ended }) => {
      const gone = await tokens.create(wanted());
      const stays = await tokens.create(wanted({ project: { name: 'demo', uid: 'prj_later' } }));
      assert.ok((await tokens.authenticate(gone.raw)).ok);
      tokens.end(await identity.resources.edit((edit) => tokens.removeProject(edit, 'prj_1')));
      assert.deepEqual(ended, [gone.record.id]);
      assert.deepEqual(await tokens.authenticate(gone.raw), { ok: false, error: 'unknown' });
      assert.ok((await tokens.authenticate(stays.raw)).ok);
    }));

  it('revoked on another process open nothing here after five seconds, and their holders hear of it', () =>
    scene(make, async ({ tokens, replica, pass, ended }) => {
      const elsewhere = await replica();
      const { record, raw } = await tokens.create(wanted());
      assert.ok((await tokens.authenticate(raw)).ok);
      const release = tokens.hold(record.id);
      await elsewhere.revoke('demo', 'agent');
      pass(5_000);
      assert.equal(tokens.peek(raw), undefined);
      assert.deepEqual(await tokens.authenticate(raw), { ok: false, error: 'revoked' });
      await endsWithin(4_000, ended, record.id);
      release();
    }));

  it('held beyond their expiry are told as ended', () =>
    scene(make, async ({ tokens, pass, ended }) => {
      const { record } = await tokens.create(wanted({ expiresAt: START + 10_000 }));
      const release = tokens.hold(record.id);
      const again = tokens.hold(record.id);
      again();
      again();
      pass(10_000);
      await endsWithin(4_000, ended, record.id);
      release();
    }));

  it('revoked while their look-up runs are not known afterwards', () =>
    scene(make, async ({ tokens }) => {
      for (let round = 0; round < 20; round += 1) {
        const { record, raw } = await tokens.create(wanted({ force: true }));
        const lookUps = Array.from({ length: 5 }, () => tokens.authenticate(raw));
        const revoking = tokens.revoke(undefined, record.id);
        await Promise.all([...lookUps, revoking]);
        assert.equal(tokens.peek(raw), undefined);
        assert.deepEqual(await tokens.authenticate(raw), { ok: false, error: 'revoked' });
      }
    }));

  it('remember their last use, shown at once and written in batches', () =>
    scene(make, async ({ tokens, store, pass, replica }) => {
      const { raw } = await tokens.create(wanted());
      await tokens.authenticate(raw);
      pass(1_000);
      tokens.peek(raw);
      assert.equal((await tokens.get('demo', 'agent')).lastUsedAt, START + 1_000);
      const written = () =>
        store.db.selectFrom('mcp_tokens').select('last_used_at').executeTakeFirstOrThrow();
      assert.equal((await written()).last_used_at, null);
      await tokens.close();
      assert.equal((await written()).last_used_at, START + 1_000);
      assert.equal((await (await replica()).get('demo', 'agent')).lastUsedAt, START + 1_000);
    }));

  it('survive a listener that fails', () =>
    scene(make, async ({ tokens, ended }) => {
      tokens.onEnded(() => {
        throw new Error('of its own');
      });
      const stop = tokens.onEnded(() => assert.fail('not after it was taken back'));
      stop();
      const heard: string[] = [];
      tokens.onEnded((id) => heard.push(id));
      const { record } = await tokens.create(wanted());
      await tokens.revoke('demo', 'agent');
      assert.deepEqual(heard, [record.id]);
      assert.deepEqual(ended, [record.id]);
    }));

  it('cannot be asked while the database is away, except those known', () =>
    scene(make, async ({ tokens, store }) => {
      const { raw } = await tokens.create(wanted());
      await tokens.authenticate(raw);
      await store.close();
      assert.ok((await tokens.authenticate(raw)).ok);
      await assert.rejects(tokens.authenticate(mintCredential('pat')));
    }));
});

/** Waits for the tokens' own look around, not for a time. */
async function endsWithin(ms: number, ended: readonly string[], id: string): Promise<void> {
  const limit = performance.now() + ms;
  while (!ended.includes(id)) {
    assert.ok(performance.now() < limit, `${id} was not told as ended within ${ms} ms`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}
