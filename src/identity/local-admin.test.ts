import assert from 'node:assert/strict';
import { chmod, lstat, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { describe, it } from 'node:test';
import { quietLogger, sqliteDatabase, temporaryFolder } from '../../test/support/databases.ts';
import { openIdentity } from '../../test/support/identity.ts';
import { mintCredential } from '../base/ids.ts';
import { type DataDirectory, openDataDirectory } from '../store/data-directory.ts';
import { Authenticator } from './authenticator.ts';
import { localAdminCaller, openLocalAdmin, readLocalAdmin } from './local-admin.ts';

async function inDirectory(use: (dataDir: DataDirectory, file: string) => Promise<void>): Promise<void> {
  const dataDir = await openDataDirectory(await temporaryFolder(), { env: {} });
  try {
    await use(dataDir, path.join(dataDir.path, 'admin.json'));
  } finally {
    await dataDir.close();
  }
}

const refusedAs = (kind: string, message: RegExp) => (error: Error & { kind?: string }) => {
  assert.equal(error.kind, kind, error.stack);
  assert.match(error.message, message);
  assert.ok(!/cst_adm_/.test(error.message));
  return true;
};

describe('local administrator', () => {
  it('is the same from start to start, in a file for its owner alone', () =>
    inDirectory(async (dataDir, file) => {
      const first = await openLocalAdmin(dataDir, quietLogger());
      await first.setUrl('http://127.0.0.1:7400');
      assert.equal((await lstat(file)).mode & 0o777, 0o600);
      const read = await readLocalAdmin(dataDir.path);
      assert.deepEqual(read, {
        url: 'http://127.0.0.1:7400',
        credential: read.credential,
        pid: process.pid,
        passing: false,
      });
      const caller = first.verify(read.credential);
      assert.deepEqual(caller, {
        principal: 'User:admin',
        owner: 'admin',
        ceilings: [],
        project: '*',
        surfaces: new Set(['consumer', 'operator']),
      });
      const second = await openLocalAdmin(dataDir, quietLogger());
      assert.ok(second.verify(read.credential));
      for (const other of ['', 'x', mintCredential('adm'), `${read.credential}x`]) {
        assert.equal(second.verify(other), undefined);
      }
    }));

  it('is found only while a server runs', () =>
    inDirectory(async (dataDir) => {
      await assert.rejects(
        readLocalAdmin(dataDir.path),
        refusedAs('unavailable', /no castellan runs on .*castellan serve/),
      );
      const admin = await openLocalAdmin(dataDir, quietLogger());
      await assert.rejects(readLocalAdmin(dataDir.path), refusedAs('unavailable', /no castellan runs on/));
      await admin.setUrl('http://127.0.0.1:1');
      await readLocalAdmin(dataDir.path);
      await admin.setUrl(undefined);
      await assert.rejects(readLocalAdmin(dataDir.path), refusedAs('unavailable', /no castellan runs on/));
      await assert.rejects(
        readLocalAdmin(path.join(dataDir.path, 'nowhere')),
        refusedAs('unavailable', /no castellan/),
      );
    }));

  it('is not sent to whoever took the port of a server that was killed', async () => {
    const dataDir = await openDataDirectory(await temporaryFolder(), { env: {} });
    const admin = await openLocalAdmin(dataDir, quietLogger());
    await admin.setUrl('http://127.0.0.1:7400');
    await readLocalAdmin(dataDir.path);
    await dataDir.close();
    assert.match(await readFile(path.join(dataDir.path, 'admin.json'), 'utf8'), /127\.0\.0\.1:7400/);
    await assert.rejects(readLocalAdmin(dataDir.path), refusedAs('unavailable', /no castellan runs on/));
  });

  it('is not believed from a file that others can read, and such a credential is replaced', () =>
    inDirectory(async (dataDir, file) => {
      const admin = await openLocalAdmin(dataDir, quietLogger());
      await admin.setUrl('http://127.0.0.1:1');
      const { credential } = await readLocalAdmin(dataDir.path);
      for (const mode of [0o604, 0o640, 0o666]) {
        await chmod(file, mode);
        await assert.rejects(
          readLocalAdmin(dataDir.path),
          refusedAs('forbidden', /can be read by other users; run: chmod 600/),
        );
      }
      const next = await openLocalAdmin(dataDir, quietLogger());
      assert.equal(next.verify(credential), undefined);
      assert.equal((await lstat(file)).mode & 0o777, 0o600);
    }));

  it('is made anew when its file is damaged, and refused through a link', () =>
    inDirectory(async (dataDir, file) => {
      for (const content of ['', '{', 'null', '{"credential":"cst_adm_x","url":"http://x"}']) {
        await writeFile(file, content);
        await chmod(file, 0o600);
        await assert.rejects(readLocalAdmin(dataDir.path), refusedAs('invalid', /is damaged; restart/));
        const admin = await openLocalAdmin(dataDir, quietLogger());
        assert.ok(admin.verify(JSON.parse(await readFile(file, 'utf8')).credential));
      }
      const elsewhere = path.join(await temporaryFolder(), 'admin.json');
      await writeFile(elsewhere, '{}');
      await rm(file);
      await symlink(elsewhere, file);
      await assert.rejects(readLocalAdmin(dataDir.path), refusedAs('invalid', /is a symbolic link/));
      await assert.rejects(
        openLocalAdmin(dataDir, quietLogger()),
        refusedAs('invalid', /is a symbolic link/),
      );
    }));
});

describe('authenticator', () => {
  it('asks whoever made the credential', async () => {
    const database = await sqliteDatabase();
    const { dataDir, store } = await database.open();
    const identity = await openIdentity({ store, dataDir }, database.logger);
    const { tokens, authorizer, resources } = identity;
    const admin = await openLocalAdmin(dataDir, database.logger);
    await admin.setUrl('http://x');
    const authenticator = new Authenticator(tokens, tokens, admin, authorizer, resources);
    const { credential } = await readLocalAdmin(dataDir.path);
    const { raw } = await tokens.create({
      name: 'a',
      project: { name: 'demo', uid: 'u' },
      creator: localAdminCaller(),
      surfaces: ['consumer'],
      rbac: 'clone',
      expiresAt: null,
    });

    assert.equal(authenticator.peek(credential)?.principal, 'User:admin');
    const byCredential = await authenticator.authenticate(credential);
    assert.equal(byCredential.ok && byCredential.value.project, '*');
    assert.equal(authenticator.peek(raw), undefined);
    const byToken = await authenticator.authenticate(raw);
    assert.equal(byToken.ok && byToken.value.project, 'demo');
    assert.equal(authenticator.peek(raw)?.tokenName, 'a');
    assert.deepEqual(await authenticator.authenticate(mintCredential('adm')), {
      ok: false,
      error: 'unknown',
    });
    assert.deepEqual(await authenticator.authenticate('cst_adm_x'), { ok: false, error: 'malformed' });
    assert.deepEqual(await authenticator.authenticate(credential.replace('adm', 'pat')), {
      ok: false,
      error: 'unknown',
    });
    assert.deepEqual(await authenticator.authenticate(''), { ok: false, error: 'malformed' });
    assert.equal(authenticator.peek('cst_adm_x'), undefined);

    await identity.close();
    await database.dispose();
  });
});
