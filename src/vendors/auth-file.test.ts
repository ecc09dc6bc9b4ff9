import assert from 'node:assert/strict';
import { chmod, mkdir, readFile, symlink, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { describe, it } from 'node:test';
import { killWriters, writeAtOnce } from '../../test/support/auth-file-torment.ts';
import { temporaryFolder } from '../../test/support/databases.ts';
import { AuthFile } from './auth-file.ts';
import type { Grant } from './grants.ts';

const KEY = { server: '/x/mcp.json#a', owner: '' };
const grantOf = (access: string) => ({ tokens: { access } }) as unknown as Grant;
const loginOf = (id: string, flow: 'device' | 'paste' = 'paste', expiresAt = Date.now() + 60_000) => ({
  ...{ id, flow, details: { id }, pollAt: 0, expiresAt },
});

describe('the file of what somebody signed in with', () => {
  it('keeps one grant of a server, which one renews at a time', async () => {
    const store = new AuthFile(await temporaryFolder());
    assert.equal(await store.read(KEY), undefined);
    assert.equal(await store.settle(KEY, 'a', grantOf('a')), false);
    await store.begin(KEY, loginOf('a'));
    assert.equal(await store.settle(KEY, 'a', grantOf('a')), true);
    const kept = await store.read(KEY);
    assert.ok(kept);
    const lease = store.newLease();
    assert.deepEqual([store.isGone(lease), store.isGone('999999999/x')], [false, true]);
    const takes = await Promise.all([1, 2].map(() => store.lease(KEY, kept, lease, Date.now() + 1_000)));
    assert.deepEqual(takes.sort(), [false, true]);
    await store.release(KEY, kept, lease, { retryAt: 7, failures: 1, unanswered: true });
    const rested = await store.read(KEY);
    assert.deepEqual([rested?.retryAt, rested?.leaseUntil, rested?.lease], [7, 0, lease]);
    assert.equal(await store.renew(KEY, kept, grantOf('b')), true);
    assert.equal(await store.renew(KEY, kept, grantOf('c')), false);
    const renewed = await store.read(KEY);
    assert.deepEqual([renewed?.version, renewed?.lease, renewed?.grant.tokens.access], [2, undefined, 'b']);
    assert.deepEqual(await store.remove(KEY), { grant: grantOf('b'), any: true });
    assert.deepEqual(await store.remove(KEY), { grant: undefined, any: false });
  });

  it('keeps sign-ins under way beside each other, a device’s instead of another device’s', async () => {
    const store = new AuthFile(await temporaryFolder());
    for (const login of [loginOf('a'), loginOf('b', 'device'), loginOf('c'), loginOf('d', 'device')])
      await store.begin(KEY, login);
    await store.begin(KEY, loginOf('over', 'paste', 1));
    const logins = await store.logins(KEY);
    assert.deepEqual(
      logins.map(({ id }) => id),
      ['d', 'c', 'a'],
    );
    const [device] = logins;
    assert.ok(device);
    assert.equal(await store.takePoll(KEY, device, 5), true);
    assert.equal(await store.takePoll(KEY, device, 5), false);
    assert.equal((await store.underWay()).at(-1)?.flow, 'device');
  });

  it('is not read where others can read it, through a link, or damaged, and stays as it is', async () => {
    const folder = await temporaryFolder();
    const store = new AuthFile(folder);
    await store.begin(KEY, loginOf('a'));
    await chmod(store.file, 0o644);
    await assert.rejects(store.read(KEY), /can be read by other users: run chmod 600/);
    await assert.rejects(store.begin(KEY, loginOf('b')), /can be read by other users/);
    await chmod(store.file, 0o600);
    await writeFile(store.file, '{"grants":');
    await assert.rejects(store.begin(KEY, loginOf('b')), /is damaged/);
    assert.equal(await readFile(store.file, 'utf8'), '{"grants":');
    const linked = path.join(folder, 'linked');
    await mkdir(linked);
    await symlink(store.file, path.join(linked, 'auth.json'));
    await assert.rejects(new AuthFile(linked).begin(KEY, loginOf('b')), /is a symbolic link/);
  });

  it('loses no change of two processes at once', () => writeAtOnce(50));

  it('is whole whenever a process that writes it is killed', () => killWriters(10));
});
