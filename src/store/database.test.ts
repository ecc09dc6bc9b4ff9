import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { type Kysely, sql } from 'kysely';
import {
  onEachDatabase,
  postgresDatabase,
  postgresMissing,
  quietLogger,
  TEST_MASTER_KEY,
  type TestDatabase,
  temporaryFolder,
} from '../../test/support/databases.ts';
import { openDataDirectory } from './data-directory.ts';
import { openStore } from './database.ts';
import { isUniqueViolation } from './fault.ts';
import { SCHEMA_VERSION } from './migrator.ts';
import type { Schema } from './schema.ts';

async function on(
  make: () => Promise<TestDatabase>,
  use: (database: TestDatabase) => Promise<void>,
): Promise<void> {
  const database = await make();
  try {
    await use(database);
  } finally {
    await database.dispose();
  }
}

onEachDatabase('store', (make) => {
  it('answers, holds the local administrator, and says so when it is closed', () =>
    on(make, async (database) => {
      const { store } = await database.open();
      assert.equal(store.dialect, database.name === 'SQLite' ? 'sqlite' : 'postgres');
      assert.deepEqual(await store.ready(), { ok: true, value: undefined });
      assert.deepEqual(
        await store.db.selectFrom('resources').select(['kind', 'name']).orderBy('kind').execute(),
        [
          { kind: 'Rbac', name: 'administrators' },
          { kind: 'User', name: 'admin' },
        ],
      );
      await store.close();
      assert.deepEqual(await store.ready(), { ok: false, error: 'the database is closed' });
      await store.close();
    }));

  it('gives milliseconds and counts back as numbers', () =>
    on(make, async (database) => {
      const { store } = await database.open();
      const now = Date.now();
      await store.db
        .insertInto('resources')
        .values({
          kind: 'Server',
          name: 'a',
          uid: 'u',
          spec: '{}',
          resource_version: 1,
          created_at: now,
          updated_at: now,
        })
        .execute();
      const row = await store.db
        .selectFrom('resources')
        .selectAll()
        .where('uid', '=', 'u')
        .executeTakeFirstOrThrow();
      assert.deepEqual([row.created_at, row.resource_version], [now, 1]);
      const { n } = await store.db
        .selectFrom('resources')
        .select((select) => select.fn.countAll<number>().as('n'))
        .where('kind', '=', 'Server')
        .executeTakeFirstOrThrow();
      assert.equal(n, 1);
    }));

  it('knows a unique index from another fault', () =>
    on(make, async (database) => {
      const { store } = await database.open();
      const add = () => store.db.insertInto('meta').values({ key: 'k', value: 'v' }).execute();
      await add();
      await assert.rejects(add(), isUniqueViolation);
      await assert.rejects(
        sql`select * from nowhere`.execute(store.db),
        (error) => !isUniqueViolation(error),
      );
    }));

  it('takes a transaction back as a whole, and transactions that run at once do not mix', () =>
    on(make, async (database) => {
      const { store } = await database.open();
      const write = (key: string, fail: boolean) =>
        store.db.transaction().execute(async (transaction) => {
          await transaction.insertInto('meta').values({ key, value: 'v' }).execute();
          await new Promise(setImmediate);
          if (fail) throw new Error('taken back');
        });
      const ended = await Promise.allSettled(
        Array.from({ length: 10 }, (_, index) => write(`t ${index}`, index % 2 === 1)),
      );
      assert.deepEqual(
        ended.map((each) => each.status === 'fulfilled'),
        [true, false, true, false, true, false, true, false, true, false],
      );
      const rows = await store.db
        .selectFrom('meta')
        .select('key')
        .where('key', 'like', 't %')
        .orderBy('key')
        .execute();
      assert.deepEqual(
        rows.map((row) => row.key),
        ['t 0', 't 2', 't 4', 't 6', 't 8'],
      );
    }));
});

describe('PostgreSQL as a store', async () => {
  const skip = (await postgresMissing()) === undefined ? false : 'no PostgreSQL';

  it('is migrated once by eight processes that start at once', { skip }, () =>
    on(postgresDatabase, async (database) => {
      const opened = await Promise.all(Array.from({ length: 8 }, () => database.open()));
      for (const { store } of opened) assert.equal((await store.ready()).ok, true);
      const { rows } = await sql`select name from castellan_migration`.execute(opened[0]!.store.db);
      assert.equal(rows.length, SCHEMA_VERSION);
    }),
  );

  it('of a newer Castellan is refused', { skip }, () =>
    on(postgresDatabase, async (database) => {
      const { store } = await database.open();
      await sql`insert into castellan_migration values ('9999-later', '2099-01-01T00:00:00.000Z')`.execute(
        store.db,
      );
      await assert.rejects(database.open(), /newer Castellan \(it has 9999-later\)/);
      assert.equal((await store.ready()).ok, true, 'the one that runs goes on');
    }),
  );

  it('with tables of another program is refused and not touched', { skip }, () =>
    on(postgresDatabase, async (database) => {
      const { store } = await database.open();
      await sql`drop table castellan_migration`.execute(store.db);
      await assert.rejects(
        database.open(),
        /holds tables of another program \(.*mcp_tokens.*\); give Castellan a database/,
      );
      const { rows } = await sql`select to_regclass('castellan_migration') as found`.execute(store.db);
      assert.deepEqual(rows, [{ found: null }]);
    }),
  );

  it('takes a half migration back: the next start begins from the version before', { skip }, () =>
    on(postgresDatabase, async (database) => {
      const first = await database.open();
      const { store } = first;
      const tables = await sql<{
        name: string;
      }>`select tablename as name from pg_tables where schemaname = current_schema()`.execute(store.db);
      for (const { name } of tables.rows)
        await sql`drop table if exists ${sql.table(name)} cascade`.execute(store.db);
      // An index name that is taken makes the migration fail after it made its tables.
      await sql`create table elsewhere (x text)`.execute(store.db);
      await sql`create index mcp_tokens_owner on elsewhere (x)`.execute(store.db);
      await assert.rejects(database.open(), /could not be brought up to date: .*mcp_tokens_owner/);
      const { rows } = await sql`select to_regclass('meta') as found`.execute(store.db);
      assert.deepEqual(rows, [{ found: null }]);
      await sql`drop table elsewhere`.execute(store.db);
      const next = await database.open();
      assert.equal((await next.store.ready()).ok, true);
    }),
  );

  it('made with another key is refused', { skip }, () =>
    on(postgresDatabase, async (database) => {
      await database.open();
      const databaseUrl = database.databaseUrl;
      const env = { CASTELLAN_MASTER_KEY: TEST_MASTER_KEY.split('').reverse().join('') };
      const dataDir = await openDataDirectory(await temporaryFolder(), { env, databaseUrl });
      await assert.rejects(
        openStore({ dataDir, databaseUrl, logger: quietLogger() }),
        /CASTELLAN_MASTER_KEY is not the key that PostgreSQL .* was made with/,
      );
      await dataDir.close();
    }),
  );

  it('refuses by name while its connection is gone, and comes back by itself', { skip }, () =>
    on(postgresDatabase, async (database) => {
      const { store } = await database.open();
      const other = await database.open();
      const endConnectionOf = async (db: Kysely<Schema>) => {
        const { rows } = await sql<{ pid: number }>`select pg_backend_pid() as pid`.execute(db);
        await sql`select pg_terminate_backend(${rows[0]?.pid}, 5000)`.execute(other.store.db);
      };
      await assert.rejects(
        store.db.transaction().execute(async (transaction) => {
          await endConnectionOf(transaction);
          await transaction.insertInto('meta').values({ key: 'lost', value: 'x' }).execute();
        }),
        (error: Error & { kind?: string }) =>
          error.kind === 'unavailable' && /PostgreSQL does not answer/.test(error.message),
      );
      await endConnectionOf(store.db);
      let ready = await store.ready();
      for (let attempt = 0; !ready.ok && attempt < 3; attempt += 1) ready = await store.ready();
      assert.equal(ready.ok, true);
      const rows = await store.db.selectFrom('meta').select('key').where('key', '=', 'lost').execute();
      assert.deepEqual(rows, []);
    }),
  );

  it('that cannot be reached, or a URL that is none, is told without user and password', async () => {
    const cases: [string, RegExp][] = [
      [
        'postgres://bob:hunter2@127.0.0.1:1/x',
        /PostgreSQL 127\.0\.0\.1:1\/x cannot be reached: .*ECONNREFUSED.*CASTELLAN_DATABASE_URL/,
      ],
      ['mysql://bob:hunter2@127.0.0.1/x', /CASTELLAN_DATABASE_URL is no postgres:\/\/ URL/],
      ['bob:hunter2', /CASTELLAN_DATABASE_URL is no postgres:\/\/ URL/],
    ];
    for (const [databaseUrl, message] of cases) {
      const dataDir = await openDataDirectory(await temporaryFolder(), {
        env: { CASTELLAN_MASTER_KEY: TEST_MASTER_KEY },
        databaseUrl,
      });
      await assert.rejects(openStore({ dataDir, databaseUrl, logger: quietLogger() }), (error: Error) => {
        assert.match(error.message, message);
        assert.ok(!/hunter2|bob/.test(error.message), error.message);
        return true;
      });
      await dataDir.close();
    }
  });
});
