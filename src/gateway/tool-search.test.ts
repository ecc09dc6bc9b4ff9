import assert from 'node:assert/strict';
import { test } from 'node:test';
import { TASKS } from '../../test/support/tasks-for-tools.ts';
import { toolCatalogue } from '../../test/support/tool-catalogue.ts';
import { ToolSearch } from './tool-search.ts';
import type { View } from './view.ts';

const definitions = toolCatalogue().flatMap(({ name: server, tools }) =>
  tools.map((tool) => ({ ...tool, name: `${server}__${tool.name}` })),
);

/** Only what a search looks at. */
function viewOf(tools: readonly { name: string }[], prompts: readonly object[] = []): View {
  const entries = tools.map((definition) => [definition.name, { exposed: definition.name, definition }]);
  return { tools: new Map(entries as never), lists: { prompts: { prompts } } } as unknown as View;
}

test('of four hundred tools, the one that a task is about is among the first', async () => {
  const search = new ToolSearch();
  const view = viewOf(definitions);
  assert.equal(view.tools.size, 400);
  const places: number[] = [];
  for (const [task, tool] of TASKS) places.push((await search.tools(view, task)).indexOf(tool) + 1);
  const within = (most: number) => places.filter((place) => place > 0 && place <= most).length;
  const far = TASKS.filter((_, at) => places[at] === 0 || places[at]! > 8);
  assert.deepEqual(far, [], 'none is beyond the eighth place');
  assert.ok(within(3) >= 38, `${within(3)} of ${TASKS.length} are among the first three`);
  assert.ok(within(1) >= 30, `${within(1)} of ${TASKS.length} are first`);
});

test('a search finds what its own view has, and nothing else', async () => {
  const search = new ToolSearch();
  const [one, other] = [
    viewOf(definitions),
    viewOf(definitions.filter(({ name }) => !name.startsWith('s3__'))),
  ];
  const query = 'create a presigned link';
  assert.equal((await search.tools(one, query))[0], 's3__create_presigned_url');
  assert.ok(!(await search.tools(other, query)).some((name) => name.startsWith('s3__')));
});

test('words are found in any spelling of a name, in parameters, and near to what was meant', async () => {
  const search = new ToolSearch();
  const described = { type: 'string', description: 'Postal code of the destination' };
  const view = viewOf([
    { name: 'createPullRequest' },
    { name: 'quote', inputSchema: { type: 'object', properties: { zip: described } } } as { name: string },
    { name: 'other' },
  ]);
  assert.deepEqual(await search.tools(view, 'pull requests'), ['createPullRequest']);
  assert.deepEqual(await search.tools(view, 'postal code'), ['quote']);
  assert.deepEqual(await search.tools(view, 'requets'), ['createPullRequest']);
  for (const nothing of ['', 'the of and', '\u0000', '()[]*"'])
    assert.deepEqual(await search.tools(view, nothing), []);
});

test('a query counts with its first words, each once, however long it is', async () => {
  const search = new ToolSearch();
  const view = viewOf(definitions);
  const long = `${'presigned '.repeat(1_000)} ${Array.from({ length: 100 }, (_, at) => `z${at}`).join(' ')} refund`;
  assert.deepEqual(await search.tools(view, long), await search.tools(view, 'presigned'));
});

test('prompts and tools are told apart, whatever their names', async () => {
  const search = new ToolSearch();
  const view = viewOf([{ name: 'summary' }], [{ name: 'summary', description: 'Sums up a week' }]);
  assert.deepEqual(await search.tools(view, 'week summary'), ['summary']);
  assert.deepEqual(await search.prompts(view, 'sums up'), ['summary']);
  assert.deepEqual(await search.tools(view, 'sums'), []);
});
