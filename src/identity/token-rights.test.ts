import assert from 'node:assert/strict';
import { it } from 'node:test';
import fc from 'fast-check';
import { anyAsk, anyBinding, layerOf } from '../../test/support/arbitrary-bindings.ts';
import { onEachDatabase, type TestDatabase } from '../../test/support/databases.ts';
import { grant, type Identity, openIdentity, userCaller, userWith } from '../../test/support/identity.ts';
import { Refusal } from '../base/errors.ts';
import { type Binding, bindingText, parseBinding } from '../resources/bindings.ts';
import { type AuthenticatedCaller, authenticatedCaller } from './caller.ts';
import { removedByCeiling } from './ceiling-report.ts';
import { decide } from './decide.ts';
import { grantedBindings, type NewToken } from './new-token.ts';

const DEMO = { name: 'demo', uid: 'prj_1' };
const bindings = (...texts: string[]): Binding[] => texts.map((text) => parseBinding(text, 'x'));
const EDITOR = ['role:create,resource:mcptokens', 'role:run,resource:tools', 'role:edit,resource:mcptokens'];

const wanted = (creator: AuthenticatedCaller, more: Partial<NewToken> = {}): NewToken => ({
  name: 'agent',
  project: DEMO,
  creator,
  surfaces: ['consumer'],
  rbac: 'empty',
  expiresAt: null,
  ...more,
});

type Scene = Identity & {
  dialect: 'sqlite' | 'postgres';
  pass(ms: number): void;
  replica(): Promise<Identity>;
  caller(raw: string, on?: Identity): Promise<AuthenticatedCaller>;
  runs(raw: string, name?: string, on?: Identity): Promise<boolean>;
};

async function scene(
  make: () => Promise<TestDatabase>,
  play: (scene: Scene) => Promise<void>,
): Promise<void> {
  const database = await make();
  const opened: Identity[] = [];
  let now = Date.parse('2026-06-15T12:00:00Z');
  const first = await database.open();
  const open = async (on: typeof first) => {
    const identity = await openIdentity(on, database.logger, { now: () => now });
    opened.push(identity);
    return identity;
  };
  try {
    const identity = await open(first);
    const caller = async (raw: string, on: Identity = identity) => {
      const found = await on.tokens.authenticate(raw);
      assert.ok(found.ok, JSON.stringify(found));
      return found.value;
    };
    await play({
      ...identity,
      dialect: first.store.dialect,
      pass: (ms) => {
        now += ms;
      },
      replica: async () => open(database.name === 'SQLite' ? first : await database.open()),
      caller,
      runs: async (raw, name = 'github__get', on = identity) =>
        on.authorizer.decide(await caller(raw, on), { role: 'run', resource: 'tools', name, project: 'demo' })
          .allowed,
    });
  } finally {
    for (const each of opened) await each.close();
    await database.dispose();
  }
}

const refused = (kind: string, message: RegExp) => (error: Error & { kind?: string }) => {
  assert.match(error.message, message);
  return error.kind === kind;
};

onEachDatabase('rights of tokens', (make) => {
  it('are an Rbac object of their own, which goes with them', () =>
    scene(make, async ({ tokens, resources, runs }) => {
      const { record, raw } = await tokens.create(wanted(userCaller('admin')));
      assert.equal(await runs(raw), false, 'empty means nothing');
      const [made] = resources.list('Rbac').filter(({ metadata }) => metadata.name.startsWith('mcptoken-'));
      assert.deepEqual(made?.spec.subjects, [{ kind: 'McpToken', name: record.hash }]);
      await resources.put({
        ...made,
        spec: { ...made?.spec, roleBindings: bindings('role:run,resource:tools') },
      });
      assert.equal(await runs(raw), true, 'until bound');
      await resources.put({
        kind: 'Rbac',
        metadata: { name: 'beside' },
        spec: { subjects: [{ kind: 'McpToken', name: record.hash }] },
      });
      await tokens.revoke('demo', 'agent');
      assert.ok(resources.get('Rbac', made?.metadata.name ?? ''));
      await tokens.remove('demo', 'agent');
      assert.equal(resources.get('Rbac', made?.metadata.name ?? ''), undefined);
      assert.deepEqual(resources.get('Rbac', 'beside')?.spec.subjects, []);
    }));

  it('follow the losses of the owner at once, and not the gains', () =>
    scene(make, async (all) => {
      const { tokens, runs, caller, authorizer } = all;
      const owner = await userWith(all, 'dev@example.com', bindings(...EDITOR));
      const { raw } = await tokens.create(wanted(owner, { rbac: 'clone' }));
      assert.equal(await runs(raw), true);
      await grant(all, 'dev@example.com', bindings('role:run,resource:tools,name:github__*'));
      assert.deepEqual([await runs(raw), await runs(raw, 'other__x')], [true, false]);
      await grant(all, 'dev@example.com', []);
      assert.equal(await runs(raw), false);
      // Promoted again, and higher: what the token was given comes back, what is new does not.
      await grant(all, 'dev@example.com', bindings(...EDITOR, 'role:view,resource:audit'));
      assert.equal(await runs(raw), true);
      const seen = authorizer.decide(await caller(raw), { role: 'view', resource: 'audit', project: 'demo' });
      assert.equal(seen.allowed, false);
    }));

  it('end with the owner: disabled, deleted, made anew', () =>
    scene(make, async (all) => {
      const { tokens, objects, resources, runs } = all;
      const owner = await userWith(all, 'dev@example.com', bindings(...EDITOR));
      const { raw } = await tokens.create(wanted(owner, { rbac: 'clone' }));
      assert.equal(await runs(raw), true);
      const user = (spec: object) =>
        resources.put({ kind: 'User', metadata: { name: 'dev@example.com' }, spec });
      await user({ disabled: true });
      assert.deepEqual(await tokens.authenticate(raw), { ok: false, error: 'revoked' });
      await user({});
      assert.equal(await runs(raw), true);
      await objects.remove(userCaller('admin'), 'User', resources.get('User', 'dev@example.com')!, {});
      assert.deepEqual(await tokens.authenticate(raw), { ok: false, error: 'revoked' });
      await user({});
      assert.deepEqual(await tokens.authenticate(raw), { ok: false, error: 'revoked' });
      assert.equal((await tokens.get('demo', 'agent')).status, 'revoked');
    }));

  it('are seen on another process by the next look-up, those of a user and token made just now too', () =>
    scene(make, async (all) => {
      const other = await all.replica();
      const polls = all.dialect === 'postgres';
      const owner = await userWith(all, 'dev@example.com', bindings(...EDITOR));
      const { raw } = await all.tokens.create(wanted(owner, { rbac: 'clone' }));
      assert.equal(await all.runs(raw, 'github__get', other), true);
      await grant(all, 'dev@example.com', []);
      const until = Date.now() + 5_000;
      while (await all.runs(raw, 'github__get', other)) {
        assert.ok(Date.now() < until, 'a demotion is seen within five seconds');
        await new Promise((resolve) => setTimeout(resolve, 50));
        // One process alone may hold a file of SQLite: the second reader of this test does not poll.
        if (other.resources !== all.resources && !polls) await other.resources.refresh();
      }
    }));

  it('of a token made with a token stay within it, and end with it', () =>
    scene(make, async (all) => {
      const { tokens, runs, caller, authorizer, pass } = all;
      const admin = userCaller('admin');
      const parent = await tokens.create(
        wanted(admin, {
          name: 'parent',
          expiresAt: Date.parse('2026-06-16T12:00:00Z'),
          binds: bindings('role:create,resource:mcptokens', 'role:run,resource:tools,name:github__*'),
        }),
      );
      const byParent = await caller(parent.raw);
      const make = (more: Partial<NewToken>) => tokens.create(wanted(byParent, { name: 'child', ...more }));
      await assert.rejects(
        make({ binds: bindings('role:run,resource:tools') }),
        refused('forbidden', /do not have role:run,resource:tools yourself/),
      );
      await assert.rejects(make({ surfaces: ['operator'] }), refused('forbidden', /surfaces: .*operator/));
      await assert.rejects(
        make({ project: { name: 'other', uid: 'prj_2' } }),
        refused('forbidden', /role:create,resource:mcptokens,name:child,project:other/),
      );
      const child = await make({ binds: bindings('role:run,resource:tools,name:github__*') });
      assert.equal(child.record.expiresAt, parent.record.expiresAt, 'no longer than its parent');
      assert.deepEqual([await runs(child.raw), await runs(child.raw, 'other__x')], [true, false]);
      await all.resources.put({
        kind: 'Rbac',
        metadata: { name: `mcptoken-${parent.record.hash.slice(0, 24)}` },
        spec: { subjects: [{ kind: 'McpToken', name: parent.record.hash }], roleBindings: [] },
      });
      assert.equal(await runs(child.raw), false, 'what the parent lost');
      await tokens.revoke('demo', 'parent');
      pass(5_000);
      assert.deepEqual(await tokens.authenticate(child.raw), { ok: false, error: 'revoked' });
      const clone = await tokens.create(wanted(admin, { name: 'clone', rbac: 'clone' }));
      assert.ok(
        authorizer.decide(await caller(clone.raw), {
          role: 'create',
          resource: 'mcptokens',
          name: 'x',
          project: 'demo',
        }).allowed,
      );
      await assert.rejects(
        tokens.create(wanted(await caller(clone.raw), { name: 'x' })),
        refused('forbidden', /role:create,resource:mcptokens by name/),
        'a wildcard makes no tokens',
      );
    }));

  it('move to the new secret when it is rotated, the old one living for the overlap', () =>
    scene(make, async (all) => {
      const { tokens, runs, resources, pass, caller } = all;
      const admin = userCaller('admin');
      const old = await tokens.create(wanted(admin, { binds: bindings('role:run,resource:tools') }));
      await resources.put({
        kind: 'Rbac',
        metadata: { name: 'beside' },
        spec: { subjects: [{ kind: 'McpToken', name: old.record.hash }], roleBindings: [] },
      });
      const fresh = await tokens.rotate(old.record, admin, 3_600_000);
      assert.notEqual(fresh.raw, old.raw);
      assert.equal((await tokens.get('demo', 'agent')).id, fresh.record.id);
      assert.deepEqual([await runs(old.raw), await runs(fresh.raw)], [true, true]);
      const beside = resources.get('Rbac', 'beside')?.spec.subjects as unknown[] | undefined;
      assert.equal(beside?.length, 2);
      pass(3_600_000);
      assert.deepEqual(await tokens.authenticate(old.raw), { ok: false, error: 'expired' });
      assert.equal(await runs(fresh.raw), true);
      const again = await tokens.rotate(fresh.record, admin, 0);
      assert.deepEqual(await tokens.authenticate(fresh.raw), { ok: false, error: 'revoked' });
      await assert.rejects(tokens.rotate(fresh.record, admin, 0), refused('conflict', /not active any more/));
      const weak = await userWith(
        all,
        'weak@example.com',
        bindings('role:edit,resource:mcptokens', 'action:impersonate'),
      );
      await assert.rejects(
        tokens.rotate(again.record, weak, 0),
        refused('forbidden', /do not have role:run,resource:tools yourself, which token agent has/),
      );
      assert.equal((await caller(again.raw)).tokenName, 'agent');
    }));

  it('are handed to nobody who may not act as the owner, for the token does', () =>
    scene(make, async (all) => {
      const { tokens, caller } = all;
      const owner = await userWith(all, 'dev@example.com', bindings(...EDITOR));
      const run = bindings('role:run,resource:tools');
      const made = await tokens.create(wanted(owner, { binds: run }));
      const peer = await userWith(all, 'peer@example.com', bindings(...EDITOR));
      const needs = refused(
        'forbidden',
        /do not have action:impersonate, which the secret of another's token needs/,
      );
      await assert.rejects(tokens.rotate(made.record, peer, 0), needs);
      const manager = await tokens.create(wanted(owner, { name: 'manager', binds: bindings(...EDITOR) }));
      const byManager = await caller(manager.raw);
      await assert.rejects(tokens.rotate(made.record, byManager, 0), needs, 'it outlives that token');
      const child = await tokens.create(wanted(byManager, { name: 'child', binds: run }));
      await tokens.rotate(child.record, byManager, 0);
      await tokens.rotate(manager.record, byManager, 3_600_000);
      await grant(all, 'peer@example.com', bindings(...EDITOR, 'action:impersonate'));
      const { record } = await tokens.rotate(made.record, peer, 0);
      assert.equal(record.owner, 'dev@example.com');
    }));

  it('are not handed to whoever acts as the owner and lacks them', () =>
    scene(make, async (all) => {
      const { tokens, authorizer } = all;
      const { record } = await tokens.create(
        wanted(userCaller('admin'), { binds: bindings('role:run,resource:tools') }),
      );
      const held = ['action:impersonate', 'role:edit,resource:mcptokens'];
      const helper = await userWith(all, 'helper@example.com', bindings(...held));
      const admin = authenticatedCaller({
        ...userCaller('admin'),
        ceilings: [helper.principal],
        actor: helper.principal,
      });
      const ask = { role: 'edit', resource: 'mcptokens', name: 'agent', project: 'demo' } as const;
      assert.ok(authorizer.decide(admin, ask).allowed, 'the route lets it in');
      await assert.rejects(
        tokens.rotate(record, admin, 0),
        refused('forbidden', /do not have role:run,resource:tools yourself, which token agent has/),
      );
    }));

  it('follow the losses of whoever acted as the owner when the secret was made', () =>
    scene(make, async (all) => {
      const { tokens, runs, caller, resources, objects } = all;
      const run = bindings('role:run,resource:tools');
      const owner = await userWith(all, 'dev@example.com', bindings(...EDITOR));
      const helping = bindings(...EDITOR, 'action:impersonate');
      const helper = await userWith(all, 'helper@example.com', helping);
      const acting = authenticatedCaller({
        ...owner,
        ceilings: [helper.principal],
        actor: helper.principal,
      });
      const parent = await tokens.create(wanted(acting, { binds: bindings(...EDITOR) }));
      const child = await tokens.create(wanted(await caller(parent.raw), { name: 'child', binds: run }));
      const other = await tokens.create(wanted(owner, { name: 'other', binds: run }));
      const rotated = await tokens.rotate(other.record, helper, 0);
      const may = () => Promise.all([parent, child, rotated].map(({ raw }) => runs(raw)));
      assert.deepEqual(await may(), [true, true, true]);
      await grant(all, 'helper@example.com', []);
      assert.deepEqual(await may(), [false, false, false]);
      await grant(all, 'helper@example.com', helping);
      assert.deepEqual(await may(), [true, true, true]);
      await objects.remove(userCaller('admin'), 'User', resources.get('User', 'helper@example.com')!, {});
      await userWith(all, 'helper@example.com', helping);
      all.pass(5_000);
      assert.deepEqual(await may(), [false, false, false], 'a namesake is somebody else');
      const own = await tokens.rotate(rotated.record, owner, 0);
      assert.equal(await runs(own.raw), true, 'nobody but its owner has this secret');
    }));

  it('say what the ceiling removes', () =>
    scene(make, async (all) => {
      const { tokens, authorizer, caller } = all;
      const owner = await userWith(
        all,
        'dev@example.com',
        bindings(...EDITOR, 'role:view,resource:servers', 'role:run,resource:tools,project:other'),
      );
      const made = await tokens.create(
        wanted(owner, {
          binds: bindings(
            'role:run,resource:tools',
            'role:view,resource:servers',
            'role:run,resource:tools,project:other',
          ),
        }),
      );
      await grant(all, 'dev@example.com', bindings('role:run,resource:tools,name:github__*'));
      const [, ...ceilings] = authorizer.rights().layersOf(await caller(made.raw));
      assert.deepEqual(removedByCeiling(made.record.bindings, 'demo', ceilings), [
        {
          binding: 'role:run,resource:tools',
          effect: 'partial',
          why: 'User:dev@example.com has only role:run,resource:tools,name:github__*',
        },
        { binding: 'role:view,resource:servers', effect: 'none', why: 'servers belong to no project' },
        { binding: 'role:run,resource:tools,project:other', effect: 'none', why: 'it is of another project' },
      ]);
    }));

  it('need the right to make tokens', () =>
    scene(make, async (all) => {
      const viewer = await userWith(all, 'view@example.com', bindings('role:view,resource:servers'));
      await assert.rejects(
        all.tokens.create(wanted(viewer, { binds: bindings('role:edit,resource:servers') })),
        refused('forbidden', /do not have role:edit,resource:servers yourself/),
      );
      await assert.rejects(
        all.tokens.create(wanted(viewer)),
        refused('forbidden', /do not have role:create,resource:mcptokens,name:agent,project:demo/),
      );
    }));
});

it('a token is never given what its creator lacks, whatever is asked for', () => {
  const some = fc.array(anyBinding, { maxLength: 4 });
  const making: Binding = { role: 'create', resource: 'mcptokens' };
  fc.assert(
    fc.property(some, some, anyAsk, fc.constantFrom('empty', 'clone'), (held, binds, ask, rbac) => {
      const creator = [layerOf('User:o', [making, ...held])];
      let given: Binding[];
      try {
        given = grantedBindings(
          wanted(userCaller('o'), { project: { name: 'p', uid: 'u' }, binds, rbac }),
          creator,
        );
      } catch (error) {
        assert.ok(error instanceof Refusal && error.kind === 'forbidden');
        assert.ok(
          binds.some((bind) => error.message.includes(bindingText(bind))),
          'the refusal names one that was asked for',
        );
        return;
      }
      const alone = decide([layerOf('McpToken:1', given, 'p')], ask).allowed;
      if (alone) assert.ok(decide(creator, ask).allowed, bindingText(given[0] ?? making));
      if (rbac === 'clone' && binds.length === 0)
        assert.ok(
          !given.some((one) =>
            'action' in one
              ? ['impersonate', 'escalate', 'bind', 'spawn'].includes(one.action)
              : one.role === 'approve' || one.role === 'admin',
          ),
        );
    }),
    { numRuns: 5_000 },
  );
});
