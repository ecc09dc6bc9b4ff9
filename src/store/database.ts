import type { Kysely } from 'kysely';
import { messageOf, Refusal } from '../base/errors.ts';
import type { Logger } from '../base/logger.ts';
import { ok, type Result, refused } from '../base/result.ts';
import { keyCheckValue } from '../base/seal.ts';
import type { Append } from './append.ts';
import type { DataDirectory } from './data-directory.ts';
import { KeyRing } from './key-ring.ts';
import { type Dialect, migrate } from './migrator.ts';
import { appendTo, openPostgres, postgresPlace } from './postgres.ts';
import type { Schema } from './schema.ts';
import { type OpenSqlite, openSqlite } from './sqlite.ts';

const KEY_CHECK = 'master_key_check';

/** The open database, up to date, made with this master key. */
export type Store = {
  readonly db: Kysely<Schema>;
  /** The same database for long reads, off the event loop; it begins no transaction. */
  readonly background: Kysely<Schema>;
  readonly dialect: Dialect;
  /** What everything is sealed with. */
  readonly keys: KeyRing;
  /**
   * Writes the rows and moves the mark in one durable commit; resolves with the hash of the last row. Undefined: the
   * mark was elsewhere, nothing was written.
   */
  append(rows: Append): Promise<string | undefined>;
  /** Whether it answers now; the error is a sentence fit for `/readyz`. */
  ready(): Promise<Result<void, string>>;
  close(): Promise<void>;
};

/**
 * Opens PostgreSQL when `databaseUrl` is given, else `castellan.db` in the data directory, and migrates it.
 * @throws Refusal with the reason and the fix: unreachable, damaged, foreign, newer, missing, or another master key
 */
export async function openStore(options: {
  dataDir: DataDirectory;
  databaseUrl?: string | undefined;
  logger: Logger;
}): Promise<Store> {
  const { dataDir, databaseUrl, logger } = options;
  const opened =
    databaseUrl === undefined
      ? await openSqlite(dataDir, (db) => prepare(db, 'sqlite', `${dataDir.path}/castellan.db`, dataDir))
      : await openPostgresStore(databaseUrl, dataDir, logger);
  const dialect: Dialect = databaseUrl === undefined ? 'sqlite' : 'postgres';
  try {
    const { masterKey, sealer } = dataDir;
    const keys = await KeyRing.open({ db: opened.db, dialect, masterKey, sealer, logger });
    return storeOver(dialect, keys, opened);
  } catch (error) {
    await opened.close();
    throw error;
  }
}

async function openPostgresStore(url: string, dataDir: DataDirectory, logger: Logger): Promise<OpenSqlite> {
  const db = await openPostgres(url, logger);
  try {
    await prepare(db, 'postgres', postgresPlace(url), dataDir);
  } catch (error) {
    await db.destroy();
    throw error;
  }
  return { db, background: db, append: (rows) => appendTo(db, rows), close: () => db.destroy() };
}

async function prepare(
  db: Kysely<Schema>,
  dialect: Dialect,
  place: string,
  data: DataDirectory,
): Promise<void> {
  await migrate(db, dialect, place);
  const mine = keyCheckValue(data.masterKey);
  // Of several first starts on one database one value stays; the others find it and compare.
  await db
    .insertInto('meta')
    .values({ key: KEY_CHECK, value: mine })
    .onConflict((conflict) => conflict.column('key').doNothing())
    .execute();
  const kept = await db
    .selectFrom('meta')
    .select('value')
    .where('key', '=', KEY_CHECK)
    .executeTakeFirstOrThrow();
  if (kept.value !== mine) {
    const origin =
      data.masterKeyOrigin === 'environment' ? 'CASTELLAN_MASTER_KEY' : `${data.path}/master.key`;
    throw new Refusal(
      'invalid',
      `${origin} is not the key that ${place} was made with; give the key used before`,
    );
  }
}

function storeOver(dialect: Dialect, keys: KeyRing, { db, background, append, close }: OpenSqlite): Store {
  let closed: Promise<void> | undefined;
  return {
    db,
    background,
    dialect,
    keys,
    append,
    async ready() {
      if (closed) return refused('the database is closed');
      try {
        await db.selectFrom('meta').select('key').limit(1).execute();
        return ok(undefined);
      } catch (error) {
        return refused(messageOf(error));
      }
    },
    close() {
      closed ??= keys.close().then(close);
      return closed;
    },
  };
}
