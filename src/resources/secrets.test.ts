import assert from 'node:assert/strict';
import { readdir, readFile, rm, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { afterEach, beforeEach, describe, it } from 'node:test';
import {
  onEachDatabase,
  openAudit,
  type TestDatabase,
  temporaryFolder,
} from '../../test/support/databases.ts';
import { canonicalJson } from '../base/canonical-json.ts';
import { Refusal } from '../base/errors.ts';
import { sha256Hex } from '../base/ids.ts';
import { Resources } from './registry.ts';

const open = '${';
const VALUE = 'tr0ub4dor-and-three';

const secret = (name: string, spec: object) => ({ kind: 'Secret', metadata: { name }, spec });
const server = (name: string, spec: object = { url: 'http://127.0.0.1:1/mcp' }) => {
  return { kind: 'Server', metadata: { name }, spec };
};
const using = (name: string, reference: string) =>
  server(name, { url: 'http://127.0.0.1:1/mcp', headers: { Authorization: `Bearer ${open}${reference}}` } });

function refusal(kind: Refusal['kind'], message: RegExp): (error: unknown) => boolean {
  return (error) => {
    assert.ok(error instanceof Refusal, String(error));
    assert.equal(error.kind, kind);
    assert.match(error.message, message);
    assert.ok(!error.message.includes(VALUE));
    return true;
  };
}

onEachDatabase('secrets', (make) => {
  let database: TestDatabase;
  let process: Awaited<ReturnType<TestDatabase['open']>>;
  let folder: string;
  const opened: Resources[] = [];

  beforeEach(async () => {
    database = await make();
    process = await database.open();
    folder = await temporaryFolder();
  });
  afterEach(async () => {
    for (const resources of opened.splice(0)) await resources.close();
    await database.dispose();
    await rm(folder, { recursive: true, force: true });
  });

  const resourcesOf = async (files: string[] = [], env: Record<string, string> = {}, of = process) => {
    const { store, dataDir } = of;
    const { logger } = database;
    const audit = await openAudit({ store, dataDir });
    const dataFolder = dataDir.path;
    const resources = await Resources.open({
      store,
      audit,
      files,
      env,
      logger,
      dataDir: dataFolder,
      nodePath: '',
    });
    opened.push(resources);
    return resources;
  };
  const file = async (content: object) => {
    const place = path.join(folder, 'config.json');
    await writeFile(place, JSON.stringify(content));
    return place;
  };
  const headers = (resources: Resources, name: string) => {
    const entry = resources.snapshot().servers.get(name);
    const target = entry?.spec?.target;
    return target?.type === 'http' ? target.headers : entry?.error;
  };

  describe('over the API', () => {
    it('show the names of their keys and never a value', async () => {
      const resources = await resourcesOf();
      const { object, action } = await resources.put(secret('s', { data: { token: VALUE, b: 'x' } }));
      assert.equal(action, 'created');
      assert.deepEqual(object.spec, { keys: ['b', 'token'] });
      assert.match(object.metadata.uid, /^sec_/);
      for (const shown of [object, resources.list('Secret'), resources.get('Secret', 's')])
        assert.ok(!JSON.stringify(shown).includes(VALUE));
      const rows = await process.store.db.selectFrom('resources').selectAll().execute();
      const events = await process.store.db.selectFrom('audit_events').selectAll().execute();
      assert.ok(events.some(({ target }) => target === 'Secret/s'));
      assert.ok(!JSON.stringify([rows, events]).includes(VALUE));
    });

    it('take back what was shown of them, and lose no value by it', async () => {
      const resources = await resourcesOf();
      const { object } = await resources.put(secret('s', { data: { token: VALUE } }));
      await resources.put(using('a', 'secret:s.token'));
      assert.equal((await resources.put(object)).action, 'unchanged');
      assert.equal((await resources.put(secret('s', {}))).action, 'unchanged');
      assert.deepEqual(headers(resources, 'a'), { Authorization: `Bearer ${VALUE}` });
      const again = await resourcesOf();
      assert.deepEqual(again.get('Secret', 's'), object);
      assert.deepEqual(headers(again, 'a'), { Authorization: `Bearer ${VALUE}` });
    });

    it('replace all values by those that are given, and keep those that are named', async () => {
      const resources = await resourcesOf();
      await resources.put(using('a', 'secret:s.a'));
      await resources.put(using('b', 'secret:s.b'));
      const first = await resources.put(secret('s', { data: { a: 'one', b: 'two' } }));
      const second = await resources.put(secret('s', { keys: ['a'], data: { b: 'three' } }));
      assert.equal(second.action, 'configured');
      assert.notEqual(second.object.metadata.resourceVersion, first.object.metadata.resourceVersion);
      assert.deepEqual(headers(resources, 'a'), { Authorization: 'Bearer one' });
      assert.deepEqual(headers(resources, 'b'), { Authorization: 'Bearer three' });
      await resources.put(secret('s', { keys: ['b'] }));
      assert.match(String(headers(resources, 'a')), /secret s has no key a: add it/);
      await resources.put(secret('s', { data: { c: 'four' } }));
      assert.match(String(headers(resources, 'b')), /secret s has no key b/);
      const rows = await process.store.db.selectFrom('secret_values').select('name').execute();
      assert.deepEqual(rows, [{ name: 'c' }]);
      await resources.remove('Secret', 's');
      assert.deepEqual(await process.store.db.selectFrom('secret_values').selectAll().execute(), []);
      assert.match(String(headers(resources, 'b')), /there is no secret s: create it, with a key b/);
    });

    it('do not tell by a trial whether a value was guessed', async () => {
      const resources = await resourcesOf();
      await resources.put(secret('s', { data: { pin: '4711' } }));
      for (const pin of ['4711', '4712']) {
        const { action } = await resources.put(secret('s', { data: { pin } }), { dryRun: true });
        assert.equal(action, 'configured');
      }
    });

    it('dial exactly the servers again that use what has changed', async () => {
      const resources = await resourcesOf();
      await resources.put(secret('s', { data: { a: 'one', b: 'two' } }));
      for (const [name, reference] of [
        ['a', 'secret:s.a'],
        ['b', 'secret:s.b'],
      ] as const)
        await resources.put(using(name, reference));
      await resources.put(server('c'));
      const prints = () => [...resources.snapshot().servers.values()].map((entry) => entry.fingerprint);
      const before = prints();
      await resources.put(secret('s', { keys: ['a'], data: { b: 'changed' } }));
      const after = prints();
      assert.deepEqual(
        after.map((print, index) => print === before[index]),
        [true, false, true],
      );
      await resources.put(secret('s', { keys: ['a'], data: { b: 'two' } }));
      assert.deepEqual(prints(), before);
      const b = resources.snapshot().servers.get('b');
      for (const guess of [b?.spec, ['b', b?.spec]])
        assert.notEqual(b?.fingerprint, sha256Hex(canonicalJson(guess)));
      assert.equal((await resourcesOf()).snapshot().servers.get('b')?.fingerprint, before[1]);
    });

    it('stay out of what a resolved list shows', async () => {
      const resources = await resourcesOf();
      await resources.put(secret('s', { data: { a: VALUE } }));
      await resources.put(using('a', 'secret:s.a'));
      await resources.put(using('b', 'secret:s.none'));
      const a = resources.resolved('a');
      assert.ok(JSON.stringify(a?.spec).includes(`${open}secret:s.a}`) && a?.error === undefined);
      assert.match(resources.resolved('b')?.error ?? '', /secret s has no key none/);
      assert.deepEqual(
        [...(resources.snapshot().servers.get('a')?.confidential ?? [])],
        [[VALUE, `${open}secret:s.a}`]],
      );
    });

    it('are refused by field, without the value', async () => {
      const resources = await resourcesOf();
      const many = Object.fromEntries(Array.from({ length: 65 }, (_, index) => [`k${index}`, 'x']));
      const bad: [object, RegExp][] = [
        [{}, /^spec\.data: is missing: give at least one value$/],
        [{ data: {} }, /^spec\.data: is empty/],
        [{ keys: ['a'] }, /^spec\.keys\[0\]: a has no value yet: give it in spec\.data$/],
        [{ data: { 'a.b': VALUE } }, /^spec\.data\["a\.b"\]: is no valid key/],
        [{ data: { a: '' } }, /^spec\.data\.a: is empty/],
        [{ data: { a: `${VALUE}\0` } }, /^spec\.data\.a: contains a NUL/],
        [{ data: { a: VALUE.repeat(4000) } }, /^spec\.data\.a: has \d+ bytes: the limit is 64 KiB/],
        [{ data: { a: 1 } }, /^spec\.data\.a: must be text/],
        [{ data: many }, /^spec\.data: has 65 values: the limit is 64/],
        [{ dta: { a: VALUE } }, /^spec\.dta: unknown key: did you mean data\?/],
      ];
      for (const [spec, message] of bad)
        await assert.rejects(resources.put(secret('s', spec)), refusal('invalid', message));
    });

    it('break the server alone whose value was altered or moved in the database', async () => {
      const resources = await resourcesOf();
      await resources.put(secret('s', { data: { a: 'one', b: 'two' } }));
      await resources.put(using('a', 'secret:s.a'));
      await resources.put(using('b', 'secret:s.b'));
      const { db } = process.store;
      const moved = await db
        .selectFrom('secret_values')
        .select('sealed')
        .where('name', '=', 'b')
        .executeTakeFirstOrThrow();
      await db.updateTable('secret_values').set(moved).where('name', '=', 'a').execute();
      const again = await resourcesOf();
      assert.match(String(headers(again, 'a')), /key a of secret s cannot be opened: give its value again/);
      assert.deepEqual(headers(again, 'b'), { Authorization: 'Bearer two' });
    });

    it('leave no value in a file of the database', async () => {
      const resources = await resourcesOf();
      await resources.put(secret('s', { data: { a: VALUE } }));
      await resources.put(using('a', 'secret:s.a'));
      await resources.put(secret('s', { data: { a: `${VALUE}-again` } }));
      const names = await readdir(process.dataDir.path);
      for (const name of names.filter((one) => one.startsWith('castellan.db'))) {
        const content = await readFile(path.join(process.dataDir.path, name));
        assert.equal(content.indexOf(VALUE), -1, name);
      }
      const rows = await process.store.db.selectFrom('secret_values').selectAll().execute();
      assert.equal(rows.length, 1);
      assert.ok(!JSON.stringify(rows).includes(VALUE));
    });
  });

  describe('of files', () => {
    it('live in memory, with variables that are not our own', async () => {
      const data = { a: `${open}TOKEN}`, own: `${open}CASTELLAN_MASTER_KEY}`, none: `${open}NONE}` };
      const nested = { ...data, other: `${open}secret:s.a}` };
      const place = await file([secret('s', { data: nested }), using('a', 'secret:s.a')]);
      const env = { TOKEN: VALUE, CASTELLAN_MASTER_KEY: 'k' };
      const resources = await resourcesOf([place], env);
      for (const key of ['own', 'none', 'other']) await resources.put(using(key, `secret:s.${key}`));
      assert.deepEqual(headers(resources, 'a'), { Authorization: `Bearer ${VALUE}` });
      assert.match(String(headers(resources, 'own')), /key own of secret s: .*never expands/);
      assert.match(String(headers(resources, 'none')), /key none of secret s: variable NONE is not set/);
      assert.match(String(headers(resources, 'other')), /key other of secret s: only variables expand/);
      assert.deepEqual(resources.get('Secret', 's')?.spec, { keys: ['a', 'none', 'other', 'own'] });
      assert.deepEqual(await process.store.db.selectFrom('secret_values').selectAll().execute(), []);
      await assert.rejects(
        resources.put(secret('s', { data: { a: 'x' } })),
        refusal('conflict', /belongs to/),
      );
    });

    it('change their version with a value, and need one for every key', async () => {
      const place = await file([secret('s', { data: { a: 'one' } }), using('a', 'secret:s.a')]);
      const resources = await resourcesOf([place]);
      const before = resources.get('Secret', 's')?.metadata.resourceVersion;
      await file([secret('s', { data: { a: 'two' } }), using('a', 'secret:s.a')]);
      assert.equal((await resources.reload()).ok, true);
      assert.notEqual(resources.get('Secret', 's')?.metadata.resourceVersion, before);
      assert.deepEqual(headers(resources, 'a'), { Authorization: 'Bearer two' });
      await file([secret('s', { keys: ['a', 'b'], data: { a: 'two' } })]);
      assert.match(
        (await resources.reload()).message,
        /spec\.keys\[1\]: a secret of a file needs its values/,
      );
      assert.deepEqual(headers(resources, 'a'), { Authorization: 'Bearer two' });
    });

    it('stand in for a stored one as a whole', async () => {
      const stored = await resourcesOf();
      await stored.put(secret('s', { data: { a: 'stored', b: 'stored' } }));
      const place = await file([secret('s', { data: { a: 'declared' } })]);
      const resources = await resourcesOf([place]);
      await resources.put(using('a', 'secret:s.a'));
      await resources.put(using('b', 'secret:s.b'));
      assert.deepEqual(headers(resources, 'a'), { Authorization: 'Bearer declared' });
      assert.match(String(headers(resources, 'b')), /secret s has no key b/);
    });
  });
});
