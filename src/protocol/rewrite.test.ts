import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import type { JsonObject } from './jsonrpc.ts';
import { rewrite } from './rewrite.ts';
import { codecs } from './wire/table.ts';

const asWritten = (text: string) => ({ text, result: JSON.parse(text) as JsonObject });
const spaced = (value: unknown, pretty: boolean) => JSON.stringify(value, null, pretty ? ' ' : 0);

test('what an era changes in a result is changed, and everything else is there', () => {
  const members = fc.record(
    {
      resultType: fc.constantFrom('complete', 'input_required'),
      _meta: fc.dictionary(fc.string(), fc.jsonValue({ maxDepth: 2 }), { maxKeys: 3 }),
      content: fc.array(fc.jsonValue({ maxDepth: 3 })),
      ttlMs: fc.jsonValue({ maxDepth: 1 }),
    },
    { requiredKeys: [] },
  );
  const results = fc.tuple(fc.dictionary(fc.string(), fc.jsonValue()), members);
  fc.assert(
    fc.property(
      results,
      fc.boolean(),
      fc.constantFrom('tools/call', 'tools/list'),
      (parts, pretty, method) => {
        const written = asWritten(spaced(Object.assign({}, ...parts), pretty));
        for (const codec of Object.values(codecs)) {
          const wanted = codec.encodeResult(method, written.result, { name: 'castellan', version: '1' });
          const plain = JSON.parse(JSON.stringify(wanted));
          assert.deepEqual(JSON.parse(rewrite(written, wanted)), plain);
        }
      },
    ),
  );
});

test('a member that stays is copied letter by letter, numbers that no double holds among them', () => {
  const written = asWritten(
    '{"_meta":{"a":1}, "structuredContent" : {"id":12345678901234567890, "n":1.0},"n":1e2 }',
  );
  assert.equal(
    rewrite(written, { resultType: 'complete', ...written.result, _meta: { b: 2 } }),
    '{"_meta":{"b":2},"structuredContent":{"id":12345678901234567890, "n":1.0},"n":1e2,"resultType":"complete"}',
  );
});

test('members that are gone leave nothing behind', () => {
  const written = asWritten('{"a":[{"}":"]"}],"b":"\\"","c":null}');
  const { a, b, c } = written.result;
  assert.equal(rewrite(written, { b, c }), '{"b":"\\"","c":null}');
  assert.equal(rewrite(written, { a, c: undefined }), '{"a":[{"}":"]"}]}');
  assert.equal(rewrite(written, {}), '{}');
  assert.equal(rewrite(asWritten('{ }'), { a: 1 }), '{"a":1}');
});

test('where a name came twice, only what was read of it is passed on', () => {
  const written = asWritten('{"isError":false,"x":1,"is\\u0045rror":true}');
  const text = rewrite(written, { ...written.result, resultType: 'complete' });
  assert.equal(text, '{"isError":true,"x":1,"resultType":"complete"}');
});

test('where a parser made another name of a member, only what was read of it is passed on', () => {
  const text = '{"content":[],"\\u005fmeta":{"hidden":1}}';
  const result = { content: [], '\\': { hidden: 1 } };
  assert.equal(rewrite({ text, result }, { ...result, _meta: {} }), JSON.stringify({ ...result, _meta: {} }));
});
