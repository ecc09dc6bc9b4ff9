import assert from 'node:assert/strict';
import { readFile, writeFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { describe, test } from 'node:test';
import { ownTools } from '../../src/gateway/own/own-tools.ts';
import { isObject, type JsonObject } from '../../src/protocol/jsonrpc.ts';
import { BUILTIN_TOOLSETS } from '../../src/resources/builtin-toolsets.ts';
import { openBuiltIn } from '../../src/toolsets/built-in.ts';

/** What is listed of a tool and may break whoever calls it. */
type Definitions = Record<string, { inputSchema: JsonObject; outputSchema?: JsonObject }>;

const file = (name: string) => fileURLToPath(new URL(name, import.meta.url));
const json = async (name: string) => JSON.parse(await readFile(file(name), 'utf8'));

async function listed() {
  await using stack = new AsyncDisposableStack();
  // Nothing is called: the parts behind the toolsets are not needed.
  const { toolsets } = openBuiltIn(stack, {} as never);
  const own = ownTools({} as never);
  return [...own, ...[...BUILTIN_TOOLSETS.keys()].flatMap((name) => toolsets.offer(name)?.tools ?? [])];
}

/** What a caller of the tools before would stumble over; additions are none of that. */
function breaks(before: Definitions, now: Definitions): string[] {
  return Object.entries(before).flatMap(([name, { inputSchema, outputSchema = {} }]) => {
    const tool = now[name];
    if (!tool) return [`${name} is gone`];
    return [
      ...schemaBreaks(`${name} input`, inputSchema, tool.inputSchema, 'required'),
      ...schemaBreaks(`${name} output`, outputSchema, tool.outputSchema ?? {}, 'optional'),
    ];
  });
}

/** @param harmful which members break somebody when they become that: required ones of an input, optional ones of an output */
function schemaBreaks(
  place: string,
  before: JsonObject,
  now: JsonObject,
  harmful: 'required' | 'optional',
): string[] {
  const { type, items, properties, enum: values, anyOf } = before;
  if (JSON.stringify(type) !== JSON.stringify(now.type)) return [`${place} has another type`];
  const found: string[] = [];
  if (isObject(items)) found.push(...schemaBreaks(`${place}[]`, items, (now.items ?? {}) as JsonObject, harmful));
  const known = new Set(Array.isArray(now.enum) ? now.enum : []);
  if (Array.isArray(values)) {
    const lost = harmful === 'required' ? values.filter((one) => !known.has(one)) : [];
    found.push(...lost.map((one) => `${place} no longer takes ${String(one)}`));
  } else if (Array.isArray(now.enum) && harmful === 'required') found.push(`${place} takes listed values alone now`);
  if (Array.isArray(anyOf)) {
    const others = Array.isArray(now.anyOf) ? now.anyOf : [];
    for (const [index, one] of anyOf.entries())
      found.push(...schemaBreaks(place, one as JsonObject, (others[index] ?? {}) as JsonObject, harmful));
  }
  const required = (schema: JsonObject) => new Set(Array.isArray(schema.required) ? schema.required : []);
  const [was, is] = [required(before), required(now)];
  const members = (isObject(properties) ? properties : {}) as Record<string, JsonObject>;
  const present = (isObject(now.properties) ? now.properties : {}) as Record<string, JsonObject>;
  for (const [key, schema] of Object.entries(members)) {
    const other = present[key];
    if (other) found.push(...schemaBreaks(`${place} ${key}`, schema, other, harmful));
    else found.push(`${place} ${key} is gone`);
  }
  const worse = harmful === 'required' ? [...is].filter((key) => !was.has(key)) : [...was].filter((key) => !is.has(key));
  return [...found, ...worse.map((key) => `${place} ${String(key)} is ${harmful} now`)];
}

describe('built-in tools', () => {
  test('keep their schemas, or say in toolset-deprecations.json what broke', async () => {
    const now: Definitions = Object.fromEntries(
      (await listed()).map(({ name, definition }) => [
        name,
        {
          inputSchema: definition.inputSchema as JsonObject,
          ...(isObject(definition.outputSchema) && { outputSchema: definition.outputSchema }),
        },
      ]),
    );
    const before = (await json('toolsets.json')) as Definitions;
    const allowed = (await json('toolset-deprecations.json')) as string[];
    const unannounced = breaks(before, now).filter((one) => !allowed.includes(one));
    assert.deepEqual(unannounced, [], 'announce each of these in test/golden/toolset-deprecations.json');
    if (process.env.UPDATE_GOLDEN === '1')
      await writeFile(file('toolsets.json'), `${JSON.stringify(now, null, 2)}\n`);
    assert.deepEqual(now, await json('toolsets.json'), 'toolsets.json differs; look, then UPDATE_GOLDEN=1');
  });

  test('a change that breaks callers is noticed, an addition is not', () => {
    const tool = (properties: object, required: string[]) => ({
      inputSchema: { type: 'object', properties, required } as JsonObject,
      outputSchema: { type: 'object', properties, required } as JsonObject,
    });
    const text = { type: 'string' };
    const before = { one: tool({ a: text, b: { enum: ['x', 'y'] } }, ['a']), two: tool({}, []) };
    assert.deepEqual(breaks(before, before), []);
    assert.deepEqual(breaks(before, { ...before, three: tool({}, []) }), []);
    const added = tool({ a: text, b: { enum: ['x', 'y', 'z'] }, c: text }, ['a']);
    assert.deepEqual(breaks(before, { ...before, one: added }), []);
    assert.deepEqual(breaks(before, { one: before.one }), ['two is gone']);
    const listed = tool({ a: { type: 'string', enum: ['x'] }, b: { enum: ['x', 'y'] } }, ['a']);
    assert.deepEqual(breaks(before, { ...before, one: listed }), ['one input a takes listed values alone now']);
    const worse = tool({ a: { type: 'number' }, b: { enum: ['x'] }, c: text }, ['c']);
    assert.deepEqual(breaks(before, { ...before, one: worse }), [
      'one input a has another type',
      'one input b no longer takes y',
      'one input c is required now',
      'one output a has another type',
      'one output a is optional now',
    ]);
  });

  test('say what they do, when to use them, what comes back and what comes next, with a call that fits', async () => {
    for (const { name, definition } of await listed()) {
      const text = String(definition.description);
      for (const part of ['When: ', 'Example: ', 'Returns: ', 'Next: ', 'Ids: '])
        assert.match(text, new RegExp(`^${part}\\S`, 'm'), `${name} ${part}`);
      const properties = (definition.inputSchema as { properties: object }).properties;
      const example = JSON.parse(/^Example: (.*)$/m.exec(text)![1]!) as object;
      const { required = [] } = definition.inputSchema as { required?: string[] };
      for (const key of Object.keys(example)) assert.ok(Object.hasOwn(properties, key), `${name} ${key}`);
      for (const key of required) assert.ok(Object.hasOwn(example, key), `${name} needs ${key}`);
      const output = definition.outputSchema as { required: string[] } | undefined;
      assert.ok(output === undefined || output.required.includes('message'), name);
    }
  });
});
