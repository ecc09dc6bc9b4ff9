export type Cell = string | number | null;
export type Column = { readonly name: string; readonly type: 'text' | 'bigint' };
export type Statement = { sql: string; parameters: readonly unknown[] };

/** The one row that an append moves: `set` where it is `where`. */
export type Mark = {
  table: string;
  set: Readonly<Record<string, Cell>>;
  where: Readonly<Record<string, string | number>>;
};

/** Rows of one table and the mark that says how far it goes, written together or not at all. */
export type Append = {
  into: string;
  columns: readonly Column[];
  /** Cells in the order of `columns`. */
  rows: readonly (readonly Cell[])[];
  mark: Mark;
};

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
export function postgresAppend({ into, columns, rows, mark }: Append): Statement {
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
