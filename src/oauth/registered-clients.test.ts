import assert from 'node:assert/strict';
import { writeFile } from 'node:fs/promises';
import path from 'node:path';
import { it } from 'node:test';
import { onEachDatabase, type TestDatabase, temporaryFolder } from '../../test/support/databases.ts';
import { type Identity, openIdentity, userCaller } from '../../test/support/identity.ts';
import { sha256Hex } from '../base/ids.ts';
import { DEVICE_GRANT } from './built-in-clients.ts';
import { RegisteredClients } from './registered-clients.ts';

const ADMIN = userCaller('admin');
const NOW = { dryRun: false };
const REDIRECT = 'https://bot.example/callback';

const client = (name: string, spec: object = {}) => ({ kind: 'OAuthClient', metadata: { name }, spec });
const FILE = `
kind: Project
metadata: { name: ours }
---
kind: User
metadata: { name: carol@example.com }
---
kind: OAuthClient
metadata: { name: filed }
spec: { user: carol@example.com, project: ours, redirectUris: ["${REDIRECT}"], autoApprove: true }
`;

type Scene = Identity & {
  clients: RegisteredClients;
  put(body: object): Promise<string | undefined>;
  /** Those of another process. */
  others(): Promise<RegisteredClients>;
};

async function scene(
  make: () => Promise<TestDatabase>,
  play: (scene: Scene) => Promise<void>,
): Promise<void> {
  const database = await make();
  const file = path.join(await temporaryFolder(), 'castellan.yaml');
  await writeFile(file, FILE);
  const opened = await database.open();
  const identity = await openIdentity(opened, database.logger, { files: [file] });
  const more: Identity[] = [];
  const others = async () => {
    const on = database.name === 'SQLite' ? opened : await database.open();
    const other = await openIdentity(on, database.logger, { files: [file] });
    more.push(other);
    return new RegisteredClients(on.store, other.resources, other.authorizer);
  };
  const { objects, resources, authorizer } = identity;
  try {
    const clients = new RegisteredClients(opened.store, resources, authorizer);
    const put = async (body: object) => (await objects.put(ADMIN, body, NOW)).secret;
    await put({ kind: 'Project', metadata: { name: 'demo' }, spec: {} });
    await play({ ...identity, clients, put, others });
  } finally {
    for (const one of more) await one.close();
    await identity.close();
    await database.dispose();
  }
}

onEachDatabase('registered clients', (make) => {
  it('are found by their name alone, with the hashes of their secrets', () =>
    scene(make, async ({ clients, put, resources }) => {
      const secret = await put(client('bot', { displayName: 'Bot', redirectUris: [REDIRECT] }));
      const { uid } = resources.get('OAuthClient', 'bot')!.metadata;
      assert.equal(await clients.find(uid), undefined);
      assert.deepEqual(await clients.find('bot'), {
        clientId: 'bot',
        name: 'Bot',
        source: 'registered',
        redirectUris: [REDIRECT],
        tokenEndpointAuthMethod: 'client_secret_basic',
        grantTypes: ['authorization_code', DEVICE_GRANT, 'refresh_token'],
        scopes: ['mcp'],
        secretHashes: [{ hash: sha256Hex(secret!) }],
      });
      assert.equal(await clients.find('bott'), undefined);
    }));

  it('act for their user as long as somebody answers for that', () =>
    scene(make, async ({ clients, put }) => {
      const bob = { kind: 'User', metadata: { name: 'bob@example.com' } };
      await put({ ...bob, spec: {} });
      const spec = { user: 'bob@example.com', project: 'demo', redirectUris: [REDIRECT], autoApprove: true };
      await put(client('bot', spec));
      const found = await clients.find('bot');
      assert.deepEqual(
        [found?.user, found?.autoApprove, found?.project, found?.grantTypes],
        ['bob@example.com', true, 'demo', ['authorization_code', 'client_credentials']],
      );
      await put({ ...bob, spec: { disabled: true } });
      const idle = await clients.find('bot');
      assert.deepEqual(
        [idle?.user, idle?.autoApprove, idle?.grantTypes],
        [undefined, undefined, ['authorization_code']],
      );
    }));

  it('are found at once where another process made them', () =>
    scene(make, async ({ others, put }) => {
      const clients = await others();
      assert.equal(await clients.find('bot'), undefined);
      await put(client('bot'));
      assert.equal((await clients.find('bot'))?.clientId, 'bot');
    }));

  it('of files are answered for by whoever writes the files', () =>
    scene(make, async ({ clients, objects, resources }) => {
      const found = await clients.find('filed');
      assert.deepEqual(
        [found?.user, found?.autoApprove, found?.secretHashes],
        ['carol@example.com', true, []],
      );
      const { uid } = resources.get('OAuthClient', 'filed')!.metadata;
      const secret = await objects.rotateClient(ADMIN, uid, 0);
      assert.deepEqual((await clients.find('filed'))?.secretHashes, [{ hash: sha256Hex(secret) }]);
    }));
});
