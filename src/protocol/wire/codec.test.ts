import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import type { JsonObject } from '../jsonrpc.ts';
import type { Envelope } from '../model.ts';
import { Meta, MODERN_REVISION } from '../revisions.ts';
import { codecs } from './table.ts';

const SELF = { name: 'castellan', version: '1' };
/** JSON as it comes from a wire: -0 does not survive it. */
const json = () => fc.jsonValue({ maxDepth: 4 }).map((value) => JSON.parse(JSON.stringify(value)) as unknown);
const vendorKey = fc
  .string({ maxLength: 12 })
  .filter(
    (key) => key !== 'progressToken' && key !== '__proto__' && !Object.values<string>(Meta).includes(key),
  );
const vendorMeta = fc.dictionary(vendorKey, json(), { maxKeys: 4 });
const payload = fc.dictionary(
  fc.string({ maxLength: 12 }).filter((key) => key !== '_meta' && key !== '__proto__'),
  json(),
  { maxKeys: 5 },
);
const method = fc.constantFrom(
  'tools/call',
  'prompts/get',
  'resources/read',
  'completion/complete',
  'tools/list',
);
const plain = (value: unknown) => JSON.parse(JSON.stringify(value)) as JsonObject;

const session: Envelope = {
  era: 'legacy',
  revision: '2025-11-25',
  clientCapabilities: {},
  clientInfo: undefined,
  logLevel: undefined,
  progressToken: undefined,
};

test('a legacy request survives legacy → neutral → legacy, unknown keys included', () => {
  const token = fc.option(fc.oneof(fc.string(), fc.integer()), { nil: undefined });
  fc.assert(
    fc.property(method, payload, vendorMeta, token, (name, body, meta, progressToken) => {
      const own = progressToken === undefined ? meta : { ...meta, progressToken };
      const params = Object.keys(own).length > 0 ? { ...body, _meta: own } : body;
      const neutral = codecs.legacy.decodeRequest(name, params, session);
      const again = codecs.legacy.encodeRequest(name, neutral.params, {
        revision: '2025-11-25',
        clientInfo: SELF,
        clientCapabilities: {},
        progressToken: neutral.envelope.progressToken,
        logLevel: undefined,
      });
      assert.deepEqual(plain(again ?? {}), plain(params));
    }),
  );
});

test('a modern request survives modern → neutral → modern, unknown keys included', () => {
  const level = fc.option(fc.constantFrom('debug', 'error'), { nil: undefined });
  fc.assert(
    fc.property(
      method,
      payload,
      vendorMeta,
      fc.dictionary(vendorKey, json()),
      level,
      (name, body, meta, can, log) => {
        const envelope: JsonObject = {
          [Meta.protocolVersion]: MODERN_REVISION,
          [Meta.clientInfo]: SELF,
          [Meta.clientCapabilities]: can,
          ...(log === undefined ? {} : { [Meta.logLevel]: log }),
        };
        const params = { ...body, _meta: { ...meta, ...envelope } };
        const neutral = codecs.modern.decodeRequest(name, params, undefined);
        const again = codecs.modern.encodeRequest(name, neutral.params, {
          revision: neutral.envelope.revision,
          clientInfo: SELF,
          clientCapabilities: neutral.envelope.clientCapabilities,
          progressToken: neutral.envelope.progressToken,
          logLevel: neutral.envelope.logLevel,
        });
        assert.deepEqual(plain(again), plain(params));
      },
    ),
  );
});

test('a result passes between legacy hops as the very same object, and modern hops keep every foreign key', () => {
  const reserved = ['resultType', 'ttlMs', 'cacheScope', 'structuredContent', 'tools'];
  fc.assert(
    fc.property(payload, vendorMeta, (body, meta) => {
      const kept = Object.fromEntries(Object.entries(body).filter(([key]) => !reserved.includes(key)));
      const result: JsonObject = { ...kept, _meta: meta };
      const legacy = codecs.legacy.decodeResult('tools/call', result);
      assert.ok(legacy.ok);
      assert.equal(codecs.legacy.encodeResult('tools/call', legacy.result, SELF), result);

      const modern = codecs.modern.decodeResult('tools/call', { ...result, resultType: 'complete' });
      assert.ok(modern.ok);
      const sent = codecs.modern.encodeResult('tools/call', modern.result, SELF);
      assert.deepEqual(
        plain(sent),
        plain({ ...result, resultType: 'complete', _meta: { ...meta, [Meta.serverInfo]: SELF } }),
      );
    }),
  );
});

test('what belongs to the modern era alone does not reach a legacy client', () => {
  const result = {
    content: [],
    resultType: 'complete',
    ttlMs: 5,
    cacheScope: 'private',
    _meta: { [Meta.serverInfo]: SELF },
  };
  assert.deepEqual(codecs.legacy.encodeResult('tools/call', result, SELF), { content: [] });
});

test('structured content that is no object is wrapped for legacy clients, its schema alike', () => {
  const outputSchema = { type: 'array', items: { $ref: '#/$defs/one' }, $defs: { one: { type: 'string' } } };
  const listed = codecs.legacy.encodeResult('tools/list', { tools: [{ name: 't', outputSchema }] }, SELF);
  assert.deepEqual((listed.tools as JsonObject[])[0]!.outputSchema, {
    type: 'object',
    required: ['result'],
    properties: {
      result: { ...outputSchema, items: { $ref: '#/properties/result/$defs/one' } },
    },
  });
  const called = codecs.legacy.encodeResult('tools/call', { content: [], structuredContent: ['a'] }, SELF);
  assert.deepEqual(called.structuredContent, { result: ['a'] });
  assert.deepEqual(called.content, [{ type: 'text', text: '["a"]' }]);
});

test('a resource that is not there has the code of each era', () => {
  const fromLegacy = codecs.legacy.decodeError('resources/read', {
    code: -32002,
    message: 'gone',
    data: { uri: 'x:y' },
  });
  assert.equal(fromLegacy.code, -32602);
  assert.equal(codecs.legacy.encodeError('resources/read', fromLegacy).code, -32002);
  assert.equal(codecs.modern.encodeError('resources/read', { code: -32002, message: 'gone' }).code, -32602);
});

test('an unknown resultType is invalid, a missing one means complete', () => {
  assert.equal(codecs.modern.decodeResult('tools/call', { resultType: 'surprise' }).ok, false);
  assert.equal(codecs.modern.decodeResult('tools/call', { content: [] }).ok, true);
});
