import { canonicalJson } from '../base/canonical-json.ts';
import { type HashKey, hashKey, keyedHash, keyedHashOf } from '../base/keyed-hash.ts';

export type Cell = string | number | null;
export type Column = { readonly name: string; readonly type: 'text' | 'bigint' };
export type Statement = { sql: string; parameters: readonly unknown[] };

/** The one row that an append moves: `set` where it is `where`. */
export type Mark = {
  table: string;
  set: Readonly<Record<string, Cell>>;
  where: Readonly<Record<string, string | number>>;
};

/** How rows hang together; keys are bytes, which can be handed to a thread. Each one's hash covers the hash of the row before and its own cells. */
export type Tie = {
  key: Uint8Array;
  label: string;
  /** Hash of the row before the first. */
  before: string;
  /** The cells at `at` that begin with `JSON_TEXT` are replaced by the keyed hash of that JSON. */
  digest: { at: number; key: Uint8Array };
  /** Columns of the mark that get the last hash, and the keyed hash of `parts` and the last hash. */
  hashInto: string;
  seal: { into: string; key: Uint8Array; parts: readonly Cell[] };
};

/**
 * Rows of one table and the mark that says how far it goes, written together or not at all. What hashing costs is paid
 * where the rows are written, which for SQLite is a thread while there are many.
 */
export type Append = {
  into: string;
  /** The last one is the hash. */
  columns: readonly Column[];
  /** Cells in the order of `columns`, without the hash. */
  rows: readonly (readonly Cell[])[];
  tie: Tie;
  mark: Mark;
};

export type TiedRows = { rows: Cell[][]; mark: Mark; hash: string };

/** Marks a text to be replaced by its keyed hash; no hash holds a colon. */
export const JSON_TEXT = 'json:';

/** The rows with their hashes, and the mark as it stands after them. */
export function tied({ rows, tie, mark }: Pick<Append, 'rows' | 'tie' | 'mark'>): TiedRows {
  const { label, digest, seal } = tie;
  const [key, digestKey] = [hashKey(tie.key), hashKey(digest.key)];
  let hash = tie.before;
  const whole = rows.map((cells) => {
    const row = cells.slice();
    const given = row[digest.at];
    if (typeof given === 'string' && given.startsWith(JSON_TEXT)) {
      row[digest.at] = digestOfJson(digestKey, given.slice(JSON_TEXT.length));
    }
    hash = rowHash(key, label, hash, row);
    row.push(hash);
    return row;
  });
  const sealed = keyedHashOf(hashKey(seal.key), [...seal.parts, hash]);
  return {
    rows: whole,
    mark: { ...mark, set: { ...mark.set, [tie.hashInto]: hash, [seal.into]: sealed } },
    hash,
  };
}

/** @param cells all but the hash itself */
export function rowHash(key: HashKey, label: string, before: string, cells: readonly Cell[]): string {
  return keyedHashOf(key, [label, before, ...cells]);
}

/** The same for every spelling of the same JSON. */
export function digestOfJson(key: HashKey, text: string): string {
  return keyedHash(key, canonicalJson(JSON.parse(text)));
}

/** One row a time, with `?` for its cells. */
export function insertText(into: string, columns: readonly Column[]): string {
  const names = columns.map((column) => column.name).join(', ');
  return `insert into ${into} (${names}) values (${columns.map(() => '?').join(', ')})`;
}

export function updateText({ table, set, where }: Mark, placeholder = (_: number) => '?'): Statement {
  const sets = Object.keys(set).map((name, at) => `${name} = ${placeholder(at)}`);
  const tests = Object.keys(where).map((name, at) => `${name} = ${placeholder(sets.length + at)}`);
  return {
    sql: `update ${table} set ${sets.join(', ')} where ${tests.join(' and ')}`,
    parameters: [...Object.values(set), ...Object.values(where)],
  };
}

/** The same as one statement of PostgreSQL: the rows go in only when the mark was moved. */
export function postgresAppend({ into, columns }: Append, { rows, mark }: TiedRows): Statement {
  const update = updateText(mark, (at) => `$${at + 1}`);
  const first = update.parameters.length + 1;
  const arrays = columns.map(({ type }, at) => `$${first + at}::${type}[]`).join(', ');
  const names = columns.map((column) => column.name).join(', ');
  return {
    sql: `with moved as (${update.sql} returning 1)
      insert into ${into} (${names}) select given.* from unnest(${arrays}) as given where exists (select 1 from moved)`,
    parameters: [...update.parameters, ...columns.map((_, at) => rows.map((row) => row[at]))],
  };
}
