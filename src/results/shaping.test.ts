import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import type { JsonObject } from '../protocol/jsonrpc.ts';
import { JsonPath } from './json-path.ts';
import { type ResultShape, resultShape } from './result-rules.ts';
import { projected, readable } from './shaping.ts';
import { truncated } from './truncation.ts';

const path = (text: string): JsonPath => {
  const compiled = JsonPath.compile(text);
  assert.ok(compiled.ok);
  return compiled.value;
};
const shape = (more: Partial<ResultShape>): ResultShape => ({
  jsonPath: undefined,
  truncate: undefined,
  maxBytes: undefined,
  ...more,
});
const text = (value: unknown) => ({
  type: 'text',
  text: typeof value === 'string' ? value : JSON.stringify(value),
});
const NAMES = shape({ jsonPath: path('$.items[*].name') });
const image = { type: 'image', data: 'AAAA', mimeType: 'image/png' };

describe('truncation', () => {
  it('cuts lists and texts wherever they stand, and says what is missing', () => {
    const value = { a: [1, 2, 3, ['x'.repeat(12)]], b: 'y'.repeat(12), c: { d: [] }, e: null };
    assert.deepEqual(truncated(value, { items: 2, characters: 10 }), {
      a: [1, 2, '… (2 more items)'],
      b: `${'y'.repeat(10)}… (2 more characters)`,
      c: { d: [] },
      e: null,
    });
    assert.equal(truncated(value, { items: 4, characters: undefined }), value);
    assert.equal(
      truncated(`${'x'.repeat(9)}😀`, { items: undefined, characters: 10 }),
      `${'x'.repeat(9)}… (2 more characters)`,
    );
  });

  it('leaves what is short enough as it is, and no member out', () => {
    fc.assert(
      fc.property(fc.jsonValue(), (value) => {
        assert.equal(truncated(value, { items: 1_000, characters: 1_000 }), value);
        const cut = truncated({ value }, { items: 1, characters: 10 }) as object;
        assert.deepEqual(Object.keys(cut), ['value']);
        assert.doesNotThrow(() => JSON.stringify(cut));
      }),
    );
    const odd = JSON.parse(`{"__proto__":{"x":"${'y'.repeat(20)}"}}`);
    assert.deepEqual(Object.keys(truncated(odd, { items: 1, characters: 10 }) as object), ['__proto__']);
  });
});

describe('projection', () => {
  const items = {
    items: [
      { name: 'a', rest: 1 },
      { name: 'b', rest: 2 },
    ],
  };

  it('replaces structured content and the text that says the same, and keeps what is no text', () => {
    const { result, notes } = projected(
      { content: [text(items), image], structuredContent: items, _meta: { k: 1 } },
      NAMES,
    );
    assert.deepEqual(result, {
      content: [text(['a', 'b']), image],
      structuredContent: ['a', 'b'],
      _meta: { k: 1 },
    });
    assert.deepEqual(notes, []);
  });

  it('takes texts that are JSON, and no others', () => {
    const annotated = { ...text(items), annotations: { priority: 1 } };
    const { result } = projected({ content: [annotated, text('{ no json'), text('plain')] }, NAMES);
    assert.deepEqual(result.content, [{ ...annotated, text: '["a","b"]' }, text('{ no json'), text('plain')]);
  });

  it('touches no error, and returns the very same result where nothing changes', () => {
    const error = { content: [text(items)], structuredContent: items, isError: true };
    assert.equal(projected(error, NAMES).result, error);
    const plain: JsonObject = { content: [text('plain'), image] };
    assert.equal(projected(plain, NAMES).result, plain);
    const odd: JsonObject = { content: 'none' };
    assert.equal(projected(odd, NAMES).result, odd);
  });

  it('says so when it finds nothing, or the result is too large to be searched', () => {
    const empty = projected({ content: [text({ other: 1 })] }, NAMES);
    assert.deepEqual(empty.result.content, [text([])]);
    assert.match(empty.notes[0]!, /has none of what the configuration/);
    const large = { content: [text(Array.from({ length: 100_001 }, () => 0))] };
    const { result, notes } = projected(large, NAMES);
    assert.equal(result, large);
    assert.match(notes[0]!, /was not searched: it has more than/);
  });

  it('comes before truncation', () => {
    const both = shape({ jsonPath: path('$.items[*].name'), truncate: { items: 1, characters: undefined } });
    assert.deepEqual(projected({ content: [text(items)] }, both).result.content, [
      text(['a', '… (1 more items)']),
    ]);
  });
});

describe('what a model reads of a result', () => {
  it('is all text, with structured content where no text says the same', () => {
    const structured = { a: [1, 2] };
    const resource = { type: 'resource', resource: { uri: 'file:///x', text: 'body' } };
    const blob = { type: 'resource', resource: { uri: 'file:///y', blob: 'AAAA' } };
    const link = { type: 'resource_link', uri: 'file:///z', name: 'z' };
    const content = [text('one'), image, resource, blob, link];
    assert.deepEqual(readable({ content, structuredContent: structured }), {
      text: `one\nfile:///x:\nbody\n${JSON.stringify(link)}\n${JSON.stringify(structured)}`,
      others: [image, blob],
    });
    const pretty = text(JSON.stringify(structured, null, 2));
    assert.equal(readable({ content: [pretty], structuredContent: structured }).text, pretty.text);
    assert.equal(readable({ structuredContent: structured }).text, '{"a":[1,2]}');
  });
});

describe('the rules of a server', () => {
  const rules = [
    { ...shape({ maxBytes: 10 }), tools: ['get_*'] },
    { ...NAMES, tools: ['*_items', 'get_all'] },
  ];

  it('count in their order, with the size of the project where they name none', () => {
    assert.equal(resultShape(rules, 'get_all', undefined)?.maxBytes, 10);
    assert.equal(resultShape(rules, 'list_items', 99)?.maxBytes, 99);
    assert.equal(resultShape(rules, 'list_items', 99)?.jsonPath, NAMES.jsonPath);
    assert.deepEqual(resultShape(rules, 'other', 99), shape({ maxBytes: 99 }));
    assert.equal(resultShape(rules, 'other', undefined), undefined);
  });
});
