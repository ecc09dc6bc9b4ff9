/**
 * A thread with a connection of its own: a commit waits for the disk and a long read for its rows, and here nobody else
 * waits with them. It does one request after the other; whoever started it ends it.
 */
import type { DatabaseSync, SQLInputValue, StatementSync } from 'node:sqlite';
import { parentPort, workerData } from 'node:worker_threads';
import { type Append, insertText, type Statement, tied, updateText } from './append.ts';
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

const MAX_KEPT = 20;

let database: DatabaseSync | undefined;
/** Statements of appends, which come in few shapes and often. */
const kept = new Map<string, StatementSync>();

parentPort?.on('message', (request: ThreadRequest) => parentPort?.postMessage(answer(request)));

function answer(request: ThreadRequest): ThreadReply {
  try {
    if (request.kind === 'close') {
      database?.close();
      return { rows: [] };
    }
    database ??= openConnection(workerData as string);
    return request.kind === 'read'
      ? { rows: read(database, request) }
      : { hash: append(database, request.append) };
  } catch (error) {
    const { message, errcode, code } = error as Error & { errcode?: number; code?: string };
    return { error: { message, errcode, code } };
  }
}

function read(open: DatabaseSync, { sql, parameters }: Statement): unknown[] {
  return open.prepare(sql).all(...(parameters as SQLInputValue[]));
}

/** Nothing is written when the mark is not where it should be. */
function append(open: DatabaseSync, given: Append): string | undefined {
  const { rows, mark, hash } = tied(given);
  const update = updateText(mark);
  open.exec('begin immediate');
  try {
    const moved = prepared(open, update.sql).run(...(update.parameters as SQLInputValue[])).changes;
    if (Number(moved) !== 1) {
      open.exec('rollback');
      return undefined;
    }
    const insert = prepared(open, insertText(given.into, given.columns));
    for (const row of rows) insert.run(...row);
    open.exec('commit');
    return hash;
  } catch (error) {
    // After a full disk SQLite took the transaction back itself.
    if (open.isTransaction) open.exec('rollback');
    throw error;
  }
}

function prepared(open: DatabaseSync, sql: string): StatementSync {
  let statement = kept.get(sql);
  if (!statement) {
    if (kept.size >= MAX_KEPT) kept.clear();
    statement = open.prepare(sql);
    kept.set(sql, statement);
  }
  return statement;
}
