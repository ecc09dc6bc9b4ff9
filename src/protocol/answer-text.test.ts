import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { parseMessage } from './answer-text.ts';
import { asMessage } from './jsonrpc.ts';

const RESULT = '{"content":[{"type":"text","text":"}\\",\\"id\\":1"}],"n":1.0}';

/** What a parser that knows no short cut makes of it. */
function plainly(text: string): unknown {
  try {
    return asMessage(JSON.parse(text));
  } catch {
    return undefined;
  }
}

test('a result is cut out of the two usual envelopes, byte for byte', () => {
  for (const text of [
    `{"jsonrpc":"2.0","id":7,"result":${RESULT}}`,
    `{"result":${RESULT},"jsonrpc":"2.0","id":7}`,
  ]) {
    const parsed = parseMessage(text);
    assert.equal(parsed?.kind, 'response');
    assert.deepEqual(parsed?.message, JSON.parse(text));
    assert.equal(parsed?.written?.text, RESULT);
    assert.deepEqual(parsed?.written?.result, JSON.parse(RESULT));
  }
});

test('an answer that could be read in two ways, or spelled otherwise, is never forwarded as it came', () => {
  for (const text of [
    '{"jsonrpc":"2.0","id":7,"result":{"a":1},"id":8}',
    '{"jsonrpc":"2.0","id":7,"id":8,"result":{"a":1}}',
    '{"jsonrpc":"2.0","id":7,"result":{"a":1},"result":{"b":2}}',
    '{"result":{"a":1},"id":9,"jsonrpc":"2.0","id":7}',
    '{"result":{"a":1},"result":{"b":2},"jsonrpc":"2.0","id":7}',
    '{"jsonrpc":"2.0","id":7,"result":{"a":1},"error":{"code":1}}',
    '{"jsonrpc":"2.0","id":"7","result":{"a":1}}',
    '{"jsonrpc":"2.0","id":07,"result":{"a":1}}',
    '{"jsonrpc":"2.0","id":-7,"result":{"a":1}}',
    '{"jsonrpc":"2.0","id":7.0,"result":{"a":1}}',
    '{"jsonrpc":"2.0","id":7e0,"result":{"a":1}}',
    '{"jsonrpc":"2.0","id":1234567890123456,"result":{"a":1}}',
    '{"jsonrpc":"2.0","id":7,"result":{"a":1} }',
    '{"jsonrpc":"2.0","id":7,"result":{"a":\n1}}',
    '{"jsonrpc":"2.0","id":7,"result":[1]}',
    '{"jsonrpc":"2.0","id":7,"result":{"a":1}}}',
    ' {"jsonrpc":"2.0","id":7,"result":{"a":1}}',
  ]) {
    const parsed = parseMessage(text);
    assert.equal(parsed?.written, undefined, text);
    assert.deepEqual(parsed, plainly(text), text);
  }
});

test('the short cut reads every text as a plain parser does', () => {
  const pieces = fc.constantFrom(
    ...['{"jsonrpc":"2.0","id":', '{"result":', ',"jsonrpc":"2.0","id":', ',"result":', '7', '8', '{', '}'],
    ...['{"a":1}', ',"id":9', '"', ' ', ',', '[', ']'],
  );
  const texts = fc.array(pieces, { maxLength: 8 }).map((parts) => parts.join(''));
  fc.assert(
    fc.property(texts, (text) => {
      const parsed = parseMessage(text);
      const { written, ...rest } = parsed ?? {};
      assert.deepEqual(parsed && rest, plainly(text));
      if (written) assert.deepEqual(JSON.parse(written.text), written.result);
    }),
    { numRuns: 5_000 },
  );
});

test('a line of a log is nothing', () => {
  for (const line of ['', 'starting…', '[info] {"jsonrpc":"2.0"}', '{"level":30}', '{'])
    assert.equal(parseMessage(line), undefined);
});
