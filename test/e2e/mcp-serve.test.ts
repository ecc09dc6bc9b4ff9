import assert from 'node:assert/strict';
import { chmod, readFile, stat } from 'node:fs/promises';
import path from 'node:path';
import { after, before, describe, it } from 'node:test';
import { Agent, administrate, type Loose, newAgent, writeConfig } from '../support/agent.ts';
import { temporaryFolder } from '../support/databases.ts';
import { MenuUpstream } from '../support/menu-upstream.ts';
import { OracleUpstream } from '../support/oracle-upstream.ts';
import { eventually } from '../support/processes.ts';
import { runCli, startCastellan, type TestCastellan } from '../support/running-castellan.ts';
import { StdioClient } from '../support/stdio-client.ts';
import { Wire } from '../support/wire.ts';

const MODERN = '2026-07-28';

let castellan: TestCastellan;
let oracle: OracleUpstream;
let old: OracleUpstream;
let menu: MenuUpstream;

before(async () => {
  oracle = await OracleUpstream.start('modern', ['echo', 'hold']);
  old = await OracleUpstream.start('legacy', ['echo', 'hold']);
  menu = await MenuUpstream.start('modern', {
    capabilities: { tools: {} },
    answers: {
      'tools/list': () => ({
        tools: [
          {
            name: 'routed',
            inputSchema: {
              type: 'object',
              properties: { region: { type: 'string', 'x-mcp-header': 'region' } },
            },
          },
        ],
      }),
      'tools/call': ({ arguments: args }) => ({ content: [{ type: 'text', text: args.region }] }),
    },
  });
  const config = await writeConfig(
    path.join(await temporaryFolder(), 'castellan.json'),
    { x: { url: oracle.url }, old: { url: old.url }, menu: { url: menu.url } },
    { demo: { servers: ['x', 'old', 'menu'] }, other: { servers: [] } },
  );
  castellan = await startCastellan(['--config', config]);
});
after(async () => {
  await castellan?.[Symbol.asyncDispose]();
  for (const upstream of [oracle, old, menu]) await upstream?.[Symbol.asyncDispose]();
});

const started = (more: readonly string[] = [], env?: Record<string, string>) =>
  new StdioClient(['--data-dir', castellan.dataDir, '-p', 'demo', ...more], env);
/** The servers of a project, which its clients are told of when they change. */
const offer = (servers: string[]) =>
  administrate(castellan, 'PUT', '/projects/wide', {
    kind: 'Project',
    metadata: { name: 'wide' },
    spec: { servers },
  });
const textOf = ({ result }: Loose) => result.content[0].text as string;

describe('messages', () => {
  it('of both eras pass over one pair of pipes', async () => {
    await using client = started();
    const hello = await client.initialize();
    assert.equal(hello.protocolVersion, '2025-11-25');
    const { result: discovered } = await client.askModern('server/discover');
    assert.ok(discovered.supportedVersions.includes(MODERN));
    const { result: list } = await client.ask('tools/list');
    assert.ok(list.tools.some(({ name }: Loose) => name === 'x__echo'));
    const call = { name: 'x__echo', arguments: { n: 1 } };
    assert.equal(textOf(await client.ask('tools/call', call)), '{"n":1}');
    const modern = await client.askModern('tools/call', call);
    assert.deepEqual([textOf(modern), modern.result.resultType], ['{"n":1}', 'complete']);
    const named = client.send('ping', undefined, 'a "name"');
    assert.deepEqual((await client.answer(named)).result, {});
    assert.equal(await client.close(), 0);
  });

  it('that are none are refused, and nothing ends', async () => {
    await using client = started();
    const before = client.messages.length;
    for (const line of [
      '{',
      '[{"jsonrpc":"2.0","id":1,"method":"ping"}]',
      '{"id":7,"method":"ping"}',
      '',
      '"x"',
    ])
      client.write(line);
    const last = await client.ask('ping');
    assert.deepEqual(last.result, {});
    await eventually('all are refused', () => client.messages.length === before + 5);
    const refused = client.messages.filter(({ error }) => error).map(({ id, error }) => [id, error.code]);
    assert.deepEqual(refused, [
      [null, -32700],
      [null, -32600],
      [7, -32600],
      [null, -32600],
    ]);
    assert.equal((await client.ask('no/such')).error.code, -32601);
    assert.equal((await client.askModern('no/such')).error.code, -32601);
    assert.equal((await client.ask('bad method\n')).error.code, -32601);
  });

  it('end with one that is too long', async () => {
    await using client = started();
    await client.ask('ping');
    client.process.stdin!.write('x'.repeat(17 * 1024 * 1024));
    assert.equal(await client.exited, 1);
    assert.deepEqual([client.messages.at(-1).id, client.messages.at(-1).error.code], [null, -32700]);
    assert.match(client.stderr, /longer than 16 MiB/);
  });

  it('that the server does not take are answered with its reason', async () => {
    await using client = started();
    const args = { text: 'x'.repeat(5 * 1024 * 1024) };
    const { error } = await client.ask('tools/call', { name: 'x__echo', arguments: args });
    assert.match(error.message, /4 MiB|4194304/);
    const meta = { 'io.modelcontextprotocol/protocolVersion': '2030-01-01' };
    const unsupported = await client.askModern('tools/list', { _meta: meta });
    assert.deepEqual(unsupported.error.data.requested, '2030-01-01');
  });

  it('carry the arguments that a tool wants in headers', async () => {
    await using client = started();
    for (const region of ['eu', 'ü']) {
      const call = { name: 'menu__routed', arguments: { region } };
      assert.equal(textOf(await client.askModern('tools/call', call)), region);
    }
    assert.equal(menu.of('tools/call').length, 2);
  });

  it('with an id that is under way already are refused', async () => {
    await using client = started();
    const { length } = oracle.calls;
    const call = { name: 'x__hold', arguments: {} };
    client.send('tools/call', call, 'same');
    await oracle.arrival(length);
    client.send('tools/call', call, 'same');
    assert.match((await client.answer('same')).error.message, /under way/);
    oracle.letGo();
    await eventually(
      'the first is answered',
      () => client.messages.filter(({ id }) => id === 'same').length === 2,
    );
    assert.equal(oracle.calls.length, length + 1);
  });
});

describe('a request', () => {
  it('is cancelled in either era, and not answered', async () => {
    await using client = started();
    await client.initialize();
    for (const era of ['send', 'sendModern'] as const) {
      const { length } = oracle.calls;
      const id = client[era]('tools/call', { name: 'x__hold', arguments: { era } });
      const call = await oracle.arrival(length);
      client.notify('notifications/cancelled', { requestId: id, reason: 'no more' });
      await eventually('the server is told', () => call.left);
      await client.ask('ping');
      assert.ok(!client.messages.some((one) => one.id === id), era);
    }
  });

  it('that is cancelled at once reaches nobody in vain', async () => {
    await using client = started();
    await client.initialize();
    const ended = async () =>
      (await administrate(castellan, 'GET', '/audit?event=tool.call')).items.length as number;
    const before = await ended();
    const { length } = oracle.calls;
    const id = client.send('tools/call', { name: 'x__hold', arguments: {} });
    client.notify('notifications/cancelled', { requestId: id });
    await eventually('the call is over', async () => (await ended()) > before);
    await eventually('nobody works on it', () => oracle.calls.slice(length).every(({ left }) => left));
    await client.ask('ping');
    assert.ok(!client.messages.some((one) => one.id === id));
  });

  it('that takes long is in nobody’s way', async () => {
    await using client = started();
    await client.initialize();
    const { length } = oracle.calls;
    const slow = client.send('tools/call', { name: 'x__hold', arguments: {} });
    await oracle.arrival(length);
    assert.equal(textOf(await client.ask('tools/call', { name: 'x__echo', arguments: {} })), '{}');
    oracle.letGo();
    assert.equal(textOf(await client.answer(slow)), '{}');
  });
});

describe('the end', () => {
  const endings: [string, (client: StdioClient) => void][] = [
    ['its client closes its side', ({ process }) => process.stdin!.end()],
    ['it is told to', ({ process }) => process.kill('SIGTERM')],
    [
      'its client is gone without a word',
      ({ process }) => {
        process.stdin!.destroy();
        process.stdout!.destroy();
      },
    ],
  ];
  for (const [when, end] of endings) {
    it(`comes when ${when}, and ends the session at the server`, async () => {
      await using client = started();
      await client.initialize();
      const { length } = oracle.calls;
      client.send('tools/call', { name: 'x__hold', arguments: {} });
      await oracle.arrival(length);
      const ended = async () =>
        (await administrate(castellan, 'GET', '/audit?event=session.ended')).items.length as number;
      const before = await ended();
      end(client);
      oracle.letGo();
      assert.equal(await client.exited, 0);
      await eventually('the session is over', async () => (await ended()) === before + 1);
    });
  }

  it('comes with the answers to what was asked before', async () => {
    await using client = started();
    const call = { name: 'x__echo', arguments: { last: true } };
    const ids = [client.send('ping'), client.send('tools/call', call), client.sendModern('tools/call', call)];
    assert.equal(await client.close(), 0);
    assert.deepEqual(client.messages.map(({ id }) => id).toSorted(), ids);
  });
});

describe('changes', () => {
  it('are told to clients of both eras, also after the server has started anew', async () => {
    await offer(['x']);
    const port = new URL(castellan.url).port;
    await using client = new StdioClient(['--data-dir', castellan.dataDir, '-p', 'wide']);
    await client.initialize();
    const listen = client.sendModern('subscriptions/listen', { notifications: { toolsListChanged: true } });
    const changed = (one: Loose) => one.method === 'notifications/tools/list_changed';
    const subscriptionOf = (one: Loose) => one.params?._meta?.['io.modelcontextprotocol/subscriptionId'];
    await client.until('the subscription', (one) => subscriptionOf(one) === listen);
    const told = () => [
      client.messages.filter((one) => changed(one) && subscriptionOf(one) === undefined).length,
      client.messages.filter((one) => changed(one) && subscriptionOf(one) === listen).length,
    ];
    const both = async (what: string) => {
      const [legacy = 0, modern = 0] = told();
      return () => eventually(what, () => told().every((count, at) => count > [legacy, modern][at]!), 15_000);
    };
    // The standing stream of the session opens in its own time.
    const arrive = async () => {
      await offer(['x', 'old']);
      await offer(['x']);
      return told().every((count) => count > 0);
    };
    await eventually('changes arrive', arrive, 15_000);
    const restarted = await both('all may have changed with the restart');
    await castellan.stop();
    castellan = await again(port);
    await restarted();
    const later = await both('changes arrive again');
    await offer(['x', 'menu']);
    await later();
    const { result } = await client.ask('tools/list');
    assert.ok(result.tools.some(({ name }: Loose) => name === 'menu__routed'));
    const acknowledged = client.messages.filter(({ method }) => method?.endsWith('/acknowledged'));
    assert.equal(acknowledged.length, 1);
    client.notify('notifications/cancelled', { requestId: listen });
    await client.ask('ping');
    assert.ok(!client.messages.some(({ id }) => id === listen));
  });

  async function again(port: string): Promise<TestCastellan> {
    const { dataDir } = castellan;
    const config = path.join(await temporaryFolder(), 'castellan.json');
    await writeConfig(
      config,
      { x: { url: oracle.url }, old: { url: old.url }, menu: { url: menu.url } },
      { demo: { servers: ['x', 'old', 'menu'] }, other: { servers: [] } },
    );
    return startCastellan(['--config', config, '--port', port], { dataDir });
  }

  it('of address are followed, and a session whose state is gone begins anew', async () => {
    await using client = started();
    await client.initialize();
    const call = { name: 'old__echo', arguments: { n: 1 } };
    assert.equal(textOf(await client.ask('tools/call', call)), '{"n":1}');
    const { length } = oracle.calls;
    const lost = client.send('tools/call', { name: 'x__hold', arguments: {} });
    await oracle.arrival(length);
    await castellan.stop('SIGKILL');
    const waiting = client.send('tools/call', call);
    castellan = await again('0');
    assert.match((await client.answer(lost)).error.message, /may have been made/);
    assert.equal(textOf(await client.answer(waiting)), '{"n":1}');
    assert.deepEqual([old.calls.length, oracle.calls.length], [2, length + 1]);
    assert.equal(await client.close(), 0);
  });
});

describe('a connection that breaks', () => {
  it('loses neither the answer to a call nor what is told meanwhile', async () => {
    await offer(['x']);
    await using wire = await Wire.to(castellan.url);
    const { token = '' } = await newAgent(castellan, 'wide');
    await using client = new StdioClient(['--server', wire.url], { CASTELLAN_TOKEN: token });
    await client.initialize();
    const told = () => client.messages.filter(({ method }) => method?.endsWith('/list_changed')).length;
    const isOpen = async () => {
      await offer(['x', 'old']);
      await offer(['x']);
      return told() > 0;
    };
    await eventually('the standing stream is open', isOpen, 15_000);
    const { length } = oracle.calls;
    const id = client.send('tools/call', { name: 'x__hold', arguments: { n: 1 } });
    await oracle.arrival(length);
    const before = told();
    wire.cut();
    oracle.letGo();
    await offer(['x', 'menu']);
    assert.equal(textOf(await client.answer(id)), '{"n":1}');
    await eventually('the change is told', () => told() > before, 10_000);
    assert.equal(oracle.calls.length, length + 1);
    assert.equal(await client.close(), 0);
  });

  it('has a modern call that was under way answered with what may have happened', async () => {
    await using wire = await Wire.to(castellan.url);
    const agent = await newAgent(castellan, 'demo');
    await using client = new StdioClient(['--server', wire.url, '-p', 'demo'], {
      CASTELLAN_TOKEN: agent.token!,
    });
    const { length } = oracle.calls;
    const id = client.sendModern('tools/call', { name: 'x__hold', arguments: {} });
    const call = await oracle.arrival(length);
    wire.cut();
    assert.match((await client.answer(id)).error.message, /may have been made: look before you repeat it/);
    await eventually('nobody works on it', () => call.left);
    assert.equal((await client.askModern('tools/list')).error, undefined);
  });
});

describe('who is behind it', () => {
  /** The token for the consumer surface of the project. */
  const kept = async (): Promise<string> => {
    const { metadata } = await administrate(castellan, 'GET', '/projects/demo');
    const file = path.join(castellan.dataDir, 'mcp-serve.json');
    return JSON.parse(await readFile(file, 'utf8'))[`${metadata.uid}/consumer`];
  };

  it('is a token of its own where the data directory is at hand, the same one every time', async () => {
    for (let turn = 0; turn < 2; turn += 1) {
      await using client = started();
      await client.ask('tools/call', { name: 'x__echo', arguments: {} });
    }
    const { items } = await administrate(castellan, 'GET', '/mcptokens?project=demo');
    const own = items.filter(({ metadata }: Loose) => metadata.name.startsWith('mcp-serve-'));
    assert.equal(own.length, 1);
    const { items: audit } = await administrate(castellan, 'GET', '/audit?event=tool.call&limit=1');
    assert.equal(audit[0].token, own[0].metadata.name);
    const { mode } = await stat(path.join(castellan.dataDir, 'mcp-serve.json'));
    assert.equal(mode & 0o777, 0o600);
    const token = await kept();
    const bound = new Agent(`${castellan.url}/projects/demo/operator-mcp`, token);
    assert.equal((await bound.send({ jsonrpc: '2.0', id: 1, method: 'ping' })).status, 403);
    const api = await fetch(`${castellan.url}/api/v1/servers`, {
      headers: { authorization: `Bearer ${token}` },
    });
    assert.equal(api.status, 403);
  });

  it('ends with its token, and begins with another one', async () => {
    await using client = started();
    await client.ask('ping');
    const before = await kept();
    const { items } = await administrate(castellan, 'GET', '/mcptokens?project=demo');
    const own = items.find(({ metadata }: Loose) => metadata.name.startsWith('mcp-serve-'));
    await administrate(castellan, 'POST', `/mcptokens/${own.metadata.name}/revoke?project=demo`, {});
    await eventually('it is refused', async () => {
      const { error } = await client.ask('tools/call', { name: 'x__echo', arguments: {} });
      return /revoked/.test(error?.message);
    });
    await using next = started();
    assert.deepEqual((await next.ask('ping')).result, {});
    assert.notEqual(await kept(), before);
  });

  it('is nobody where others could read the token', async () => {
    const file = path.join(castellan.dataDir, 'mcp-serve.json');
    await chmod(file, 0o644);
    await using client = started();
    assert.equal(await client.exited, 1);
    assert.match(client.stderr, /can be read by other users: delete it, and revoke/);
    await chmod(file, 0o600);
  });

  it('is the token of the environment where there is one', async () => {
    const agent = await newAgent(castellan, 'demo');
    await using client = started([], { CASTELLAN_TOKEN: agent.token! });
    await client.ask('tools/call', { name: 'x__echo', arguments: { who: 'agent' } });
    const { items } = await administrate(castellan, 'GET', '/audit?event=tool.call&limit=1');
    assert.equal(items[0].token, agent.tokenName);
    const named = new StdioClient(['--server', castellan.url], { CASTELLAN_TOKEN: agent.token! });
    assert.deepEqual((await named.ask('ping')).result, {});
    assert.equal(await named.close(), 0);
  });

  it('is told what is wrong, with the exit code for it', async () => {
    const { credential } = JSON.parse(await readFile(path.join(castellan.dataDir, 'admin.json'), 'utf8'));
    const agent = await newAgent(castellan, 'demo');
    const byUrl = ['--server', castellan.url];
    const cases: [string[], string | undefined, number, RegExp][] = [
      [[...byUrl, '-p', 'demo'], credential, 77, /administrator's credential is not passed on/],
      [[...byUrl, '-p', 'other'], agent.token, 77, /does not open this project/],
      [[...byUrl, '--surface', 'operator'], agent.token, 77, /operator surface/],
      [[...byUrl, '-p', 'demo'], 'cst_pat_none', 77, /unknown, expired or revoked/],
      [['--server', 'http://127.0.0.1:9', '-p', 'demo'], agent.token, 69, /cannot reach/],
      [['--server', 'nowhere'], agent.token, 64, /--server/],
      [[...byUrl, '--config', 'x.yaml'], agent.token, 64, /--config/],
      [['--surface', 'both'], agent.token, 64, /surface/],
      [['--data-dir', castellan.dataDir, '-p', 'none'], undefined, 1, /none/],
    ];
    for (const [args, token, code, said] of cases) {
      const env = { CASTELLAN_TOKEN: token ?? '' };
      const { code: found, stderr, stdout } = await runCli(['mcp-serve', ...args], { env });
      assert.deepEqual([found, stdout], [code, ''], `${args.join(' ')}: ${stderr}`);
      assert.match(stderr, said);
    }
  });
});
