import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { countMembers, scanJson } from './body-scan.ts';

function faultOf(text: string, maxDepth: number): 'too_deep' | 'duplicate_key' | undefined {
  const { tooDeep, members } = scanJson(text, maxDepth);
  if (tooDeep) return 'too_deep';
  return countMembers(JSON.parse(text)) === members ? undefined : 'duplicate_key';
}

test('any value that JSON can carry passes', () => {
  fc.assert(
    fc.property(fc.jsonValue({ maxDepth: 8 }), fc.boolean(), (value, pretty) => {
      assert.equal(faultOf(JSON.stringify(value, null, pretty ? 2 : 0), 64), undefined);
    }),
  );
});

test('a key given twice is found at any depth and in any spelling', () => {
  assert.equal(faultOf('{"a":1,"a":2}', 8), 'duplicate_key');
  assert.equal(faultOf('{"x":[{"a":1,"b":2,"\\u0061":3}]}', 8), 'duplicate_key');
  assert.equal(faultOf('{"a":{"b":{}},"c":{"b":1},"a":0}', 8), 'duplicate_key');
  const many = Array.from({ length: 40 }, (_, n) => `"k${n}":0`).join();
  assert.equal(faultOf(`{${many}}`, 8), undefined);
  assert.equal(faultOf(`{${many},"k3":0}`, 8), 'duplicate_key');
});

test('the same key in sibling objects, and strings that look like structure, are no duplicates', () => {
  assert.equal(faultOf('[{"a":1},{"a":2}]', 8), undefined);
  assert.equal(faultOf('{"a":"a","b":["a","a"],"c":"{\\"a\\":1,\\"a\\":2}","d\\\\":"\\\\"}', 8), undefined);
});

test('nesting over the limit is found before anything recurses into it', () => {
  assert.equal(faultOf(`${'['.repeat(9)}${']'.repeat(9)}`, 8), 'too_deep');
  assert.equal(faultOf(`${'['.repeat(8)}${']'.repeat(8)}`, 8), undefined);
  assert.equal(faultOf('{"a":'.repeat(100_000), 64), 'too_deep');
});
