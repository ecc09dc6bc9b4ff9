import assert from 'node:assert/strict';
import { it } from 'node:test';
import { childEnvironment } from './child-environment.ts';

it('a child inherits what programs need and nothing that may be secret', () => {
  const needed = {
    HOME: '/home/a',
    PATH: '/bin',
    LC_ALL: 'C',
    https_proxy: 'http://proxy',
    NODE_EXTRA_CA_CERTS: '/ca.pem',
    npm_config_cache: '/cache',
  };
  const secret = {
    CASTELLAN_MASTER_KEY: 'k',
    CASTELLAN_DATABASE_URL: 'postgres://',
    AWS_SECRET_ACCESS_KEY: 's',
    GITHUB_TOKEN: 't',
    npm_config__authToken: 'n',
    NODE_OPTIONS: '--inspect',
    NODE_CHANNEL_FD: '3',
    LD_PRELOAD: '/x.so',
    SHELL: '() { :; }',
    CASTELLAN_CHILD: 'outer.1-1.1',
  };
  assert.deepEqual(childEnvironment({}, 'm', { ...needed, ...secret }), { CASTELLAN_CHILD: 'm', ...needed });
});

it('its own variables win, the marker aside', () => {
  const env = childEnvironment({ PATH: '/own', API_KEY: 'x', CASTELLAN_CHILD: 'forged' }, 'm', {
    PATH: '/bin',
  });
  assert.deepEqual(env, { CASTELLAN_CHILD: 'm', PATH: '/own', API_KEY: 'x' });
});
