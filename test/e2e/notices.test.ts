import assert from 'node:assert/strict';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { after, before, describe, test } from 'node:test';
import { type RunningFixture, startFixture } from '../conformance/fixture/server.ts';
import { startCastellan, type TestCastellan } from '../support/running-castellan.ts';
import { type ClientEra, META, type Message, WAIT_MS, Wire } from '../support/wire-client.ts';

type ServerEra = 'legacy' | 'modern' | 'dual';

const WATCHED = 'test://watched-resource';
const OTHER = 'test://static-text';

function logsOf(messages: Message[]): Message[] {
  return messages.filter((message) => message.method === 'notifications/message');
}

describe('notices between clients and servers of either era', () => {
  const fixtures: Partial<Record<ServerEra, RunningFixture>> = {};
  let castellan: TestCastellan;
  let folder: string;
  let file: string;

  before(async () => {
    folder = await mkdtemp(path.join(tmpdir(), 'castellan-notices-'));
    file = path.join(folder, 'castellan.yaml');
    const parts: string[] = [];
    for (const era of ['legacy', 'modern', 'dual'] as const) {
      fixtures[era] = await startFixture(era);
      parts.push(`kind: Server
metadata: { name: ${era} }
spec: { url: "${fixtures[era]!.url}", prefix: never }
---
kind: Project
metadata: { name: ${era} }
spec: { servers: [${era}] }
`);
    }
    parts.push(`kind: Server
metadata: { name: common }
spec: { url: "${fixtures.legacy!.url}", prefix: never, isolation: shared }
---
kind: Project
metadata: { name: common }
spec: { servers: [common] }
`);
    await writeFile(file, parts.join('---\n'));
    castellan = await startCastellan(['--config', file], { dataDir: path.join(folder, 'data') });
  });
  after(async () => {
    await castellan?.[Symbol.asyncDispose]();
    for (const fixture of Object.values(fixtures)) await fixture[Symbol.asyncDispose]();
    await rm(folder, { recursive: true, force: true });
  });

  async function connect(server: ServerEra | 'common', era: ClientEra): Promise<Wire> {
    const { stdout } = await castellan.cli(
      ...['create', 'mcptoken', `t${Math.random()}`, '-p', server, '--rbac', 'clone'],
    );
    const wire = new Wire(era, `${castellan.url}/projects/${server}/mcp`, stdout.trim());
    await wire.open();
    return wire;
  }

  for (const server of ['legacy', 'modern', 'dual'] as const) {
    test(`legacy client, ${server} server: the session's level decides which logs of a call arrive`, async () => {
      const wire = await connect(server, 'legacy');
      const first = await wire.callTool('test_tool_with_logging');
      assert.equal(logsOf(first).length, 3, JSON.stringify(first));
      assert.equal(logsOf(first)[0]!.params!.level, 'info');
      assert.deepEqual((await wire.ask('logging/setLevel', { level: 'error' })).result, {});
      assert.equal(logsOf(await wire.callTool('test_tool_with_logging')).length, 0);
      assert.deepEqual((await wire.ask('logging/setLevel', { level: 'debug' })).result, {});
      assert.equal(logsOf(await wire.callTool('test_tool_with_logging')).length, 3);
      assert.equal((await wire.ask('logging/setLevel', { level: 'loud' })).error?.code, -32602);
      await wire.end();
    });

    test(`modern client, ${server} server: only a request with a level gets logs`, async () => {
      const wire = await connect(server, 'modern');
      const level = (one: unknown) => ({ [`${META}logLevel`]: one });
      assert.equal(logsOf(await wire.callTool('test_tool_with_logging')).length, 0);
      assert.equal(logsOf(await wire.callTool('test_tool_with_logging', {}, level('info'))).length, 3);
      assert.equal(logsOf(await wire.callTool('test_tool_with_logging', {}, level('error'))).length, 0);
      for (const bad of ['loud', 7, null]) {
        const [answer] = await wire.callTool('test_tool_with_logging', {}, level(bad));
        assert.equal(answer!.error?.code, -32602, JSON.stringify(answer));
      }
    });

    for (const era of ['legacy', 'modern'] as const) {
      test(`${era} client, ${server} server: a subscriber hears of its resource and of no other`, async () => {
        const wire = await connect(server, era);
        const bystander = await connect(server, era);
        using deaf = await bystander.listen({ toolsListChanged: true });
        using heard = await wire.listen({ resourceSubscriptions: [WATCHED, 'nowhere://x'] });
        if (era === 'legacy') {
          assert.deepEqual((await wire.ask('resources/subscribe', { uri: WATCHED })).result, {});
        } else {
          const ack = await heard.until('acknowledgement', (one) => /acknowledged$/.test(one.method ?? ''));
          assert.ok(JSON.stringify(ack.params!.notifications).includes(WATCHED), JSON.stringify(ack));
          assert.equal((ack.params!._meta as Record<string, unknown>)[`${META}subscriptionId`], 2);
        }
        await wire.callTool('test_trigger_resource_update', { uri: OTHER });
        await wire.callTool('test_trigger_resource_update', { uri: WATCHED });
        const updated = await heard.until(
          'update',
          (one) => one.method === 'notifications/resources/updated',
        );
        assert.equal(updated.params!.uri, WATCHED);
        assert.equal(heard.of('notifications/resources/updated').length, 1);
        if (era === 'modern') {
          assert.equal((updated.params!._meta as Record<string, unknown>)[`${META}subscriptionId`], 2);
        } else assert.equal(updated.params!._meta, undefined);
        assert.deepEqual(deaf.of('notifications/resources/updated'), []);
        await wire.end();
      });

      test(`${era} client, ${server} server: only the list that changed is announced`, async () => {
        const wire = await connect(server, era);
        await wire.ask('tools/list', {});
        using heard = await wire.listen({
          toolsListChanged: true,
          promptsListChanged: true,
          resourcesListChanged: true,
        });
        await wire.callTool('test_trigger_prompt_change');
        await heard.until('notice', (one) => one.method === 'notifications/prompts/list_changed');
        assert.deepEqual(heard.of('notifications/tools/list_changed'), []);
        assert.deepEqual(heard.of('notifications/resources/list_changed'), []);
        await wire.end();
      });
    }
  }

  test('a legacy session that unsubscribed hears no more of it', async () => {
    for (const server of ['legacy', 'modern'] as const) {
      const wire = await connect(server, 'legacy');
      using heard = await wire.listen({});
      await wire.ask('resources/subscribe', { uri: WATCHED });
      await wire.ask('resources/subscribe', { uri: OTHER });
      await wire.ask('resources/unsubscribe', { uri: WATCHED });
      await wire.callTool('test_trigger_resource_update', { uri: WATCHED });
      await wire.callTool('test_trigger_resource_update', { uri: OTHER });
      await heard.until('update', (one) => one.params?.uri === OTHER);
      assert.equal(heard.of('notifications/resources/updated').length, 1);
      await wire.end();
    }
  });

  test('a server that comes back is asked again, and its subscribers are told to read again', async () => {
    for (const server of ['legacy', 'modern'] as const) {
      const wire = await connect(server === 'legacy' ? 'common' : server, 'legacy');
      using heard = await wire.listen({});
      await wire.ask('resources/subscribe', { uri: WATCHED });
      const port = Number(new URL(fixtures[server]!.url).port);
      await fixtures[server]![Symbol.asyncDispose]();
      fixtures[server] = await startFixture(server, port);
      const updates = () => heard.of('notifications/resources/updated').length;
      await heard.until('update after the restart', () => updates() === 1);
      await wire.callTool('test_trigger_resource_update', { uri: WATCHED });
      await heard.until('update', () => updates() === 2);
      await wire.end();
    }
  });

  test('a restart keeps the level and the subscriptions of a session', async () => {
    const wire = await connect('modern', 'legacy');
    await wire.ask('logging/setLevel', { level: 'error' });
    await wire.ask('resources/subscribe', { uri: WATCHED });
    await castellan.stop();
    castellan = await startCastellan(['--config', file], { dataDir: path.join(folder, 'data') });
    const again = Object.assign(Object.create(Wire.prototype), wire, {
      url: `${castellan.url}/projects/modern/mcp`,
    }) as Wire;
    assert.equal(logsOf(await again.callTool('test_tool_with_logging')).length, 0);
    using heard = await again.listen({});
    // The stream is open before the server has been told: what matters is that it is told at all.
    const deadline = Date.now() + WAIT_MS;
    while (heard.of('notifications/resources/updated').length === 0 && Date.now() < deadline) {
      await again.callTool('test_trigger_resource_update', { uri: WATCHED });
    }
    assert.ok(heard.of('notifications/resources/updated').length > 0);
    await again.end();
  });
});
