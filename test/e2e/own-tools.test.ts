import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { type Agent, administrate, type Loose, newAgent } from '../support/agent.ts';
import { EndpointRig } from '../support/endpoint-rig.ts';
import { OracleUpstream } from '../support/oracle-upstream.ts';

let rig: EndpointRig;
let half: Agent;
let namesake: OracleUpstream;

before(async () => {
  const dead = { url: 'http://127.0.0.1:1/mcp' };
  namesake = await OracleUpstream.start('modern', ['status', 'free']);
  rig = await EndpointRig.start({
    servers: { gone: dead, namesake: { url: namesake.url, prefix: 'never' } },
    projects: { half: { servers: ['gone', 'modern'] }, named: { servers: ['namesake'] } },
  });
  half = await newAgent(rig.castellan, 'half');
});
after(async () => {
  await rig?.[Symbol.asyncDispose]();
  await namesake?.[Symbol.asyncDispose]();
});

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

describe("the names of Castellan's own tools", () => {
  test('are taken by no tool of a server, and whoever configures it is told', async () => {
    const agent = await newAgent(rig.castellan, 'named');
    const listed = await agent.ask('tools/list');
    assert.deepEqual(namesIn(listed), ['free']);
    assert.match(listed.result?._meta['castellan/degraded'][0].reason, /status is left out.*Castellan/);
    const { result } = await agent.call('status');
    assert.equal(result?.structuredContent.count, 1);
    assert.equal(namesake.calls.length, 0);
    const put = (servers: string[]) =>
      administrate(rig.castellan, 'PUT', '/projects/another', {
        kind: 'Project',
        metadata: { name: 'another' },
        spec: { servers },
      });
    await assert.rejects(
      put(['namesake']),
      /namesake has a tool status, as Castellan itself has: give it another/,
    );
    await put(['modern']);
    const spec = { url: namesake.url, prefix: 'never', tools: { override: { free: { name: 'mcp' } } } };
    const server = { kind: 'Server', metadata: { name: 'renamed' }, spec };
    await administrate(rig.castellan, 'PUT', '/servers/renamed', server);
    await assert.rejects(put(['renamed']), /renamed has a tool mcp, as Castellan itself has/);
  });

  test('can be called from the command line', async () => {
    const { code, stdout } = await rig.castellan.cli('call', 'status', '-p', 'half', '-o', 'json');
    assert.equal(code, 0);
    assert.equal(JSON.parse(stdout).structuredContent.count, 2);
    const operator = await rig.castellan.cli(
      'call',
      'status',
      '-p',
      'p',
      '--surface',
      'operator',
      '-o',
      'json',
    );
    assert.equal(JSON.parse(operator.stdout).structuredContent.servers[0].name, 'workshop');
    const help = await rig.castellan.cli('call', 'mcp', '-p', 'half');
    assert.match(help.stdout, /list_tools/);
  });
});
