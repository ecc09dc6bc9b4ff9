import assert from 'node:assert/strict';
import { registerHooks } from 'node:module';
import { it } from 'node:test';

it('a start loads nothing of the authorization server, which the first request for a token does', async () => {
  const loaded: string[] = [];
  const hooks = registerHooks({
    load(url, context, next) {
      loaded.push(url);
      return next(url, context);
    },
  });
  const provider = () => loaded.filter((url) => /\/node_modules\/(?:oidc-provider|koa|jose)\//.test(url));
  await import('../../src/app.ts');
  assert.ok(loaded.some((url) => url.endsWith('/src/oauth/oauth.ts')));
  assert.deepEqual(provider(), []);
  await import('../../src/oauth/authorization-server.ts');
  assert.notDeepEqual(provider(), []);
  hooks.deregister();
});
