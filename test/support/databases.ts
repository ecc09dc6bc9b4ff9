import { randomBytes } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { describe, it } from 'node:test';
import pg from 'pg';
import { Audit } from '../../src/audit/audit.ts';
import { createLogger, type Logger } from '../../src/base/logger.ts';
import { type DataDirectory, openDataDirectory } from '../../src/store/data-directory.ts';
import { openStore, type Store } from '../../src/store/database.ts';

/** One database of one test, and as many processes' views of it as the test opens. */
export type TestDatabase = {
  readonly name: 'SQLite' | 'PostgreSQL';
  readonly logger: Logger;
  /** The URL of the test's own schema; undefined for SQLite. */
  readonly databaseUrl: string | undefined;
  /** The data directory and store of one process. On PostgreSQL each call is another replica. */
  open(): Promise<{ dataDir: DataDirectory; store: Store; close(): Promise<void> }>;
  /** Closes what is open and removes every trace. */
  dispose(): Promise<void>;
};

export const TEST_MASTER_KEY = 'q3JmVZ0H8xKc1tYw5uLrNf7eGs2aBd9oPi4XzQkTjMg';

const SERVER = process.env.CASTELLAN_TEST_DATABASE_URL ?? 'postgres://root@127.0.0.1:5432/test';

/**
 * Runs a suite once on SQLite and once on PostgreSQL. PostgreSQL must be there when `CI=true`; elsewhere its run is
 * skipped with a line that says so. `CASTELLAN_TEST_DATABASE_URL` names the server; each test has its own schema.
 */
export function onEachDatabase(title: string, suite: (make: () => Promise<TestDatabase>) => void): void {
  describe(`${title} (SQLite)`, () => suite(sqliteDatabase));
  describe(`${title} (PostgreSQL)`, async () => {
    const missing = await postgresMissing();
    if (missing === undefined) suite(postgresDatabase);
    else if (process.env.CI === 'true') {
      it('has a PostgreSQL to run on', () => {
        throw new Error(`PostgreSQL is required when CI=true: ${missing}`);
      });
    } else {
      process.stderr.write(`SKIPPED on PostgreSQL: ${title}: ${missing}; set CASTELLAN_TEST_DATABASE_URL\n`);
      it('runs on PostgreSQL', { skip: `no PostgreSQL: ${missing}` });
    }
  });
}

/** The audit of one process on an open database. */
export function openAudit({ store, dataDir }: { store: Store; dataDir: Pick<DataDirectory, 'masterKey'> }) {
  return Audit.open({ store, masterKey: dataDir.masterKey, version: 'test', logger: quietLogger() });
}

/** Why there is no PostgreSQL to test on; undefined when there is one. */
export async function postgresMissing(): Promise<string | undefined> {
  try {
    await onServer('select 1');
    return undefined;
  } catch (error) {
    return (error as Error).message || String((error as NodeJS.ErrnoException).code);
  }
}

export function quietLogger(): Logger {
  return createLogger({ level: 'warn', destination: { write: () => {} } });
}

/** A new folder; all of a process are removed when it ends. */
export async function temporaryFolder(): Promise<string> {
  return mkdtemp(path.join(temporary.root(), 'd-'));
}

const temporary = {
  made: undefined as string | undefined,
  root(): string {
    if (this.made === undefined) {
      const made = mkdtempSync(path.join(tmpdir(), 'castellan-test-'));
      process.once('exit', () => rmSync(made, { recursive: true, force: true }));
      this.made = made;
    }
    return this.made;
  },
};

export async function sqliteDatabase(): Promise<TestDatabase> {
  const folder = await temporaryFolder();
  return database('SQLite', undefined, async () => folder, [
    () => rm(folder, { recursive: true, force: true }),
  ]);
}

export async function postgresDatabase(): Promise<TestDatabase> {
  const schema = `castellan_test_${randomBytes(6).toString('hex')}`;
  await onServer(`create schema ${schema}`);
  const url = new URL(SERVER);
  url.searchParams.set('options', `-c search_path=${schema}`);
  const folders: string[] = [];
  const nextFolder = async () => {
    const folder = await temporaryFolder();
    folders.push(folder);
    return folder;
  };
  return database('PostgreSQL', url.href.replaceAll('+', '%20'), nextFolder, [
    async () => {
      for (const folder of folders) await rm(folder, { recursive: true, force: true });
    },
    () => onServer(`drop schema ${schema} cascade`),
  ]);
}

function database(
  name: TestDatabase['name'],
  databaseUrl: string | undefined,
  nextFolder: () => Promise<string>,
  traces: (() => Promise<void>)[],
): TestDatabase {
  const logger = quietLogger();
  const opened: { close(): Promise<void> }[] = [];
  return {
    name,
    logger,
    databaseUrl,
    async open() {
      const env = databaseUrl === undefined ? {} : { CASTELLAN_MASTER_KEY: TEST_MASTER_KEY };
      const dataDir = await openDataDirectory(await nextFolder(), { env, databaseUrl });
      const store = await openStore({ dataDir, databaseUrl, logger }).catch(async (error) => {
        await dataDir.close();
        throw error;
      });
      const close = async () => {
        await store.close();
        await dataDir.close();
      };
      opened.push({ close });
      return { dataDir, store, close };
    },
    async dispose() {
      for (const each of opened) await each.close();
      for (const remove of traces) await remove();
    },
  };
}

async function onServer(statement: string): Promise<void> {
  const client = new pg.Client({ connectionString: SERVER, connectionTimeoutMillis: 3_000 });
  await client.connect();
  try {
    await client.query(statement);
  } finally {
    await client.end();
  }
}
