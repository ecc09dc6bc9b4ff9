import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { BUILTIN_TOOLSETS } from '../../src/resources/builtin-toolsets.ts';

test('docs/surfaces.md and the code have the same built-in tools on the same surfaces', () => {
  const page = readFileSync(new URL('../../docs/surfaces.md', import.meta.url), 'utf8');
  const section = page.split(/^## /m).find((part) => part.startsWith('Built-in toolsets')) ?? '';
  const rows = section.split('\n').filter((line) => line.startsWith('| [`'));
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
