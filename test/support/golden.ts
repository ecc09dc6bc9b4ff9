import assert from 'node:assert/strict';
import { readFile, writeFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';

export type Row = { title: string; cells: readonly string[] };

/**
 * Compares a table with the one kept in `test/golden/`. `UPDATE_GOLDEN=1` writes the table instead, for a person to
 * read the difference before it is committed.
 */
export async function matchesGolden(name: string, head: Row, rows: readonly Row[]): Promise<void> {
  const all = [head, ...rows];
  const widths = head.cells.map((_, column) => Math.max(...all.map(({ cells }) => cells[column]!.length)));
  const first = Math.max(...all.map(({ title }) => title.length));
  const text = all
    .map(({ title, cells }) =>
      [title.padEnd(first), ...cells.map((cell, column) => cell.padEnd(widths[column]!))]
        .join('  ')
        .trimEnd(),
    )
    .join('\n');
  const file = fileURLToPath(new URL(`../golden/${name}`, import.meta.url));
  if (process.env.UPDATE_GOLDEN === '1') await writeFile(file, `${text}\n`);
  assert.equal(`${text}\n`, await readFile(file, 'utf8'), `${name} differs; look, then UPDATE_GOLDEN=1`);
}
