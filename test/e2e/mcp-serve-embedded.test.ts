import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import path from 'node:path';
import { describe, it } from 'node:test';
import { temporaryFolder } from '../support/databases.ts';
import { eventually, isAlive, pidsMarked } from '../support/processes.ts';
import { startCastellan } from '../support/running-castellan.ts';
import { StdioClient } from '../support/stdio-client.ts';

const QUICKSTART = ['--config', 'examples/quickstart.yaml', '-p', 'demo'];
const ECHO = { name: 'everything__echo', arguments: { message: 'hello' } };

/** A client whose server is its own. */
const started = (dataDir: string) => new StdioClient(['--data-dir', dataDir, ...QUICKSTART]);

/** The processes of its upstreams, of which one runs now. */
async function upstreamsOf(client: StdioClient, dataDir: string): Promise<() => Promise<number[]>> {
  const { result } = await client.ask('tools/call', ECHO);
  assert.equal(result.content[0].text, 'Echo: hello');
  const { id } = JSON.parse(await readFile(path.join(dataDir, 'instance.json'), 'utf8'));
  const children = () => pidsMarked(id);
  assert.ok((await children()).length > 0, 'its upstream runs');
  return children;
}

describe('where no server runs, one of its own', () => {
  const endings: [string, (client: StdioClient) => void, number | null][] = [
    ['its client is done', ({ process }) => process.stdin!.end(), 0],
    ['it is told to', ({ process }) => process.kill('SIGTERM'), 0],
    ['it is killed', ({ process }) => process.kill('SIGKILL'), null],
  ];
  for (const [when, end, code] of endings) {
    it(`serves both eras, and leaves no process behind when ${when}`, async () => {
      const dataDir = await temporaryFolder();
      await using client = started(dataDir);
      const children = await upstreamsOf(client, dataDir);
      await client.initialize();
      const modern = await client.askModern('tools/call', ECHO);
      assert.equal(modern.result.resultType, 'complete');
      assert.match(client.stderr, /one of its own serves this client/);
      end(client);
      assert.equal(await client.exited, code);
      await eventually('no child is left', async () => (await children()).length === 0);
    });
  }

  it('is shared with a client that comes later, and makes way for a server', async () => {
    const dataDir = await temporaryFolder();
    await using client = started(dataDir);
    await client.ask('ping');
    await using later = new StdioClient(['--data-dir', dataDir, '-p', 'demo']);
    assert.equal((await later.ask('tools/call', ECHO)).result.content[0].text, 'Echo: hello');
    assert.doesNotMatch(later.stderr, /of its own/);
    assert.equal(await later.close(), 0);
    assert.equal(await client.close(), 0);
    await using castellan = await startCastellan(undefined, { dataDir });
    await using next = new StdioClient(['--data-dir', dataDir, '-p', 'demo']);
    assert.equal((await next.ask('tools/call', ECHO)).result.content[0].text, 'Echo: hello');
    assert.ok(castellan.url);
  });

  it('is one for two clients that start at once, and another one takes its place', async () => {
    const dataDir = await temporaryFolder();
    await using one = started(dataDir);
    await using two = started(dataDir);
    const clients = [one, two];
    const hello = await Promise.all(clients.map((client) => client.initialize()));
    assert.deepEqual(hello[0], hello[1]);
    const owner = /of its own/.test(one.stderr) ? one : two;
    const other = owner === one ? two : one;
    assert.doesNotMatch(other.stderr, /of its own/);
    await owner.close();
    const { result } = await other.ask('tools/call', ECHO);
    assert.equal(result.content[0].text, 'Echo: hello');
    assert.match(other.stderr, /of its own/);
    assert.equal(await other.close(), 0);
  });

  it('says what is missing, and nothing is left of it', async () => {
    const dataDir = await temporaryFolder();
    await using client = new StdioClient(['--data-dir', dataDir]);
    assert.equal(await client.exited, 1);
    assert.match(client.stderr, /there is no project yet/);
    assert.ok(client.process.pid && !(await isAlive(client.process.pid)));
  });
});
