import assert from 'node:assert/strict';
import { it } from 'node:test';
import { onEachDatabase, type TestDatabase } from '../../test/support/databases.ts';
import { grant, type Identity, openIdentity, userCaller, userWith } from '../../test/support/identity.ts';
import type { Refusal } from '../base/errors.ts';
import { type Binding, parseBinding } from '../resources/bindings.ts';
import type { Subject } from '../resources/spec.ts';
import type { AuthenticatedCaller } from './caller.ts';
import { administrators } from './guards.ts';

const NOW = { dryRun: false };
const ADMIN = userCaller('admin');
const bindings = (...texts: string[]): Binding[] => texts.map((text) => parseBinding(text, 'x'));

const rbac = (name: string, subjects: Subject[], ...roleBindings: string[]) => ({
  kind: 'Rbac',
  metadata: { name },
  spec: { subjects, roleBindings: bindings(...roleBindings) },
});
const user = (name: string, spec: object = {}) => ({ kind: 'User', metadata: { name }, spec });
const server = (name: string, spec: object) => ({ kind: 'Server', metadata: { name }, spec });
const alice: Subject = { kind: 'User', name: 'alice@example.com' };

function refusedAs(kind: Refusal['kind'], message: RegExp) {
  return (error: Error & { kind?: string }) => {
    assert.match(error.message, message);
    return error.kind === kind;
  };
}

async function scene(
  make: () => Promise<TestDatabase>,
  play: (identity: Identity, again: () => Promise<Identity>) => Promise<void>,
): Promise<void> {
  const database = await make();
  const opened: Identity[] = [];
  const first = await database.open();
  const open = async (on: typeof first) => {
    const identity = await openIdentity(on, database.logger);
    opened.push(identity);
    return identity;
  };
  try {
    await play(await open(first), async () =>
      open(database.name === 'SQLite' ? first : await database.open()),
    );
  } finally {
    for (const each of opened) await each.close();
    await database.dispose();
  }
}

onEachDatabase('changes of who may do what', (make) => {
  const put = ({ objects }: Identity, by: AuthenticatedCaller, body: object) => objects.put(by, body, NOW);
  const remove = (
    { objects, resources }: Identity,
    kind: 'User' | 'Group' | 'Rbac',
    name: string,
    by = ADMIN,
  ) => objects.remove(by, kind, resources.get(kind, name)!, NOW);

  it('need the right to change objects of their kind', () =>
    scene(make, async (identity) => {
      const bob = await userWith(
        identity,
        'bob@example.com',
        bindings('role:create,resource:servers,name:my-*'),
      );
      const web = (name: string) => server(name, { url: 'http://127.0.0.1:1/mcp' });
      assert.equal((await put(identity, bob, web('my-own'))).action, 'created');
      await assert.rejects(
        put(identity, bob, web('other')),
        refusedAs('forbidden', /do not have role:create,resource:servers,name:other/),
      );
      await assert.rejects(
        put(identity, bob, server('my-own', { url: 'http://127.0.0.1:2/mcp' })),
        refusedAs('forbidden', /role:edit,resource:servers,name:my-own/),
      );
      await assert.rejects(
        put(identity, userCaller('nobody@example.com'), web('my-other')),
        refusedAs('forbidden', /role:create/),
      );
    }));

  it('start processes by spawn alone', () =>
    scene(make, async (identity) => {
      const by = await userWith(
        identity,
        'bob@example.com',
        bindings('role:create,resource:servers', 'role:edit,resource:servers'),
      );
      const stdio = (more: object = {}) => server('local', { command: 'node', ...more });
      const spawns = refusedAs(
        'forbidden',
        /do not have action:spawn, which starting or changing a process needs/,
      );
      await assert.rejects(put(identity, by, stdio()), spawns);
      await put(identity, ADMIN, stdio());
      assert.equal(
        (await put(identity, by, stdio({ lifecycle: { callTimeout: '5s' } }))).action,
        'configured',
      );
      for (const more of [{ args: ['-e', ''] }, { env: { A: 'b' } }, { cwd: '/' }, { command: 'sh' }])
        await assert.rejects(put(identity, by, stdio(more)), spawns, JSON.stringify(more));
      const eager = stdio({ lifecycle: { connect: 'eager' } });
      await assert.rejects(put(identity, by, eager), spawns);
      await put(identity, ADMIN, server('web', { url: 'http://127.0.0.1:1/mcp' }));
      await assert.rejects(put(identity, by, server('web', { command: 'node' })), spawns);
      await grant(identity, 'bob@example.com', bindings('role:edit,resource:servers', 'action:spawn'));
      assert.equal((await put(identity, by, stdio({ args: ['-v'] }))).action, 'configured');
    }));

  it('give nobody what the giver lacks, without escalate', () =>
    scene(make, async (identity) => {
      const own = ['role:create,resource:rbac', 'role:edit,resource:rbac', 'role:view,resource:servers'];
      const bob = await userWith(identity, 'bob@example.com', bindings(...own));
      assert.equal(
        (await put(identity, bob, rbac('viewers', [alice], 'role:view,resource:servers,name:a*'))).action,
        'created',
      );
      const escalates = refusedAs(
        'forbidden',
        /spec\.roleBindings: you do not have role:edit,resource:servers yourself; giving it needs action:escalate/,
      );
      await assert.rejects(
        put(identity, bob, rbac('editors', [alice], 'role:edit,resource:servers')),
        escalates,
      );
      await assert.rejects(
        put(
          identity,
          bob,
          rbac('viewers', [alice], 'role:view,resource:servers,name:a*', 'role:edit,resource:servers'),
        ),
        escalates,
      );
      await assert.rejects(
        put(identity, bob, rbac('bob', [{ kind: 'User', name: 'bob@example.com' }], ...own, 'action:spawn')),
        refusedAs('forbidden', /action:spawn yourself/),
        'nor oneself',
      );
      await grant(identity, 'bob@example.com', bindings(...own, 'action:escalate'));
      assert.equal(
        (await put(identity, bob, rbac('editors', [alice], 'role:edit,resource:servers'))).action,
        'created',
      );
    }));

  it('let nobody into stronger rights without bind: by subject, by group, by a name that waits for them', () =>
    scene(make, async (identity) => {
      const own = [
        'role:edit,resource:rbac',
        'role:edit,resource:users',
        'role:create,resource:users',
        'role:view,resource:servers',
      ];
      const bob = await userWith(identity, 'bob@example.com', bindings(...own));
      await put(identity, ADMIN, { kind: 'Group', metadata: { name: 'strong' }, spec: {} });
      await put(identity, ADMIN, { kind: 'Group', metadata: { name: 'weak' }, spec: {} });
      await put(identity, ADMIN, user(alice.name));
      await put(
        identity,
        ADMIN,
        rbac('strong', [{ kind: 'Group', name: 'strong' }], 'role:edit,resource:servers'),
      );
      await put(
        identity,
        ADMIN,
        rbac('weak', [{ kind: 'Group', name: 'weak' }], 'role:view,resource:servers'),
      );
      await put(
        identity,
        ADMIN,
        rbac('waiting', [{ kind: 'User', name: 'boss@example.com' }], 'action:spawn'),
      );
      const tries: [object, RegExp][] = [
        [
          rbac('strong', [{ kind: 'Group', name: 'strong' }, alice], 'role:edit,resource:servers'),
          /spec\.subjects: you do not have role:edit,resource:servers yourself; giving it needs action:bind/,
        ],
        [user('bob@example.com', { groups: ['strong'] }), /spec\.groups: .* needs action:bind/],
        [user('new@example.com', { groups: ['strong'] }), /spec\.groups: .* needs action:bind/],
        [
          user('boss@example.com'),
          /metadata\.name: you do not have action:spawn yourself; giving it needs action:bind/,
        ],
      ];
      for (const [body, message] of tries)
        await assert.rejects(put(identity, bob, body), refusedAs('forbidden', message), JSON.stringify(body));
      await put(identity, bob, user('bob@example.com', { groups: ['weak'] }));
      await put(
        identity,
        bob,
        rbac('weak', [{ kind: 'Group', name: 'weak' }, alice], 'role:view,resource:servers'),
      );
      await grant(identity, 'bob@example.com', bindings(...own, 'action:bind'));
      for (const [body] of tries) await put(identity, bob, body);
      assert.ok(identity.authorizer.decide(bob, { role: 'edit', resource: 'servers' }).allowed);
    }));

  it('enable nobody again who is stronger, without bind', () =>
    scene(make, async (identity) => {
      const bob = await userWith(identity, 'bob@example.com', bindings('role:edit,resource:users'));
      await put(identity, ADMIN, { kind: 'Group', metadata: { name: 'strong' }, spec: {} });
      const strong = [{ kind: 'Group', name: 'strong' } as const];
      await put(identity, ADMIN, rbac('strong', strong, 'role:edit,resource:servers'));
      await put(identity, ADMIN, rbac('own', [alice], 'action:spawn'));
      for (const [spec, right] of [
        [{ groups: ['strong'] }, 'role:edit,resource:servers'],
        [{}, 'action:spawn'],
      ] as const) {
        await put(identity, ADMIN, user(alice.name, { ...spec, disabled: true }));
        await put(identity, bob, user(alice.name, { ...spec, disabled: true, displayName: 'Alice' }));
        await assert.rejects(
          put(identity, bob, user(alice.name, spec)),
          refusedAs(
            'forbidden',
            new RegExp(`spec.disabled: you do not have ${right} yourself; .* action:bind`),
          ),
        );
      }
      await put(identity, ADMIN, user(alice.name));
    }));

  it('have a tool called as a health check by whoever may run it alone', () =>
    scene(make, async (identity) => {
      const edit = 'role:edit,resource:servers';
      const bob = await userWith(identity, 'bob@example.com', bindings(edit));
      const web = (spec: object = {}) => server('web', { url: 'http://127.0.0.1:1/mcp', ...spec });
      const calling = (tool: string) => web({ healthCheck: { tool, interval: '1s' } });
      await put(identity, ADMIN, web());
      await assert.rejects(
        put(identity, bob, calling('delete_all')),
        refusedAs(
          'forbidden',
          /do not have role:run,resource:tools,name:web__delete_all, which a health check/,
        ),
      );
      await put(identity, bob, web({ healthCheck: { interval: '5s' } }));
      await put(identity, ADMIN, calling('ping'));
      await put(identity, bob, web({ healthCheck: { tool: 'ping', interval: '2s' } }));
      await grant(identity, 'bob@example.com', bindings(edit, 'role:run,resource:tools,name:web__get_*'));
      await assert.rejects(
        put(identity, bob, calling('delete_all')),
        refusedAs('forbidden', /web__delete_all/),
      );
      await put(identity, bob, calling('get_state'));
    }));

  it('put a server into a project by whoever may edit that server alone', () =>
    scene(make, async (identity) => {
      const own = ['role:create,resource:projects', 'role:edit,resource:projects', 'role:run,resource:tools'];
      const bob = await userWith(identity, 'bob@example.com', bindings(...own));
      const web = { url: 'http://127.0.0.1:1/mcp' };
      for (const name of ['db', 'other']) await put(identity, ADMIN, server(name, web));
      const project = (name: string, spec: object) => ({ kind: 'Project', metadata: { name }, spec });
      const edits = refusedAs(
        'forbidden',
        /do not have role:edit,resource:servers,name:db, which adding it to a project needs/,
      );
      await assert.rejects(put(identity, bob, project('own', { servers: ['db'] })), edits);
      await put(identity, bob, project('own', {}));
      await assert.rejects(put(identity, bob, project('own', { operatorServers: ['db'] })), edits);
      await put(identity, ADMIN, project('shared', { servers: ['db', 'other'] }));
      await put(identity, bob, project('shared', { servers: ['db'] }));
      await grant(identity, 'bob@example.com', bindings(...own, 'role:edit,resource:servers,name:d*'));
      await put(identity, bob, project('own', { servers: ['db'] }));
      await assert.rejects(
        put(identity, bob, project('shared', { servers: ['db', 'other'] })),
        refusedAs('forbidden', /role:edit,resource:servers,name:other/),
      );
    }));

  it('loosen what holds in a project by its administrator alone', () =>
    scene(make, async (identity) => {
      const own = ['role:create,resource:projects', 'role:edit,resource:projects'];
      const bob = await userWith(identity, 'bob@example.com', bindings(...own));
      const tight = { defaultAction: 'deny', audit: { intent: 'strict' }, limits: { user: { calls: 5 } } };
      const project = (spec: object, name = 'demo') => ({ kind: 'Project', metadata: { name }, spec });
      const admins = (field: string) =>
        refusedAs(
          'forbidden',
          new RegExp(`role:admin,resource:projects,name:demo,project:demo, which loosening ${field} needs`),
        );
      const relaxed = { ...tight, audit: { intent: 'relaxed' } };
      await assert.rejects(put(identity, bob, project(relaxed)), admins('spec.audit.intent'));
      await put(identity, bob, project(tight));
      await assert.rejects(put(identity, bob, project(relaxed)), admins('spec.audit.intent'));
      await assert.rejects(
        put(identity, bob, project({ ...tight, defaultAction: 'allow' })),
        admins('spec.defaultAction'),
      );
      await assert.rejects(
        put(identity, bob, project({ ...tight, limits: { user: { calls: 6 } } })),
        admins('spec.limits.user'),
      );
      await put(identity, bob, project({ ...tight, limits: { user: { calls: 4 } } }));
      const chief = 'role:admin,resource:projects,name:demo,project:demo';
      await grant(identity, 'bob@example.com', bindings(...own, chief));
      await put(identity, bob, project(relaxed));
      await assert.rejects(
        put(identity, bob, project(relaxed, 'other')),
        refusedAs('forbidden', /which loosening/),
      );
    }));

  it('keep an administrator, whichever way the last one would go', () =>
    scene(make, async (identity) => {
      const last = refusedAs(
        'conflict',
        /^admin is the last administrator: first give another user role:admin/,
      );
      const restless: (() => Promise<unknown>)[] = [
        () => remove(identity, 'User', 'admin'),
        () => remove(identity, 'Rbac', 'administrators'),
        () => put(identity, ADMIN, user('admin', { disabled: true })),
        () => put(identity, ADMIN, rbac('administrators', [], 'role:admin,resource:*')),
        () =>
          put(
            identity,
            ADMIN,
            rbac('administrators', [{ kind: 'User', name: 'admin' }], 'role:admin,resource:*,project:p'),
          ),
      ];
      for (const change of restless) await assert.rejects(change(), last);
      await put(identity, ADMIN, { kind: 'Group', metadata: { name: 'chiefs' }, spec: {} });
      await put(identity, ADMIN, user(alice.name, { groups: ['chiefs'] }));
      await put(
        identity,
        ADMIN,
        rbac('chiefs', [{ kind: 'Group', name: 'chiefs' }], 'role:admin,resource:*'),
      );
      await remove(identity, 'User', 'admin');
      assert.deepEqual(administrators(identity.resources.snapshot().access), [alice.name]);
      const byAlice = userCaller(alice.name);
      await assert.rejects(
        remove(identity, 'Group', 'chiefs', byAlice),
        refusedAs('conflict', /last administrator/),
      );
    }));

  it('of two administrators who remove each other at once leave one', () =>
    scene(make, async (identity, again) => {
      const other = await again();
      for (let round = 0; round < 5; round += 1) {
        const [one, two] = [`a${round}@example.com`, `b${round}@example.com`];
        for (const name of [one, two]) await put(identity, ADMIN, user(name));
        const chiefs = (...names: string[]) =>
          rbac(
            'administrators',
            names.map((name) => ({ kind: 'User', name })),
            'role:admin,resource:*',
          );
        await put(identity, ADMIN, chiefs('admin', one, two));
        if (round > 0) await remove(identity, 'Rbac', 'back');
        await put(identity, userCaller(one), chiefs(one, two));
        await other.resources.refresh();
        const settled = await Promise.allSettled([
          put(identity, userCaller(one), user(two, { disabled: true })),
          put(other, userCaller(two), user(one, { disabled: true })),
        ]);
        await identity.resources.refresh();
        const left = administrators(identity.resources.snapshot().access);
        assert.equal(left.length, 1);
        assert.deepEqual(settled.map(({ status }) => status).sort(), ['fulfilled', 'rejected']);
        await put(
          identity,
          userCaller(left[0]!),
          rbac('back', [{ kind: 'User', name: 'admin' }], 'role:admin,resource:*'),
        );
        await other.resources.refresh();
      }
    }));

  it('take a user out of all that named it, so that a later namesake has nothing', () =>
    scene(make, async (identity) => {
      await userWith(identity, alice.name, bindings('role:edit,resource:servers'));
      const { authorizer } = identity;
      const may = () =>
        authorizer.decide(userCaller(alice.name), { role: 'edit', resource: 'servers' }).allowed;
      assert.ok(may());
      await put(identity, ADMIN, user(alice.name, { disabled: true }));
      assert.ok(!may(), 'disabled');
      await put(identity, ADMIN, user(alice.name));
      assert.ok(may());
      await remove(identity, 'User', alice.name);
      assert.ok(!may(), 'deleted');
      await put(identity, ADMIN, user(alice.name));
      assert.ok(!may(), 'made anew');
      assert.deepEqual(identity.resources.get('Rbac', 'alice')?.spec.subjects, []);
    }));

  it('are refused by the field that is wrong', () =>
    scene(make, async (identity) => {
      const cases: [object, RegExp][] = [
        [user('Alice@example.com'), /metadata\.name: "Alice@example\.com" has capital letters/],
        [user('alice'), /metadata\.name: "alice" is no e-mail address/],
        [user('a@b', { groups: ['nobody'] }), /spec\.groups\[0\]: there is no group nobody: create it first/],
        [
          user('a@b', { members: [] }),
          /spec\.members: unknown key: use one of displayName, disabled, groups/,
        ],
        [rbac('x', [{ kind: 'User', name: 'x' }]), /spec\.subjects\[0\]\.name: "x" is no e-mail address/],
        [rbac('x', [{ kind: 'McpToken', name: 'x' }]), /spec\.subjects\[0\]\.name: is no id of a token/],
        [
          rbac('x', [{ kind: 'Robot' as 'User', name: 'x' }]),
          /spec\.subjects\[0\]\.kind: must be one of User/,
        ],
        [
          {
            kind: 'Rbac',
            metadata: { name: 'x' },
            spec: { roleBindings: [{ role: 'root', resource: 'tools' }] },
          },
          /spec\.roleBindings\[0\]: role "root" is unknown/,
        ],
      ];
      for (const [body, message] of cases)
        await assert.rejects(put(identity, ADMIN, body), refusedAs('invalid', message), JSON.stringify(body));
    }));
});
