/**
 * A thread with a connection of its own: a commit waits for the disk and a long read for its rows, and here nobody else
 * waits with them. It does one request after the other; whoever started it ends it.
 */
import type { DatabaseSync, SQLInputValue } from 'node:sqlite';
import { parentPort, workerData } from 'node:worker_threads';
import type { Append, Statement } from './append.ts';
import { SqliteAppender } from './sqlite-appender.ts';
import { openConnection } from './sqlite-connection.ts';

export type ThreadRequest =
  | { kind: 'read'; sql: string; parameters: readonly unknown[] }
  | { kind: 'append'; append: Append }
  | { kind: 'close' };
/** Answers come in the order of the requests. */
export type ThreadReply =
  | { rows: unknown[] }
  | { hash: string | undefined }
  | { error: { message: string; errcode?: number; code?: string } };

let open: { database: DatabaseSync; appender: SqliteAppender } | undefined;

parentPort?.on('message', (request: ThreadRequest) => parentPort?.postMessage(answer(request)));

function answer(request: ThreadRequest): ThreadReply {
  try {
    if (request.kind === 'close') {
      open?.database.close();
      return { rows: [] };
    }
    open ??= opened();
    return request.kind === 'read'
      ? { rows: read(open.database, request) }
      : { hash: open.appender.append(request.append) };
  } catch (error) {
    const { message, errcode, code } = error as Error & { errcode?: number; code?: string };
    return { error: { message, errcode, code } };
  }
}

function opened() {
  const database = openConnection(workerData as string);
  return { database, appender: new SqliteAppender(database) };
}

function read(database: DatabaseSync, { sql, parameters }: Statement): unknown[] {
  return database.prepare(sql).all(...(parameters as SQLInputValue[]));
}
