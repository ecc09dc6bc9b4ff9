import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { ACTIONS } from '../../src/gateway/own/mcp.ts';
import { BUILTIN_TOOLSETS, OWN_TOOLS } from '../../src/resources/builtin-toolsets.ts';
import { PROJECT } from '../../src/resources/project-fields.ts';

const page = readFileSync(new URL('../../docs/surfaces.md', import.meta.url), 'utf8');

/** Lines of the tables below a heading. */
function rowsOf(heading: string): string[] {
  const section = page.split(/^##+ /m).find((part) => part.startsWith(heading)) ?? '';
  return section.split('\n').filter((line) => /^\| \[?`/.test(line));
}

const firstName = (row: string) => /`(.+?)`/.exec(row)?.[1];

test("docs/surfaces.md and the code have the same tools of Castellan's own, and the same actions and exposures", () => {
  assert.deepEqual(rowsOf("Castellan's own tools").map(firstName).sort(), [...OWN_TOOLS].sort());
  assert.deepEqual(rowsOf('The mcp tool').map(firstName).sort(), [...ACTIONS].sort());
  const [, ...exposures] = new Set(rowsOf('Exposures').map(firstName));
  assert.deepEqual(exposures, PROJECT.shape.exposure.unwrap().options);
});

test('docs/surfaces.md and the code have the same built-in tools on the same surfaces', () => {
  const rows = rowsOf('Built-in toolsets');
  const told = rows.map((line) => {
    const [toolset = '', surface, tools = ''] = line
      .slice(1, -1)
      .split('|')
      .map((cell) => cell.trim());
    return {
      name: /`(.+)`/.exec(toolset)?.[1],
      surface,
      tools: tools.replaceAll('`', '').split(', ').sort(),
    };
  });
  const coded = [...BUILTIN_TOOLSETS].map(([name, { surface, tools }]) => ({
    name,
    surface,
    tools: [...tools].sort(),
  }));
  const byName = (a: { name?: string | undefined }, b: { name?: string | undefined }) =>
    String(a.name).localeCompare(String(b.name));
  assert.deepEqual(told.sort(byName), coded.sort(byName));
});
