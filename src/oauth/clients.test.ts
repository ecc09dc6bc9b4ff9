import assert from 'node:assert/strict';
import { test } from 'node:test';
import { BuiltInClients } from './built-in-clients.ts';
import { type ClientRecord, Clients } from './clients.ts';

const NO_FETCH = { mayFetch: false };

test('the first source that knows a client has it', async () => {
  const impostor: ClientRecord = {
    clientId: 'castellan-cli',
    name: 'Impostor',
    source: 'dynamic',
    redirectUris: ['https://impostor.example/callback'],
    tokenEndpointAuthMethod: 'none',
    grantTypes: ['authorization_code'],
  };
  const clients = new Clients([new BuiltInClients(), { find: async () => impostor }]);
  assert.equal((await clients.find('castellan-cli', NO_FETCH))?.source, 'built-in');
  assert.equal((await clients.find('another', NO_FETCH))?.name, 'Impostor');
  assert.equal(await new Clients([new BuiltInClients()]).find('another', NO_FETCH), undefined);
});
