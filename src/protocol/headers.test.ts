import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import {
  decodeHeaderValue,
  encodeHeaderValue,
  paramHeaderFault,
  paramHeadersOf,
  paramHeaderValues,
} from './headers.ts';

test('any text survives a header, and what goes over the wire is plain ASCII', () => {
  fc.assert(
    fc.property(fc.string({ unit: 'grapheme', maxLength: 60 }), (text) => {
      const header = encodeHeaderValue(text);
      assert.match(header, /^[\x20-\x7e]*$/);
      assert.equal(decodeHeaderValue(header), text);
    }),
  );
});

test('a value that looks encoded is encoded again; broken base64 and control characters are refused', () => {
  assert.equal(encodeHeaderValue('=?base64?literal?='), '=?base64?PT9iYXNlNjQ/bGl0ZXJhbD89?=');
  assert.equal(decodeHeaderValue('=?base64?ZWNob?='), undefined);
  assert.equal(decodeHeaderValue('a\u0001b'), undefined);
  assert.equal(decodeHeaderValue('=?base64?/w==?='), undefined);
});

const schema = {
  type: 'object',
  properties: {
    region: { type: 'string', 'x-mcp-header': 'Region' },
    page: { type: 'object', properties: { size: { type: 'integer', 'x-mcp-header': 'Page-Size' } } },
    note: { type: 'string', default: { 'x-mcp-header': 'ignored: this is data' } },
  },
};

test('annotations are found along properties, their values read at exactly that path', () => {
  const found = paramHeadersOf(schema);
  assert.ok(found.ok);
  assert.deepEqual(paramHeaderValues(found.headers, { region: 'Zürich', page: { size: 20 } }), {
    'mcp-param-region': `=?base64?${Buffer.from('Zürich').toString('base64')}?=`,
    'mcp-param-page-size': '20',
  });
  assert.equal(paramHeaderValues(found.headers, { region: null }), undefined);
});

test('headers and arguments must agree, integers by value', () => {
  const found = paramHeadersOf(schema);
  assert.ok(found.ok);
  const fault = (args: object, given: Record<string, string>) => paramHeaderFault(found.headers, args, given);
  assert.equal(fault({ page: { size: 20 } }, { 'mcp-param-page-size': '20.0' }), undefined);
  assert.match(fault({ page: { size: 20 } }, { 'mcp-param-page-size': '21' }) ?? '', /does not match/);
  assert.match(fault({ region: 'x' }, {}) ?? '', /missing/);
  assert.match(fault({}, { 'mcp-param-region': 'x' }) ?? '', /the argument is not/);
});

test('an annotation that breaks a rule condemns its tool', () => {
  const annotated = (extra: object) => ({ type: 'string', 'x-mcp-header': 'A', ...extra });
  const bad: object[] = [
    { properties: { a: annotated({ 'x-mcp-header': '' }) } },
    { properties: { a: annotated({ 'x-mcp-header': 'a\r\nb' }) } },
    { properties: { a: annotated({ type: 'number' }) } },
    { properties: { a: annotated({}), b: annotated({ 'x-mcp-header': 'a' }) } },
    { properties: { list: { type: 'array', items: annotated({}) } } },
    { properties: { a: { anyOf: [annotated({})] } } },
    { $defs: { a: annotated({}) } },
    annotated({}),
  ];
  for (const one of bad) assert.equal(paramHeadersOf(one as never).ok, false, JSON.stringify(one));
});
