import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { encodeSseEvent, type SseEvent, SseParser } from './sse.ts';

function parseAll(chunks: (string | Buffer)[], maxEventBytes = 1024) {
  const events: SseEvent[] = [];
  const parser = new SseParser(maxEventBytes, (event) => events.push(event));
  const withinCap = chunks.every((chunk) => parser.push(Buffer.from(chunk as string)));
  return { events, parser, withinCap };
}

const message = (data: string): SseEvent => ({ event: 'message', data });

describe('SSE parser', () => {
  for (const [name, end] of [
    ['LF', '\n'],
    ['CRLF', '\r\n'],
    ['CR', '\r'],
  ] as const) {
    test(`reads lines ended by ${name}`, () => {
      const { events } = parseAll([`event: ping${end}data: a${end}data:b${end}${end}data: c${end}${end}`]);
      assert.deepEqual(events, [{ event: 'ping', data: 'a\nb' }, message('c')]);
    });
  }

  test('ignores comments, unknown fields, a byte order mark and an unfinished event', () => {
    const { events } = parseAll(['\ufeffdata: 1\n: keep-alive\nnoise: x\nnoise\n\n:\n\ndata: lost\n']);
    assert.deepEqual(events, [message('1')]);
  });

  test('a priming event has no data, yet its id and retry count', () => {
    const { events, parser } = parseAll(['id: 7\nretry: 250\ndata: \n\n']);
    assert.deepEqual(events, []);
    assert.equal(parser.lastEventId, '7');
    assert.equal(parser.retryMs, 250);
  });

  test('an id counts from its blank line on, one with NUL never, and an empty one forgets the last', () => {
    const { parser } = parseAll(['id: 1\ndata: x\n\nid: 2\ndata: y\n']);
    assert.equal(parser.lastEventId, '1');
    parser.push(Buffer.from('\nid: 3\0\ndata: z\n\n'));
    assert.equal(parser.lastEventId, '2');
    parser.push(Buffer.from('id:\ndata: z\n\n'));
    assert.equal(parser.lastEventId, '');
  });

  test('retry is digits alone and at most a day', () => {
    assert.equal(parseAll(['retry: 1e3\n']).parser.retryMs, undefined);
    assert.equal(parseAll(['retry: -1\n']).parser.retryMs, undefined);
    assert.equal(parseAll(['retry: 999999999999\n']).parser.retryMs, 86_400_000);
  });

  test('the value loses one leading space, and a field may have no colon', () => {
    assert.deepEqual(parseAll(['data:  two\ndata\ndata:\n\n']).events, [message(' two\n\n')]);
  });

  test('whatever the chunks, the events are the same', () => {
    const text = '\ufeffid: 1\r\ndata: grüße 🎉\r\r\n: c\nevent: e\rdata: a\ndata: b\n\ndata:\u00a0x\r\n\r\n';
    const bytes = Buffer.from(text);
    const whole = parseAll([bytes]).events;
    assert.equal(whole.length, 3);
    fc.assert(
      fc.property(fc.array(fc.integer({ min: 0, max: bytes.length }), { maxLength: 12 }), (cuts) => {
        const sorted = [0, ...cuts.sort((a, b) => a - b), bytes.length];
        const chunks = sorted.slice(1).map((end, index) => bytes.subarray(sorted[index], end));
        assert.deepEqual(parseAll(chunks).events, whole);
      }),
    );
    assert.deepEqual(parseAll([...bytes].map((byte) => Buffer.from([byte]))).events, whole);
  });

  test('an event, a line without end and a field over the cap are refused', () => {
    assert.equal(parseAll([`data: ${'x'.repeat(2000)}\n\n`]).withinCap, false);
    assert.equal(parseAll(Array(40).fill(`data: ${'x'.repeat(50)}\n`)).withinCap, false);
    assert.equal(parseAll([':'.repeat(500), ':'.repeat(600)]).withinCap, false);
    assert.equal(parseAll([`id: ${'x'.repeat(2000)}\n`]).withinCap, false);
    assert.equal(parseAll(Array(40).fill(`data: ${'x'.repeat(900)}\n\n`)).withinCap, true);
  });

  test('reads what the encoder writes', () => {
    const text = { maxLength: 40, unit: 'grapheme' } as const;
    fc.assert(
      fc.property(
        fc.string(text),
        fc.stringMatching(/^[a-z]{0,8}$/),
        fc.stringMatching(/^[!-~]{0,20}$/),
        (data, event, id) => {
          const { events, parser } = parseAll([encodeSseEvent({ data, event, id, retryMs: 5 })]);
          const expected = data.replace(/\r\n?/g, '\n');
          assert.deepEqual(events, expected ? [{ event: event || 'message', data: expected }] : []);
          assert.equal(parser.lastEventId, id);
          assert.equal(parser.retryMs, 5);
        },
      ),
    );
  });

  test('the encoder refuses a line break in an id or a type', () => {
    assert.throws(() => encodeSseEvent({ data: 'x', id: 'a\ndata: forged' }), TypeError);
    assert.throws(() => encodeSseEvent({ data: 'x', event: 'a\r' }), TypeError);
  });
});
