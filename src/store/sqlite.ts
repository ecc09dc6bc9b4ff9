import { existsSync, promises as fs, lstatSync } from 'node:fs';
import path from 'node:path';
import type { DatabaseSync, SQLInputValue } from 'node:sqlite';
import { Kysely, SqliteAdapter, type SqliteDatabase, SqliteDialect, type SqliteStatement } from 'kysely';
import { messageOf, Refusal } from '../base/errors.ts';
import type { Append } from './append.ts';
import type { DataDirectory } from './data-directory.ts';
import { namedFault } from './fault.ts';
import { SCHEMA_VERSION } from './migrator.ts';
import { createPrivateFile, namedFileFault, syncFolder } from './private-file.ts';
import type { Schema } from './schema.ts';
import { SqliteAppends } from './sqlite-appends.ts';
import { openConnection } from './sqlite-connection.ts';
import { SqliteThread, SqliteThreadDialect } from './sqlite-thread-dialect.ts';

export const DATABASE_FILE = 'castellan.db';
/** "Cstl": says whose file it is, to us and to `file`. */
const APPLICATION_ID = 0x4373746c;
const HEADER_BYTES = 100;
const MAGIC = 'SQLite format 3\u0000';
/** SQLITE_CORRUPT and SQLITE_NOTADB. */
const DAMAGE_CODES: ReadonlySet<number> = new Set([11, 26]);
const RESTORE = 'restore it from a backup';

/** `background` reads off the event loop; `append` commits there while there is much, or the disk is slow. */
export type OpenSqlite = {
  db: Kysely<Schema>;
  background: Kysely<Schema>;
  append(rows: Append): Promise<string | undefined>;
  close(): Promise<void>;
};

/**
 * Opens `castellan.db`, made on the first start alone. A file that is missing later, empty, damaged, foreign or newer
 * is refused with the reason; it is never replaced.
 * @param prepare runs on a new database before it gets its name, and on an existing one
 */
export async function openSqlite(
  data: DataDirectory,
  prepare: (db: Kysely<Schema>) => Promise<void>,
): Promise<OpenSqlite> {
  const file = path.join(data.path, DATABASE_FILE);
  if (!lstatSync(file, { throwIfNoEntry: false })) {
    await createFirst(data, file, prepare).catch((error) => {
      throw namedFileFault(data.path, namedFault(error));
    });
  }
  await refuseUnfit(file);
  const database = connect(file);
  try {
    refuseDamaged(database, file);
    const db = kyselyOver(database);
    await prepare(db);
    await data.markLive();
    const thread = new SqliteThread(file);
    const appends = new SqliteAppends(database, thread);
    return {
      db,
      background: new Kysely<Schema>({ dialect: new SqliteThreadDialect(thread) }),
      // Whoever holds our own connection may be writing: two writers would wait for each other's file lock.
      append: (rows) => db.connection().execute(() => appends.append(rows)),
      close: async () => {
        await thread.close();
        await db.destroy();
      },
    };
  } catch (error) {
    if (database.isOpen) database.close();
    throw error;
  }
}

async function createFirst(
  data: DataDirectory,
  file: string,
  prepare: (db: Kysely<Schema>) => Promise<void>,
): Promise<void> {
  if (data.life === 'live') {
    throw new Refusal(
      'invalid',
      `${file} is missing, though this data directory was in use; ${RESTORE}, or move ${data.path} away to start with nothing`,
    );
  }
  if (existsSync(`${file}-wal`)) {
    throw new Refusal('invalid', `${file} is missing, its write-ahead log ${file}-wal is not; ${RESTORE}`);
  }
  const temporary = `${file}.new`;
  for (const leftover of ['', '-wal', '-shm', '-journal'])
    await fs.rm(`${temporary}${leftover}`, { force: true });
  await createPrivateFile(temporary, '');
  const database = connect(temporary);
  try {
    database.exec(`pragma application_id = ${APPLICATION_ID}`);
    await prepare(kyselyOver(database));
  } finally {
    // Closing the only connection writes the log back and removes it: the one file is whole.
    database.close();
  }
  if (existsSync(`${temporary}-wal`)) {
    throw new Refusal('unavailable', `${temporary} could not be written as a whole; is the disk full?`);
  }
  await fs.rename(temporary, file);
  await syncFolder(data.path);
}

/** Judges the bytes before SQLite may touch them: opening would write a log beside a file that is not ours. */
async function refuseUnfit(file: string): Promise<void> {
  const stat = lstatSync(file);
  if (stat.isSymbolicLink()) {
    throw new Refusal('invalid', `${file} is a symbolic link; move the database itself there`);
  }
  if (!stat.isFile())
    throw new Refusal('invalid', `${file} is not a plain file; move it away and ${RESTORE}`);
  if (stat.size === 0)
    throw new Refusal('invalid', `${file} is empty (0 bytes), so its data is lost; ${RESTORE}`);
  if (stat.size < HEADER_BYTES) {
    throw new Refusal('invalid', `${file} is damaged: it has only ${stat.size} bytes; ${RESTORE}`);
  }
  const header = Buffer.alloc(HEADER_BYTES);
  const handle = await fs.open(file, 'r');
  try {
    await handle.read(header, 0, HEADER_BYTES, 0);
  } finally {
    await handle.close();
  }
  if (header.toString('latin1', 0, MAGIC.length) !== MAGIC) {
    throw new Refusal('invalid', `${file} is damaged, or no SQLite database at all; ${RESTORE}`);
  }
  if (header.readUInt32BE(68) !== APPLICATION_ID) {
    throw new Refusal('invalid', `${file} is a database of another program; move it away and ${RESTORE}`);
  }
  refuseCut(file, header, stat.size);
}

/** SQLite reads what is cut from the last page as zeros and finds nothing wrong with them. */
function refuseCut(file: string, header: Buffer, size: number): void {
  // While there is a log, pages may still be on their way from it into the file.
  if (existsSync(`${file}-wal`)) return;
  const pageSize = header.readUInt16BE(16) === 1 ? 65_536 : header.readUInt16BE(16);
  const expected = header.readUInt32BE(28) * pageSize;
  if (size < expected) {
    throw new Refusal('invalid', `${file} is damaged: it has ${size} of ${expected} bytes; ${RESTORE}`);
  }
}

function connect(file: string): DatabaseSync {
  try {
    return openConnection(file);
  } catch (error) {
    if (!isDamage(error)) throw namedFault(error);
    throw new Refusal('invalid', `${file} is damaged (${messageOf(error)}); ${RESTORE}`);
  }
}

function refuseDamaged(database: DatabaseSync, file: string): void {
  let found: string[];
  try {
    found = database
      .prepare('pragma quick_check(3)')
      .all()
      .map((row) => String(Object.values(row)[0]));
  } catch (error) {
    if (!isDamage(error)) throw namedFault(error);
    found = [messageOf(error)];
  }
  if (found[0] !== 'ok') throw new Refusal('invalid', `${file} is damaged (${oneLine(found)}); ${RESTORE}`);
  const version = Number(database.prepare('pragma user_version').get()?.user_version);
  if (version > SCHEMA_VERSION) {
    throw new Refusal(
      'invalid',
      `${file} was written by a newer Castellan (its version is ${version}, this build knows ${SCHEMA_VERSION}); start that version, or restore a backup made by this one`,
    );
  }
}

function isDamage(error: unknown): boolean {
  return DAMAGE_CODES.has(Number((error as { errcode?: number }).errcode) & 0xff);
}

function oneLine(found: readonly string[]): string {
  const lines = found.flatMap((text) => text.split('\n')).filter((line) => !line.startsWith('***'));
  return lines.join('; ').slice(0, 500);
}

function kyselyOver(database: DatabaseSync): Kysely<Schema> {
  return new Kysely<Schema>({ dialect: new TransactionalSqliteDialect({ database: shim(database) }) });
}

class TransactionalSqliteDialect extends SqliteDialect {
  override createAdapter(): SqliteAdapter {
    return new TransactionalSqliteAdapter();
  }
}

/** SQLite rolls back schema changes like any other; kysely's own adapter leaves that unused. */
class TransactionalSqliteAdapter extends SqliteAdapter {
  override get supportsTransactionalDdl(): boolean {
    return true;
  }
}

const NOTHING: SqliteStatement = {
  reader: true,
  all: () => [],
  run: () => ({ changes: 0, lastInsertRowid: 0 }),
  iterate: () => [].values(),
};

/** Gives `node:sqlite` the face of the driver that kysely knows. */
function shim(database: DatabaseSync): SqliteDatabase {
  return {
    close: () => database.close(),
    prepare(text) {
      // After a full disk SQLite took the transaction back itself; a second time would hide why.
      if (text === 'rollback' && !database.isTransaction) return NOTHING;
      // A transaction that reads first and writes later would lose to another writer halfway.
      const statement = naming(() => database.prepare(text === 'begin' ? 'begin immediate' : text));
      return {
        reader: statement.columns().length > 0,
        // Rows come without a prototype; callers get the plain objects that PostgreSQL gives them.
        all: (values) =>
          naming(() => statement.all(...(values as SQLInputValue[])).map((row) => ({ ...row }))),
        run: (values) => naming(() => statement.run(...(values as SQLInputValue[]))),
        iterate: (values) => statement.iterate(...(values as SQLInputValue[])) as IterableIterator<unknown>,
      };
    },
  };
}

function naming<T>(run: () => T): T {
  try {
    return run();
  } catch (error) {
    throw namedFault(error);
  }
}
