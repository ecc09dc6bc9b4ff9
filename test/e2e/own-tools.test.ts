import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { type Agent, type Loose, newAgent } from '../support/agent.ts';
import { EndpointRig } from '../support/endpoint-rig.ts';

let rig: EndpointRig;
let half: Agent;

before(async () => {
  const dead = { url: 'http://127.0.0.1:1/mcp' };
  rig = await EndpointRig.start({
    servers: { gone: dead },
    projects: { half: { servers: ['gone', 'modern'] } },
  });
  half = await newAgent(rig.castellan, 'half');
});
after(() => rig[Symbol.asyncDispose]());

const namesIn = ({ result }: { result?: Loose }): string[] =>
  result.tools.map((tool: Loose) => String(tool.name));

describe('the status tool', () => {
  test('is listed where a server is not well, and says what to do', async () => {
    const names = namesIn(await half.ask('tools/list'));
    assert.equal(names.at(-1), 'status');
    assert.ok(names.includes('modern__echo'));
    const { result } = await half.call('status');
    const { message, count, servers } = result?.structuredContent ?? {};
    assert.equal(message, 'Not well: gone (unavailable).');
    assert.equal(count, 2);
    assert.match(servers[0].last_error, /ECONNREFUSED|refused|connect/i);
    assert.match(servers[0].advice, /retry later/);
    assert.deepEqual([servers[1].name, servers[1].status], ['modern', 'healthy']);
  });

  test('is not in the list while all is well, and answers all the same', async () => {
    assert.ok(!namesIn(await rig.agent.ask('tools/list')).includes('status'));
    const { result } = await rig.agent.call('status');
    assert.equal(result?.structuredContent.message, 'Nothing is known to be wrong.');
  });

  test('takes nothing for no arguments, and says what is wrong with others', async () => {
    for (const given of [null, undefined, {}]) {
      const { result } = await half.ask('tools/call', { name: 'status', arguments: given });
      assert.equal(result?.isError, undefined, JSON.stringify(given));
    }
    const wrong = async (given: unknown) => {
      const { result } = await half.ask('tools/call', { name: 'status', arguments: given });
      assert.equal(result?._meta['castellan/error'].code, 'INVALID_ARGUMENT');
      return result?.content[0].text as string;
    };
    assert.match(await wrong([]), /must be an object, not an array/);
    assert.match(await wrong('all'), /must be an object, not a string/);
    assert.match(await wrong({ server: 'gone' }), /server unknown key/);
  });
});
