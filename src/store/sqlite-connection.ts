import { DatabaseSync } from 'node:sqlite';

/** An outside program may hold the file this long; a wait blocks the thread, so it is short. */
const BUSY_MS = 1000;

/** A connection as every part of the house uses it: a write-ahead log, and each commit on the disk when it returns. */
export function openConnection(file: string): DatabaseSync {
  const database = new DatabaseSync(file, { timeout: BUSY_MS, enableForeignKeyConstraints: true });
  try {
    database.exec('pragma journal_mode = wal; pragma synchronous = full; pragma trusted_schema = off');
    return database;
  } catch (error) {
    database.close();
    throw error;
  }
}
