import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import type { Loose } from '../support/agent.ts';
import { temporaryFolder } from '../support/databases.ts';
import { eventually, isAlive } from '../support/processes.ts';
import { startCastellan, type TestCastellan } from '../support/running-castellan.ts';
import { type Answers, connectAuto, SDKS, type SdkWay } from '../support/sdk-clients.ts';
import { StdioClient } from '../support/stdio-client.ts';

let castellan: TestCastellan;
let way: SdkWay;

before(async () => {
  castellan = await startCastellan();
  way = { transport: 'stdio', args: ['--data-dir', castellan.dataDir, '-p', 'demo'] };
});
after(() => castellan?.[Symbol.asyncDispose]());

const textOf = (result: Loose) => result.content.map(({ text }: Loose) => text).join('\n') as string;
const LONG = {
  name: 'everything__trigger-long-running-operation',
  arguments: { duration: 0.4, steps: 4 },
};
const ECHO = { name: 'everything__echo', arguments: { message: 'hello' } };

for (const [sdk, connect] of Object.entries(SDKS)) {
  describe(`${sdk} over stdio`, () => {
    it('lists and calls, hears progress, and leaves no process', async () => {
      await using client = await connect(way);
      const { tools } = await client.listTools();
      assert.ok(tools.some(({ name }: Loose) => name === ECHO.name));
      assert.equal(textOf(await client.callTool(ECHO)), 'Echo: hello');
      const seen: number[] = [];
      await client.callTool(LONG, { onprogress: ({ progress }) => seen.push(progress) });
      // An SDK forgets what it wanted progress for when the answer comes in one piece with the last of it.
      assert.deepEqual(seen.slice(0, 3), [1, 2, 3]);
      const { pid } = client;
      assert.ok(pid !== null && (await isAlive(pid)));
      await client.close();
      await eventually('it has ended', async () => !(await isAlive(pid)));
    });

    it('answers what a server asks during a call', async () => {
      const asked: string[] = [];
      const answers: Answers = {
        'elicitation/create': ({ message }) => {
          asked.push(message);
          return { action: 'decline' };
        },
        'sampling/createMessage': ({ messages }) => {
          asked.push(messages[0].content.text);
          return { role: 'assistant', model: 'none', content: { type: 'text', text: 'sampled' } };
        },
        'roots/list': () => ({ roots: [{ uri: 'file:///srv/one', name: 'one' }] }),
      };
      await using client = await connect(way, answers);
      const sample = { prompt: 'say it', maxTokens: 10 };
      const sampled = await client.callTool({
        name: 'everything__trigger-sampling-request',
        arguments: sample,
      });
      assert.match(textOf(sampled), /sampled/);
      const elicited = await client.callTool({
        name: 'everything__trigger-elicitation-request',
        arguments: {},
      });
      assert.match(textOf(elicited), /declined/);
      assert.equal(asked.length, 2);
      const roots = await client.callTool({ name: 'everything__get-roots-list', arguments: {} });
      assert.match(textOf(roots), /file:\/\/\/srv\/one/);
    });
  });
}

it('a client that first tries a process which it throws away gets a server of its own', async () => {
  const dataDir = await temporaryFolder();
  const args = ['--data-dir', dataDir, '--config', 'examples/quickstart.yaml', '-p', 'demo'];
  await using client = await connectAuto({ transport: 'stdio', args });
  assert.equal(textOf(await client.callTool(ECHO)), 'Echo: hello');
});

it('progress comes before the answer, all of it, in both eras', async () => {
  await using client = new StdioClient(way.transport === 'stdio' ? way.args : []);
  await client.initialize();
  for (const era of ['send', 'sendModern'] as const) {
    const call = { ...LONG, _meta: { progressToken: era } };
    const id = client[era]('tools/call', call);
    await client.answer(id);
    const own = client.messages.filter((one) => one.id === id || one.params?.progressToken === era);
    assert.deepEqual(
      own.map(({ params }) => params?.progress),
      [1, 2, 3, 4, undefined],
      era,
    );
  }
});
