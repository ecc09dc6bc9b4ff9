import assert from 'node:assert/strict';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { after, before, describe, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { startCastellan, type TestCastellan } from '../support/running-castellan.ts';
import { type ClientEra, type Heard, META, type Message, WAIT_MS, Wire } from '../support/wire-client.ts';

const CHILD = fileURLToPath(new URL('../support/notices-child.ts', import.meta.url));
const URI = 'x://a';
const LEVEL = { [`${META}logLevel`]: 'info' };
const LOG = 'notifications/message';
const UPDATED = 'notifications/resources/updated';

describe('notices of stdio servers that many clients share', () => {
  let castellan: TestCastellan;
  let folder: string;
  let file: string;

  const config = (note: string) =>
    (['legacy', 'modern'] as const)
      .map(
        (era) => `kind: Server
metadata: { name: ${era} }
spec: { command: node, args: ["${CHILD}", ${era}], env: { NOTE: "${note}" }, prefix: never, isolation: shared }
---
kind: Project
metadata: { name: ${era} }
spec: { servers: [${era}] }
`,
      )
      .concat(`kind: Server
metadata: { name: own }
spec: { command: node, args: ["${CHILD}", legacy], prefix: never, isolation: session }
---
kind: Project
metadata: { name: own }
spec: { servers: [own] }
`)
      .join('---\n');

  before(async () => {
    folder = await mkdtemp(path.join(tmpdir(), 'castellan-notices-stdio-'));
    file = path.join(folder, 'castellan.yaml');
    await writeFile(file, config('first'));
    castellan = await startCastellan(['--config', file]);
  });
  after(async () => {
    await castellan?.[Symbol.asyncDispose]();
    await rm(folder, { recursive: true, force: true });
  });

  async function connect(server: ClientEra | 'own', era: ClientEra): Promise<Wire> {
    const { stdout } = await castellan.cli(
      ...['create', 'mcptoken', `t${Math.random()}`, '-p', server, '--rbac', 'clone'],
    );
    const wire = new Wire(era, `${castellan.url}/projects/${server}/mcp`, stdout.trim());
    await wire.open();
    return wire;
  }

  /** A client that hears of the resource. */
  async function subscriber(server: ClientEra, era: ClientEra): Promise<{ wire: Wire; heard: Heard }> {
    const wire = await connect(server, era);
    const heard = await wire.listen({ resourceSubscriptions: [URI] });
    if (era === 'legacy') assert.deepEqual((await wire.ask('resources/subscribe', { uri: URI })).result, {});
    else await heard.until('acknowledgement', (one) => JSON.stringify(one.params).includes(URI));
    return { wire, heard };
  }

  async function watchedBy(wire: Wire): Promise<string> {
    return textOf((await wire.callTool('watched')).at(-1)!);
  }

  for (const server of ['legacy', 'modern'] as const) {
    test(`${server} server: it watches once for all clients, and for none when they are gone`, async () => {
      const observer = await connect(server, 'modern');
      const first = await subscriber(server, 'legacy');
      const second = await subscriber(server, 'modern');
      assert.equal(await watchedBy(observer), JSON.stringify({ uris: [URI] }));
      await observer.callTool('touch', { uri: URI });
      await first.heard.until('update', (one) => one.method === UPDATED);
      await second.heard.until('update', (one) => one.method === UPDATED);

      await first.wire.end();
      await observer.callTool('touch', { uri: URI });
      await second.heard.until('second update', () => second.heard.of(UPDATED).length === 2);
      assert.equal(first.heard.of(UPDATED).length, 1);

      second.heard[Symbol.dispose]();
      const deadline = Date.now() + WAIT_MS;
      let watched = await watchedBy(observer);
      while (watched !== '{"uris":[]}' && Date.now() < deadline) watched = await watchedBy(observer);
      assert.equal(watched, '{"uris":[]}');
    });

    test(`${server} server: a log reaches the one call that it can belong to, and otherwise nobody`, async () => {
      const wire = await connect(server, 'modern');
      const alone = await wire.callTool('log', {}, LEVEL);
      assert.equal(logsOf(alone).length, 1, JSON.stringify(alone));
      // Over stdio as over HTTP, a legacy server is told the level before the call that wants it.
      if (server === 'legacy') assert.equal(textOf(alone.at(-1)!), 'info');
      assert.equal(logsOf(await wire.callTool('log')).length, 0);
      const other = await connect(server, 'modern');
      const together = [wire, other].map((one) => one.callTool('log-together', {}, LEVEL));
      for (const messages of await Promise.all(together)) {
        assert.equal(textOf(messages.at(-1)!), 'logged');
        assert.equal(logsOf(messages).length, 0, JSON.stringify(messages));
      }
    });
  }

  test('what a session alone can have caused is told to that session, at its level and once', async () => {
    const wire = await connect('own', 'legacy');
    const stranger = await connect('own', 'legacy');
    using heard = await wire.listen({});
    using twice = await wire.listen({});
    using deaf = await stranger.listen({});
    const together = () => Promise.all([wire.callTool('log-together'), wire.callTool('log-together')]);
    await wire.ask('logging/setLevel', { level: 'error' });
    await together();
    await wire.ask('logging/setLevel', { level: 'warning' });
    await together();
    const logs = () => [...heard.messages, ...twice.messages].filter((one) => one.method === LOG);
    await heard.until('log', () => logs().length > 0);
    assert.equal(logs().length, 1);
    assert.equal(logs()[0]!.params!.data, 'whose?');
    assert.deepEqual(deaf.of(LOG), []);
    await wire.end();
    await stranger.end();
  });

  test('what cannot be subscribed to is refused, and so is too much', async () => {
    const wire = await connect('own', 'legacy');
    const subscribe = (uri: unknown) => wire.ask('resources/subscribe', { uri });
    for (const uri of [7, '', 'x'.repeat(3_000)]) assert.equal((await subscribe(uri)).error?.code, -32602);
    for (let i = 0; i < 100; i += 1) assert.deepEqual((await subscribe(`x://${i}`)).result, {});
    assert.equal((await subscribe('x://100')).error?.code, -32602);
    assert.deepEqual((await wire.ask('resources/unsubscribe', { uri: 'x://0' })).result, {});
    assert.deepEqual((await subscribe('x://100')).result, {});
    await wire.end();
  });

  test('a subscription goes on with the server that takes the place of the one it was made on', async () => {
    const subscribers = [await subscriber('legacy', 'legacy'), await subscriber('modern', 'modern')];
    await writeFile(file, config('second'));
    castellan.process.kill('SIGHUP');
    for (const { wire, heard } of subscribers) {
      // What happened in between is not known, so the client is told to read it again.
      await heard.until('update after the change', (one) => one.method === UPDATED);
      const before = heard.of(UPDATED).length;
      await wire.callTool('touch', { uri: URI });
      await heard.until('update', () => heard.of(UPDATED).length > before);
      heard[Symbol.dispose]();
    }
  });
});

function logsOf(messages: Message[]): Message[] {
  return messages.filter((message) => message.method === 'notifications/message');
}

function textOf(message: Message): string {
  const content = message.result?.content as { text: string }[] | undefined;
  assert.ok(content, JSON.stringify(message));
  return content[0]!.text;
}
