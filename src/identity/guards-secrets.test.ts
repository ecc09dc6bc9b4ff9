import assert from 'node:assert/strict';
import { it } from 'node:test';
import { onEachDatabase, quietLogger } from '../../test/support/databases.ts';
import { openIdentity, userWith } from '../../test/support/identity.ts';
import { Refusal } from '../base/errors.ts';
import type { Binding } from '../resources/bindings.ts';

const open = '${';
const AS_IS = { dryRun: false, createOnly: false };
const url = 'http://127.0.0.1:1/mcp';
const server = (spec: object) => ({ kind: 'Server', metadata: { name: 'a' }, spec });
const withSecret = (name: string, more: object = {}) =>
  server({ url, headers: { Authorization: `${open}secret:${name}.k}` }, ...more });

const lacks = (right: string) => (error: unknown) => {
  assert.ok(error instanceof Refusal, String(error));
  assert.equal(error.kind, 'forbidden');
  assert.ok(error.message.includes(right), error.message);
  return true;
};

onEachDatabase('servers and the secrets they use', (make) => {
  it('are tied by whoever may use the secret, and by nobody else', async (test) => {
    const database = await make();
    test.after(() => database.dispose());
    const identity = await openIdentity(await database.open(), quietLogger());
    test.after(() => identity.close());
    const { objects, resources } = identity;
    const servers: Binding[] = [
      { role: 'create', resource: 'servers' },
      { role: 'edit', resource: 'servers' },
      { action: 'spawn' },
    ];
    const able = await userWith(identity, 'able@example.com', [
      ...servers,
      { role: 'use', resource: 'secrets', name: 's-*' },
    ]);
    const unable = await userWith(identity, 'unable@example.com', servers);
    await resources.put({ kind: 'Secret', metadata: { name: 's-one' }, spec: { data: { k: 'value' } } });
    const put = (by: typeof able, body: object) => objects.put(by, body, AS_IS);
    const missing = lacks('role:use,resource:secrets,name:s-one');

    await assert.rejects(put(unable, withSecret('s-one')), missing);
    await assert.rejects(put(able, withSecret('other')), lacks('role:use,resource:secrets,name:other'));
    await put(able, withSecret('s-one'));
    const shown = resources.get('Server', 'a');
    assert.ok(JSON.stringify(shown).includes(`${open}secret:s-one.k}`));

    const elsewhere = [
      { url: 'http://127.0.0.1:2/mcp' },
      { headers: { 'X-Other': `${open}secret:s-one.k}` } },
      { headers: { Authorization: `${open}secret:s-one.k}`, 'X-More': 'x' } },
    ];
    const auth = (name: string) => ({ type: 'bearer', token: `${open}secret:${name}.k}` });
    await assert.rejects(put(unable, server({ url, auth: auth('s-one') })), missing);
    await put(able, server({ url, auth: auth('s-one') }));
    const asHeader = { type: 'header', name: 'X-Key', value: `${open}secret:s-one.k}` };
    await assert.rejects(put(unable, server({ url, auth: asHeader })), missing);
    await put(able, withSecret('s-one'));
    for (const more of elsewhere) await assert.rejects(put(unable, withSecret('s-one', more)), missing);
    const process = { command: 'x', env: { K: `${open}secret:s-one.k}` } };
    await assert.rejects(put(unable, server(process)), missing);
    await put(able, server(process));
    const moved = [
      { ...process, args: ['x'] },
      { ...process, cwd: '/' },
      { ...process, command: 'y' },
      { ...process, env: { ...process.env, L: '' } },
    ];
    for (const spec of moved) await assert.rejects(put(unable, server(spec)), missing);
    assert.equal((await put(unable, server({ ...process, prefix: 'never' }))).action, 'configured');
    assert.equal((await put(unable, server({ url }))).action, 'configured');
    await assert.rejects(put(unable, withSecret('s-one')), missing);
  });

  it('need `use` of whoever has notices of approvals sent somewhere with them', async (test) => {
    const database = await make();
    test.after(() => database.dispose());
    const identity = await openIdentity(await database.open(), quietLogger());
    test.after(() => identity.close());
    const edits = [
      { role: 'create', resource: 'policies' } as const,
      { role: 'edit', resource: 'policies' } as const,
    ];
    const unable = await userWith(identity, 'unable@example.com', edits);
    const able = await userWith(identity, 'able@example.com', [
      ...edits,
      { role: 'use', resource: 'secrets' },
    ]);
    const policy = (url: string, more: object = {}) => ({
      kind: 'Policy',
      metadata: { name: 'p' },
      spec: {
        projects: ['*'],
        rules: [
          { tools: ['*'], action: 'approve', notify: { url, secret: `\${secret:hooks.key}` }, ...more },
        ],
      },
    });
    const put = (who: typeof able, body: object) => identity.objects.put(who, body, AS_IS);
    const missing = lacks('role:use,resource:secrets,name:hooks, which a policy that refers to it needs');
    await assert.rejects(put(unable, policy('https://a.example.com/')), missing);
    await put(able, policy('https://a.example.com/'));
    await assert.rejects(put(unable, policy('https://b.example.com/')), missing);
    assert.equal(
      (await put(unable, policy('https://a.example.com/', { expires: '2h' }))).action,
      'configured',
    );
  });

  it('need rights of their own: to change, to see and to rotate', async (test) => {
    const database = await make();
    test.after(() => database.dispose());
    const identity = await openIdentity(await database.open(), quietLogger());
    test.after(() => identity.close());
    const user = await userWith(identity, 'user@example.com', [{ role: 'use', resource: 'secrets' }]);
    const body = { kind: 'Secret', metadata: { name: 's' }, spec: { data: { k: 'value' } } };
    await assert.rejects(
      identity.objects.put(user, body, AS_IS),
      lacks('role:create,resource:secrets,name:s'),
    );
    await identity.resources.put(body);
    await assert.rejects(identity.objects.put(user, body, AS_IS), lacks('role:edit,resource:secrets,name:s'));
  });
});
