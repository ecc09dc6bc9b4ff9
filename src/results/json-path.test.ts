import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { JsonPath } from './json-path.ts';

const compiled = (text: string): JsonPath => {
  const path = JsonPath.compile(text);
  assert.ok(path.ok, `${text}: ${path.ok ? '' : path.error}`);
  return path.value;
};
const fault = (text: string): string => {
  const path = JsonPath.compile(text);
  assert.ok(!path.ok, `${text} is refused`);
  return path.error;
};
const select = (text: string, value: unknown): unknown => {
  const selected = compiled(text).select(value);
  assert.ok(selected.ok);
  return selected.value.value;
};

describe('a JSONPath', () => {
  const shop = {
    items: [
      { name: 'a', price: 1, tags: ['x'] },
      { name: 'b', price: 9, tags: [] },
    ],
    owner: { name: 'c' },
  };

  it('finds a list of values, and a single place as its value', () => {
    assert.deepEqual(select('$.items[*].name', shop), ['a', 'b']);
    assert.deepEqual(select("$.items[*]['name','price']", shop), ['a', 1, 'b', 9]);
    assert.deepEqual(select('$..name', shop), ['a', 'b', 'c']);
    assert.deepEqual(select('$.items[?@.price > 1].name', shop), ['b']);
    assert.deepEqual(select('$.items[?length(@.tags) > 0 && @.price < 9].name', shop), ['a']);
    assert.deepEqual(select('$.owner', shop), { name: 'c' });
    assert.deepEqual(select('$', 'text'), 'text');
    const nothing = compiled('$.absent').select(shop);
    assert.deepEqual(nothing, { ok: true, value: { found: 0, value: [] } });
    // Names that every object has are no members of one.
    assert.deepEqual(select('$.constructor', {}), []);
    assert.deepEqual(select('$.__proto__', {}), []);
  });

  it('says what is wrong with an expression, and where', () => {
    assert.match(fault('items'), /^is no JSONPath \(RFC 9535\): expected '\$', found 'i' at character 1/);
    assert.match(fault('$.items['), /unclosed bracketed selection at character 9/);
    assert.match(fault('$.items[?@.price >]'), /at character 1\d/);
    assert.match(fault(''), /at character 1/);
    assert.match(fault(`$.${'a'.repeat(255)}`), /longer than 256 characters/);
  });

  it('refuses what could take long', () => {
    for (const name of [
      'match(@.a, "(a+)+$")',
      'search(@.a, "(a|a)*$")',
      'count(@..*) > 1',
      'value(@..a) == 1',
    ])
      assert.match(fault(`$.items[?${name}]`), /length\(\) alone can be used here/, name);
    assert.match(fault('$..a..b'), /second "\.\." at character 5/);
    assert.match(
      fault("$['a','b','c','d']['a','b','c','d','e']"),
      /too many alternatives from character \d+ on/,
    );
    for (const path of ['@.*', '@..a', '@[0:2]', "@['a','b']", '@[?@.a]'])
      assert.match(fault(`$[?${path}]`), /path at character 4 that a filter cannot follow/, path);
    for (const filter of ['length($.a) > 1', '$.a == $.b', '@.a == $', '!(@.a && $..b)'])
      assert.match(
        fault(`$..[?${filter}]`),
        /path from \$ at character \d+: a filter looks at @ alone/,
        filter,
      );
  });

  it('does not search what is too large or too deep', () => {
    const path = compiled('$..a');
    let deep: unknown = 1;
    for (let level = 0; level < 200_000; level += 1) deep = [deep];
    for (const value of [deep, Array.from({ length: 100_001 }, () => 0)])
      assert.equal(path.select(value).ok, false);
    let modest: unknown = { a: 1 };
    for (let level = 0; level < 60; level += 1) modest = [modest];
    assert.deepEqual(path.select(modest), { ok: true, value: { found: 1, value: [1] } });
    const many = Array.from({ length: 99_000 }, () => 0);
    assert.ok(path.select(many).ok);
    assert.ok(compiled('$[*]').select(many).ok);
    assert.deepEqual(compiled('$[*,*]').select(many), {
      ok: false,
      error: 'the expression finds more than 100000 values in it',
    });
  });

  it('is compiled or refused, whatever it is', () => {
    const pieces = [
      '$',
      '.',
      '..',
      '[',
      ']',
      '*',
      '?',
      '@',
      'a',
      "'a'",
      '"',
      ',',
      ':',
      '1',
      '(',
      ')',
      '&&',
      '!',
      '==',
      ' ',
    ];
    const text = fc.oneof(
      fc.string({ unit: 'binary' }),
      fc.array(fc.constantFrom(...pieces)).map((all) => `$${all.join('')}`),
    );
    fc.assert(
      fc.property(text, fc.jsonValue(), (written, value) => {
        const path = JsonPath.compile(written);
        if (path.ok) path.value.select(value);
        else assert.match(path.error, /^(is|has) /);
      }),
      { numRuns: 2_000 },
    );
  });
});
