import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { classify } from './classify.ts';
import { Meta } from './revisions.ts';

const modernMeta = { [Meta.protocolVersion]: '2026-07-28', [Meta.clientCapabilities]: {} };
const modernHeaders = (method: string, name?: string) => ({
  'mcp-protocol-version': '2026-07-28',
  'mcp-method': method,
  ...(name === undefined ? {} : { 'mcp-name': name }),
});
const call = (meta?: object) => ({
  jsonrpc: '2.0',
  id: 1,
  method: 'tools/call',
  params: { name: 'echo', ...(meta ? { _meta: meta } : {}) },
});
const rejection = (body: unknown, headers: Record<string, string | string[]>) => {
  const seen = classify(body, headers);
  assert.equal(seen.era, 'rejected');
  return seen.era === 'rejected' ? seen.error.code : 0;
};

test('a request without any claim is legacy, with its header revision when it names one', () => {
  const bare = classify(call(), {});
  assert.ok(bare.era === 'legacy' && bare.kind === 'request' && bare.revision === undefined);
  const named = classify(call(), { 'mcp-protocol-version': '2025-06-18' });
  assert.ok(named.era === 'legacy' && named.revision === '2025-06-18');
});

test('claims decide, not the method: initialize with a modern envelope is a modern request', () => {
  const seen = classify(
    { jsonrpc: '2.0', id: 1, method: 'initialize', params: { _meta: modernMeta } },
    modernHeaders('initialize'),
  );
  assert.ok(seen.era === 'modern' && seen.kind === 'request');
});

test('a modern request whose header and body disagree is refused with -32020', () => {
  assert.equal(rejection(call(modernMeta), {}), -32020);
  assert.equal(rejection(call(modernMeta), { 'mcp-protocol-version': '2025-11-25' }), -32020);
  assert.equal(rejection(call(modernMeta), modernHeaders('tools/list', 'echo')), -32020);
  assert.equal(rejection(call(modernMeta), modernHeaders('tools/call', 'other')), -32020);
  assert.equal(rejection(call(modernMeta), modernHeaders('tools/call')), -32020);
  const twice = { ...modernHeaders('tools/call'), 'mcp-name': ['echo', 'other'] };
  assert.equal(rejection(call(modernMeta), twice), -32020);
});

test('the base64 form of Mcp-Name is decoded before it is compared; broken base64 is a mismatch', () => {
  const encode = (name: string) => `=?base64?${Buffer.from(name).toString('base64')}?=`;
  const seen = classify(call(modernMeta), modernHeaders('tools/call', encode('echo')));
  assert.equal(seen.era, 'modern');
  assert.equal(rejection(call(modernMeta), modernHeaders('tools/call', '=?base64?ZWNobw?=')), -32020);
  assert.equal(rejection(call(modernMeta), modernHeaders('tools/call', '=?BASE64?ZWNobw==?=')), -32020);
});

test('missing envelope keys are -32602, an unknown revision is -32022 and names what is supported', () => {
  assert.equal(rejection(call(), modernHeaders('tools/call', 'echo')), -32602);
  const noCapabilities = { [Meta.protocolVersion]: '2026-07-28' };
  assert.equal(rejection(call(noCapabilities), modernHeaders('tools/call', 'echo')), -32602);
  const future = { ...modernMeta, [Meta.protocolVersion]: '2099-01-01' };
  const seen = classify(call(future), {
    ...modernHeaders('tools/call', 'echo'),
    'mcp-protocol-version': '2099-01-01',
  });
  assert.ok(seen.era === 'rejected' && seen.error.code === -32022);
  assert.deepEqual((seen.error.data as { requested: string }).requested, '2099-01-01');
});

test('batches, responses of modern clients and non-messages are invalid requests', () => {
  assert.equal(rejection([call()], {}), -32600);
  assert.equal(
    rejection({ jsonrpc: '2.0', id: 1, result: {} }, { 'mcp-protocol-version': '2026-07-28' }),
    -32600,
  );
  assert.equal(rejection({ id: 1, method: 'ping' }, {}), -32600);
  assert.equal(rejection({ jsonrpc: '2.0', id: 1.5, method: 'ping' }, {}), -32600);
  assert.equal(rejection({ jsonrpc: '2.0', id: null, method: 'ping' }, {}), -32600);
});

test('classification never throws', () => {
  const header = fc.option(fc.oneof(fc.string(), fc.array(fc.string()), fc.constant('2026-07-28')), {
    nil: undefined,
  });
  const bag = fc.record({ 'mcp-protocol-version': header, 'mcp-method': header, 'mcp-name': header });
  const meta = fc.dictionary(fc.constantFrom(...Object.values(Meta), 'x'), fc.jsonValue());
  const message = fc.record(
    {
      jsonrpc: fc.constantFrom('2.0', '1.0'),
      id: fc.jsonValue(),
      method: fc.oneof(fc.constantFrom('tools/call', 'initialize'), fc.jsonValue()),
      params: fc.oneof(fc.record({ _meta: meta, name: fc.jsonValue() }), fc.jsonValue()),
    },
    { requiredKeys: [] },
  );
  fc.assert(
    fc.property(fc.oneof(message, fc.jsonValue()), bag, (body, headers) => void classify(body, headers)),
  );
});
