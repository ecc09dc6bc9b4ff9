import type { DatabaseSync, SQLInputValue, StatementSync } from 'node:sqlite';
import { type Append, insertText, tied, updateText } from './append.ts';

const MAX_KEPT = 20;

/** Writes appends, each in a transaction of its own, through a connection that has none open. */
export class SqliteAppender {
  readonly #database: DatabaseSync;
  /** Appends come in few shapes and often. */
  readonly #kept = new Map<string, StatementSync>();

  constructor(database: DatabaseSync) {
    this.#database = database;
  }

  /** The hash of the last row; undefined when the mark was not where it should be, and nothing was written. */
  append(given: Append): string | undefined {
    const database = this.#database;
    const { rows, mark, hash } = tied(given);
    const update = updateText(mark);
    database.exec('begin immediate');
    try {
      const moved = this.#prepared(update.sql).run(...(update.parameters as SQLInputValue[])).changes;
      if (Number(moved) !== 1) {
        database.exec('rollback');
        return undefined;
      }
      const insert = this.#prepared(insertText(given.into, given.columns));
      for (const row of rows) insert.run(...row);
      database.exec('commit');
      return hash;
    } catch (error) {
      // After a full disk SQLite took the transaction back itself.
      if (database.isTransaction) database.exec('rollback');
      throw error;
    }
  }

  #prepared(sql: string): StatementSync {
    let statement = this.#kept.get(sql);
    if (!statement) {
      if (this.#kept.size >= MAX_KEPT) this.#kept.clear();
      statement = this.#database.prepare(sql);
      this.#kept.set(sql, statement);
    }
    return statement;
  }
}
