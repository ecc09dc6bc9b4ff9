import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { startCastellan, type TestCastellan } from '../support/running-castellan.ts';

/** Where a client in a browser is at home, as an inspector of MCP servers is. */
const PAGE = 'http://localhost:6274';
const MCP = '/projects/demo/mcp';

let castellan: TestCastellan;

before(async () => {
  castellan = await startCastellan(undefined, { env: { CASTELLAN_ALLOWED_ORIGINS: PAGE } });
});
after(() => castellan[Symbol.asyncDispose]());

const ask = (at: string, init: RequestInit & { headers?: Record<string, string> } = {}) =>
  fetch(new URL(at, castellan.url), { ...init, headers: { origin: PAGE, ...init.headers } });

/** What a browser asks before it sends a request that a form could not send. */
const preflight = (at: string, method: string, names: string, origin = PAGE) =>
  ask(at, {
    method: 'OPTIONS',
    headers: { origin, 'access-control-request-method': method, 'access-control-request-headers': names },
  });

describe('a client in a browser, at an origin that the operator allows', () => {
  it('may ask for metadata, register, get tokens and speak MCP', async () => {
    const asked: readonly [string, string, string][] = [
      ['/.well-known/oauth-authorization-server', 'GET', 'mcp-protocol-version'],
      [`/.well-known/oauth-protected-resource${MCP}`, 'GET', 'mcp-protocol-version'],
      ['/register', 'POST', 'content-type'],
      ['/token', 'POST', 'authorization,content-type'],
      ['/revoke', 'POST', 'authorization'],
      [MCP, 'POST', 'authorization, content-type, mcp-protocol-version, mcp-session-id'],
      ['/operator-mcp', 'DELETE', 'authorization, mcp-session-id'],
    ];
    for (const [at, method, names] of asked) {
      const { status, headers } = await preflight(at, method, names);
      assert.equal(status, 204, at);
      assert.equal(headers.get('access-control-allow-origin'), PAGE, at);
      assert.ok(headers.get('access-control-allow-methods')?.includes(method), at);
      assert.equal(headers.get('access-control-allow-headers'), names, at);
      assert.equal(headers.get('access-control-allow-credentials'), null, at);
      assert.match(headers.get('vary') ?? '', /origin/, at);
    }
  });

  it('reads the answers, refusals too', async () => {
    const json = { 'content-type': 'application/json' };
    const client = JSON.stringify({
      redirect_uris: [`${PAGE}/callback`],
      token_endpoint_auth_method: 'none',
    });
    const form = new URLSearchParams({ grant_type: 'authorization_code', client_id: 'nobody' });
    for (const [answer, status] of [
      [await ask('/.well-known/oauth-authorization-server'), 200],
      [await ask(`/.well-known/oauth-protected-resource${MCP}`), 200],
      [await ask('/register', { method: 'POST', headers: json, body: client }), 201],
      [await ask('/token', { method: 'POST', body: form }), 401],
      [await ask(MCP, { method: 'POST', headers: json, body: '{}' }), 401],
    ] as const) {
      assert.equal(answer.status, status, answer.url);
      assert.equal(answer.headers.get('access-control-allow-origin'), PAGE, answer.url);
      assert.equal(answer.headers.get('access-control-allow-credentials'), null, answer.url);
      assert.match(answer.headers.get('vary') ?? '', /origin/i, answer.url);
      assert.match(
        answer.headers.get('access-control-expose-headers') ?? '',
        /www-authenticate/i,
        answer.url,
      );
    }
  });

  it('gets nothing of the pages of people', async () => {
    for (const at of ['/account', '/sign-in', '/consent/x', '/authorize', '/', '/device']) {
      const { headers } = await ask(at, { redirect: 'manual' });
      assert.equal(headers.get('access-control-allow-origin'), null, at);
    }
  });
});

it('T93: a page of another origin is answered no preflight, wherever it asks', async () => {
  for (const at of ['/.well-known/oauth-authorization-server', '/register', '/token', MCP, '/account'])
    for (const origin of ['https://evil.example', 'null', `${PAGE}.evil.example`, 'http://localhost:6275']) {
      const { status, headers } = await preflight(at, 'POST', 'authorization', origin);
      assert.equal(status, 403, `${at} ${origin}`);
      for (const [name] of headers) assert.doesNotMatch(name, /^access-control-/, `${at} ${origin}`);
    }
});
