import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { redirectFault, redirectKind } from './redirect-uris.ts';

const GOOD = {
  web: ['https://example.com/callback', 'https://example.com:8443/a?b=c', 'https://localhost/callback'],
  loopback: ['http://127.0.0.1/callback', 'http://localhost:3000/', 'http://[::1]:8080/callback'],
  private: ['com.example.app:/callback', 'cursor://anysphere.cursor-retrieval/oauth/callback'],
} as const;

const BAD: readonly [string, RegExp][] = [
  ['javascript:alert(1)', /scheme javascript/],
  ['JavaScript:alert(1)', /scheme javascript/],
  ['java\nscript:alert(1)', /characters that no URI has/],
  [' javascript:alert(1)', /characters that no URI has/],
  ['data:text/html,x', /scheme data/],
  ['file:///etc/passwd', /scheme file/],
  ['vbscript:x', /scheme vbscript/],
  ['blob:https://example.com/x', /scheme blob/],
  ['http://example.com/callback', /beyond this machine/],
  ['http://localhost.evil.example/', /beyond this machine/],
  ['http://localhost:80@evil.example/', /names a user/],
  ['https://user:secret@example.com/', /names a user/],
  ['http://127.1/callback', /beyond this machine/],
  ['http://2130706433/callback', /beyond this machine/],
  ['http://0.0.0.0/callback', /beyond this machine/],
  ['https://*.example.com/callback', /wildcard/],
  ['https://example.com/callback#x', /fragment/],
  ['https://example.com/callback#', /fragment/],
  ['https://example.com\\@evil.example/', /characters that no URI has/],
  ['https://exämple.com/', /characters that no URI has/],
  ['/callback', /no absolute URI/],
  ['', /characters that no URI has/],
  [`https://example.com/${'a'.repeat(2000)}`, /the limit is 2000/],
];

describe('redirect URIs', () => {
  test('lead over https, to this machine, or to a program', () => {
    for (const [kind, uris] of Object.entries(GOOD))
      for (const uri of uris) assert.equal(redirectKind(uri), kind, uri);
  });

  test('lead nowhere else, and the reason repeats nothing', () => {
    for (const [uri, reason] of BAD) {
      assert.match(redirectFault(uri) ?? '', reason, uri.slice(0, 60));
      assert.equal(redirectKind(uri), undefined);
      assert.doesNotMatch(redirectFault(uri) ?? '', /evil|alert|secret/);
    }
  });
});
