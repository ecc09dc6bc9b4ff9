import assert from 'node:assert/strict';
import { chmod, readdir, rm } from 'node:fs/promises';
import path from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { describe, it } from 'node:test';
import { onEachDatabase, temporaryFolder } from '../../test/support/databases.ts';
import { SCHEMA_VERSION } from '../store/migrator.ts';
import { clockCheck, databaseCheck, dataDirectoryChecks, stdioCheck } from './machine-checks.ts';

describe('what doctor says of this machine', () => {
  it('is whether the data directory is private and keeps what is written, and it leaves nothing there', async () => {
    const folder = await temporaryFolder();
    const [sound, disk] = await dataDirectoryChecks(folder);
    assert.equal(sound?.status, 'pass');
    assert.match(disk?.message ?? '', /\d+ ms/);
    assert.deepEqual(await readdir(folder), []);
    await chmod(folder, 0o755);
    const [open] = await dataDirectoryChecks(folder);
    assert.match(open?.message ?? '', /run chmod 700/);
    await rm(folder, { recursive: true });
    assert.equal((await dataDirectoryChecks(folder))[0]?.status, 'skipped');
  });

  it('is what is pending for the database, and whether a newer Castellan wrote it', async () => {
    const folder = await temporaryFolder();
    assert.equal((await databaseCheck(folder, undefined)).status, 'skipped');
    const database = new DatabaseSync(path.join(folder, 'castellan.db'));
    const at = async (version: number) => {
      database.exec(`pragma user_version = ${version}`);
      return databaseCheck(folder, undefined);
    };
    assert.equal((await at(SCHEMA_VERSION)).status, 'pass');
    const older = await at(SCHEMA_VERSION - 2);
    assert.deepEqual([older.status, /2 pending migrations/.test(older.message)], ['warn', true]);
    const newer = await at(SCHEMA_VERSION + 1);
    assert.deepEqual([newer.status, /run the newer Castellan/.test(newer.message)], ['fail', true]);
    database.close();
    const away = await databaseCheck(folder, 'postgres://nobody:secret-word@127.0.0.1:9/none');
    assert.deepEqual([away.status, /start the database/.test(away.message)], ['fail', true]);
    assert.doesNotMatch(away.message, /secret-word/);
  });

  it('is whether the clocks agree, and who else can read the keys', () => {
    const now = Date.parse('2026-01-01T00:00:00Z');
    assert.equal(clockCheck('Thu, 01 Jan 2026 00:00:02 GMT', now).status, 'pass');
    assert.match(clockCheck('Thu, 01 Jan 2026 00:02:00 GMT', now).message, /^120 s away.*NTP/);
    assert.equal(clockCheck(null, now).status, 'skipped');
    assert.equal(stdioCheck([{ name: 'a', spec: { url: 'https://a.example' } }]).status, 'pass');
    const names = Array.from({ length: 7 }, (_, at) => ({ name: `s${at}`, spec: { command: 'node' } }));
    assert.match(stdioCheck(names).message, /^s0, s1, s2, s3, s4 and 2 more run as the same user/);
  });
});

onEachDatabase('what doctor says of a database', (make) => {
  it('is the version that it was brought to', async () => {
    const database = await make();
    const { dataDir, close } = await database.open();
    const { status, message } = await databaseCheck(dataDir.path, database.databaseUrl);
    assert.deepEqual([status, message.endsWith(`version ${SCHEMA_VERSION}`)], ['pass', true], message);
    await close();
    await database.dispose();
  });
});
