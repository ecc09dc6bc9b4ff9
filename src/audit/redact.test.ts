import assert from 'node:assert/strict';
import { test } from 'node:test';
import { detailText, recordedArguments, SECRET } from './redact.ts';

test('a detail that nobody classified is a secret', () => {
  const detail = { uid: 'srv_1', url: 'https://user:hunter2@example.com', version: 3 };
  assert.equal(detailText('resource.changed', detail), `{"uid":"srv_1","url":"${SECRET}","version":3}`);
  assert.equal(detailText('server.stopped', undefined), undefined);
  assert.equal(detailText('server.stopped', {}), undefined);
});

test('details are bounded and stay JSON', () => {
  const text = detailText('audit.opened', { heads: 'x'.repeat(10_000), kind: 'calls' });
  assert.deepEqual(JSON.parse(text ?? ''), { heads: '[cut]', kind: 'calls' });
});

test('arguments lose what is named, looks, or is declared like a secret', () => {
  const schema = { properties: { note: { type: 'string', writeOnly: true }, key: { format: 'password' } } };
  const given = {
    repo: 'demo',
    count: 3,
    password: 'hunter2',
    headers: { Authorization: 'x', accept: 'text/plain' },
    env: ['FOO=1', 'Bearer abcdef', 'https://u:p@example.com/', 'cst_pat_abc'],
    note: 'declared',
    key: 'declared',
    api_key: 5,
  };
  assert.deepEqual(recordedArguments(given, schema), {
    repo: 'demo',
    count: 3,
    password: SECRET,
    headers: { Authorization: SECRET, accept: 'text/plain' },
    env: ['FOO=1', SECRET, SECRET, SECRET],
    note: SECRET,
    key: SECRET,
    api_key: SECRET,
  });
});

test('arguments are bounded in depth, number and length, and no name reaches a prototype', () => {
  const deep = JSON.parse(`${'{"a":'.repeat(20)}1${'}'.repeat(20)}`);
  assert.ok(JSON.stringify(recordedArguments(deep)).length < 100);
  assert.equal((recordedArguments(new Array(1_000).fill(1)) as unknown[]).length, 51);
  assert.match(String(recordedArguments('x'.repeat(1_000))), /1000 characters/);
  const odd = recordedArguments(JSON.parse('{"__proto__":{"x":1},"constructor":2}'), { properties: {} });
  assert.deepEqual(Object.keys(odd as object), ['__proto__', 'constructor']);
  assert.equal(({} as { x?: number }).x, undefined);
});
