import { existsSync } from 'node:fs';
import path from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { messageOf, Refusal } from '../base/errors.ts';
import { SCHEMA_VERSION } from './migrator.ts';
import { postgresPlace } from './postgres.ts';
import { DATABASE_FILE } from './sqlite.ts';

/** How far a database was brought, and how far this build brings it. */
export type SchemaState = { place: string; version: number; known: number };

const CONNECT_MS = 5_000;
const UNDEFINED_TABLE = '42P01';

/**
 * Looks at the database of a data directory, or at the one that a URL names, and changes nothing. Undefined: there is
 * none yet.
 * @throws Refusal when it cannot be read
 */
export async function schemaState(
  dataDir: string,
  databaseUrl: string | undefined,
): Promise<SchemaState | undefined> {
  const file = path.join(dataDir, DATABASE_FILE);
  if (databaseUrl === undefined && !existsSync(file)) return undefined;
  const place = databaseUrl === undefined ? file : postgresPlace(databaseUrl);
  try {
    const version = databaseUrl === undefined ? versionOf(file) : await appliedAt(databaseUrl);
    return { place, version, known: SCHEMA_VERSION };
  } catch (error) {
    throw new Refusal('unavailable', `${place} cannot be read: ${messageOf(error)}`);
  }
}

function versionOf(file: string): number {
  const database = new DatabaseSync(file, { readOnly: true, timeout: CONNECT_MS });
  try {
    return Number(database.prepare('pragma user_version').get()?.user_version);
  } finally {
    database.close();
  }
}

async function appliedAt(databaseUrl: string): Promise<number> {
  const { default: pg } = await import('pg');
  const client = new pg.Client({
    connectionString: databaseUrl,
    connectionTimeoutMillis: CONNECT_MS,
    query_timeout: CONNECT_MS,
  });
  await client.connect();
  try {
    const { rows } = await client.query<{ count: string }>('select count(*) from castellan_migration');
    return Number(rows[0]?.count);
  } catch (error) {
    if ((error as { code?: string }).code === UNDEFINED_TABLE) return 0;
    throw error;
  } finally {
    await client.end();
  }
}
