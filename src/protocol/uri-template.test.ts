import assert from 'node:assert/strict';
import { test } from 'node:test';
import { uriTemplate } from './uri-template.ts';

const matches = (template: string, uri: string) => uriTemplate(template)?.matches(uri);

test('a simple expression stands for one path segment', () => {
  assert.equal(matches('test://template/{id}/data', 'test://template/42/data'), true);
  assert.equal(matches('test://template/{id}/data', 'test://template/4/2/data'), false);
  assert.equal(matches('test://template/{id}/data', 'test://template/42'), false);
  assert.equal(matches('a://{x}-{y}', 'a://1-2-3'), true);
});

test('reserved, path and query expressions cross slashes', () => {
  assert.equal(matches('file:///{+path}', 'file:///a/b/c.txt'), true);
  assert.equal(matches('x://host{/path*}', 'x://host/a/b'), true);
  assert.equal(matches('x://host/q{?a,b}', 'x://host/q?a=1&b=/2'), true);
});

test('malformed templates are none; hostile ones are quick', () => {
  assert.equal(uriTemplate('x://{a'), undefined);
  assert.equal(uriTemplate('x://a}'), undefined);
  assert.equal(uriTemplate('x://{}'), undefined);
  const started = process.cpuUsage();
  assert.equal(matches(`x://${'{+a}y'.repeat(100)}z`, `x://${'y'.repeat(4_000)}`), false);
  assert.ok(process.cpuUsage(started).user < 3_000_000);
});
