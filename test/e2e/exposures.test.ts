import assert from 'node:assert/strict';
import { writeFile } from 'node:fs/promises';
import path from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { after, before, describe, test } from 'node:test';
import { Agent, administrate, type Loose, newAgent, writeConfig } from '../support/agent.ts';
import { CatalogueUpstream } from '../support/catalogue-upstream.ts';
import { temporaryFolder } from '../support/databases.ts';
import { decide, endOf, errorIn } from '../support/held-calls.ts';
import { eventually } from '../support/processes.ts';
import { startCastellan, type TestCastellan } from '../support/running-castellan.ts';
import {
  connect,
  dataOf,
  ERAS,
  EXPOSURES,
  mcp,
  type Session,
  textOf,
  toolsOf,
  WAYS,
} from '../support/scripted-agent.ts';
import { TASKS } from '../support/tasks-for-tools.ts';

const HANDLE = 'castellan/handle';

let upstream: CatalogueUpstream;
let castellan: TestCastellan;
let folder: string;

before(async () => {
  folder = await temporaryFolder();
  upstream = await CatalogueUpstream.start();
  const servers = upstream.servers.map(({ name }) => name);
  const project = (exposure: string) => [exposure, { servers, exposure }];
  const file = await writeConfig(
    path.join(folder, 'castellan.json'),
    {
      ...upstream.config({ tools: { readOnly: ['list_*', 'search_*', 'get_*'] } }),
      board: { builtin: 'tickets' },
    },
    {
      ...Object.fromEntries(EXPOSURES.map(project)),
      mixed: { servers, operatorServers: ['board'], exposure: 'gated' },
      few: { servers: ['github', 'slack'], exposure: 'meta', limits: { token: { calls: 3, per: '1h' } } },
    },
  );
  castellan = await startCastellan(['--config', file]);
});
after(async () => {
  await castellan?.[Symbol.asyncDispose]();
  await upstream?.[Symbol.asyncDispose]();
});

describe('an agent finds and calls the right one of four hundred tools', () => {
  for (const exposure of EXPOSURES)
    for (const mode of ERAS)
      test(`${exposure}, ${typeof mode === 'string' ? mode : 'modern'}`, async () => {
        const session = await connect(castellan, exposure, mode);
        for (const [task, tool] of TASKS) {
          const before = upstream.calls.length;
          const result = await WAYS[exposure](session, task, tool);
          const [server, name] = tool.split('__');
          assert.equal(textOf(result), `${server} did ${name}`);
          const calls = upstream.calls.slice(before);
          assert.deepEqual(
            calls.map((call) => [call.server, call.name]),
            [[server, name]],
          );
        }
        await session.client.close();
      });
});

describe('what is listed', () => {
  test('full lists everything and nothing of our own, meta the mcp tool alone, gated how to begin', async () => {
    for (const mode of ERAS) {
      const [full, meta, gated] = await Promise.all(EXPOSURES.map((one) => connect(castellan, one, mode)));
      const names = await toolsOf(full!.client);
      assert.equal(names.length, 400);
      assert.ok(names.every((name) => name.includes('__')));
      assert.deepEqual(await toolsOf(meta!.client), ['mcp']);
      assert.deepEqual(await toolsOf(gated!.client), ['begin_session', 'mcp']);
      for (const { client } of [full, meta, gated] as Session[]) {
        const { prompts } = await client.listPrompts();
        assert.equal(prompts.length, 20, 'people choose prompts, which no model reads at start');
      }
      assert.match(full!.client.getInstructions() ?? '', /## slack\nTools of Slack/);
      for (const { client } of [meta, gated] as Session[]) {
        assert.match(client.getInstructions() ?? '', /20 servers \(github, gitlab/);
        assert.doesNotMatch(client.getInstructions() ?? '', /Ask before/);
      }
      for (const one of [full, meta, gated]) await one!.client.close();
    }
  });

  test('what a server says of itself is told to whoever asks for it', async () => {
    const agent = await newAgent(castellan, 'meta');
    const { result } = await agent.call('mcp', { action: 'help', server: 'slack' });
    assert.match(textOf(result), /^Tools of Slack\./);
    assert.equal(errorIn(await agent.call('mcp', { action: 'help', server: 'slak' })).code, 'NOT_FOUND');
  });

  test('the operator surface of a gated project lists its tools', async () => {
    const operator = await newAgent(castellan, 'mixed', {
      surface: 'operator',
      surfaces: ['consumer', 'operator'],
    });
    const { result } = await operator.ask('tools/list');
    assert.equal(result?.tools.length, 9);
    for (const name of ['mcp', 'begin_session']) {
      const { error } = await operator.call(name, { action: 'help', task: 'x' });
      assert.equal(error?.data.code, 'UNKNOWN_TOOL', name);
    }
  });

  test('is what the project says now, and clients are told when that changes', async () => {
    const put = (exposure: string) =>
      administrate(castellan, 'PUT', '/projects/moving', {
        kind: 'Project',
        metadata: { name: 'moving' },
        spec: { servers: ['github', 'slack'], exposure },
      });
    await put('full');
    const { client, changed } = await connect(castellan, 'moving', 'legacy');
    assert.equal((await toolsOf(client)).length, 40);
    for (const [exposure, names] of [
      ['meta', ['mcp']],
      ['gated', ['begin_session', 'mcp']],
    ] as const) {
      const before = changed();
      await put(exposure);
      assert.deepEqual(await toolsOf(client), names);
      await eventually('the client is told', () => changed() > before);
    }
    await client.close();
  });

  test('a tool that is not listed can be called by its name all the same', async () => {
    for (const exposure of ['meta', 'gated']) {
      const agent = await newAgent(castellan, exposure);
      const { result } = await agent.call('slack__list_channels');
      assert.equal(textOf(result), 'slack did list_channels');
    }
  });
});

describe('a task that has begun', () => {
  test('in a legacy session, shows everything from then on, and in that session alone', async () => {
    const agent = await newAgent(castellan, 'gated');
    const headers = await agent.openSession();
    const other = await agent.openSession();
    const count = async (session: object) =>
      (await agent.ask('tools/list', {}, session)).result?.tools.length;
    assert.equal(await count(headers), 2);
    const begun = await agent.ask(
      'tools/call',
      { name: 'begin_session', arguments: { task: 'post a message' } },
      headers,
    );
    assert.equal(dataOf(begun.result).tools[0].name, 'slack__post_message');
    assert.equal(await count(headers), 402);
    assert.equal(await count(other), 2);
    assert.equal(await count({}), 2);
  });

  for (const mode of ERAS)
    test(`gives a handle that works without a session, ${typeof mode === 'string' ? mode : 'modern'}`, async () => {
      const { client } = await connect(castellan, 'gated', mode);
      const arguments_ = { task: 'Refund a payment' };
      const begun = dataOf(await client.callTool({ name: 'begin_session', arguments: arguments_ }));
      const chosen: string[] = begun.tools.map((one: Loose) => one.name);
      assert.ok(chosen.length > 1 && chosen.length <= 8);
      assert.equal(chosen[0], 'stripe__refund_payment');
      assert.ok(Date.parse(begun.expires_at) > Date.now());
      const listed = await toolsOf(client, { [HANDLE]: begun.handle });
      assert.deepEqual(new Set(listed), new Set([...chosen, 'begin_session', 'mcp']));
      const again = dataOf(await mcp(client, { action: 'list_tools', handle: begun.handle }));
      assert.deepEqual(new Set(again.tools.map((one: Loose) => one.name)), new Set(chosen));
      await client.close();
    });

  test('gives a handle to its caller on its surface, and to nobody else', async () => {
    const [mine, theirs] = await Promise.all([newAgent(castellan, 'gated'), newAgent(castellan, 'gated')]);
    const mixed = await newAgent(castellan, 'mixed');
    const { result } = await mine.call('begin_session', { task: 'Refund a payment' });
    const { handle } = dataOf(result);
    const list = (agent: Agent, given: unknown) => agent.ask('tools/list', { _meta: { [HANDLE]: given } });
    assert.ok((await list(mine, handle)).result);
    for (const answer of [
      await list(theirs, handle),
      await list(mixed, handle),
      await list(mine, `${handle.slice(0, -2)}xx`),
      await list(mine, 7),
      await list(mine, ''),
      await list(mine, 'x'.repeat(100_000)),
    ]) {
      assert.equal(answer.error?.code, -32602);
      assert.match(answer.error?.message ?? '', /begin_session/);
    }
    const refused = await theirs.call('mcp', { action: 'list_tools', handle });
    assert.deepEqual([errorIn(refused).code, errorIn(refused).field], ['INVALID_ARGUMENT', 'handle']);
  });

  test('finds prompts too, and says so when nothing fits', async () => {
    const agent = await newAgent(castellan, 'gated');
    const found = dataOf(
      (await agent.call('begin_session', { task: 'Sum up the last days in Sentry' })).result,
    );
    assert.equal(found.prompts[0].name.split('__')[0], 'sentry');
    const nothing = dataOf((await agent.call('begin_session', { task: 'zzqqxx' })).result);
    assert.deepEqual([nothing.tools, nothing.prompts], [[], []]);
    assert.match(nothing.message, /other/);
    for (const wrong of [{}, { task: '' }, { task: 7 }, { task: 'x'.repeat(4_001) }])
      assert.equal(errorIn(await agent.call('begin_session', wrong)).field, 'task');
  });
});

describe('the mcp tool', () => {
  test('takes nothing for none, names other types, and says what to do with an unknown action', async () => {
    const agent = await newAgent(castellan, 'meta');
    const raw = (given: unknown) => agent.ask('tools/call', { name: 'mcp', arguments: given });
    for (const given of [undefined, null, {}]) {
      const { result } = await raw(given);
      assert.match(textOf(result), /list_tools/);
      assert.ok(!result?.isError);
    }
    const refusals: [unknown, RegExp][] = [
      [[], /not an array/],
      ['help', /not a string/],
      [7, /not a number/],
      [true, /not a boolean/],
      [
        { action: 'call', tool: 'slack__list_users', arguments: [] },
        /arguments must be an object, not an array/,
      ],
      [
        { action: 'call', tool: 'slack__list_users', arguments: 'x' },
        /arguments must be an object, not a string/,
      ],
      [{ action: 'run' }, /list_servers, list_tools.*use action "call".*refused again/],
      [{ action: 'call' }, /tool is missing/],
      [{ action: 'describe_tool' }, /tool is missing/],
      [{ action: 'login' }, /server is missing/],
      [{ action: 'list_tools', limit: 0 }, /limit is too small/],
      [{ action: 'list_tools', server: 'slak' }, /did you mean slack/],
      [{ action: 'list_tools', cursor: 'gone' }, /without it/],
      [{ action: 'describe_tool', tool: 'slack__post_mesage' }, /did you mean slack__post_message/],
      [{ action: 'call', tool: 'slack__list_users', channel: 'x' }, /unknown key/],
      [{ action: 'login', server: 'slack' }, /needs no sign-in/],
    ];
    for (const [given, expected] of refusals) {
      const { result } = await raw(given);
      assert.equal(result?.isError, true, JSON.stringify(given));
      assert.match(textOf(result), expected);
      assert.ok(errorIn({ result }).code);
    }
  });

  test('lists servers and tools, page by page, each once', async () => {
    const agent = await newAgent(castellan, 'meta');
    const data = async (args: object) => dataOf((await agent.call('mcp', args)).result);
    const { servers, count } = await data({ action: 'list_servers' });
    assert.equal(count, 20);
    assert.deepEqual(servers[0], { name: 'github', status: 'healthy', transport: 'http' });
    const status = await data({ action: 'status' });
    assert.deepEqual(status.servers[0], { ...servers[0], last_error: null });
    const seen: string[] = [];
    let cursor: string | undefined;
    do {
      const page = await data({ action: 'list_tools', limit: 100, ...(cursor && { cursor }) });
      assert.equal(page.total, 400);
      seen.push(...page.tools.map((one: Loose) => one.name));
      for (const { description } of page.tools) assert.ok(description.length <= 200);
      cursor = page.next_cursor;
    } while (cursor !== undefined);
    assert.equal(seen.length, 400);
    assert.equal(new Set(seen).size, 400);
    const slack = await data({ action: 'list_tools', server: 'slack', query: 'message' });
    assert.ok(slack.tools.every((one: Loose) => one.name.startsWith('slack__')));
    const { tool } = await data({ action: 'describe_tool', tool: 'slack__post_message' });
    const { result } = await (await newAgent(castellan, 'full')).ask('tools/list');
    assert.deepEqual(
      tool,
      result?.tools.find((one: Loose) => one.name === 'slack__post_message'),
    );
  });

  test('calls what there is beside it, but neither itself nor what there is not', async () => {
    const agent = await newAgent(castellan, 'gated');
    for (const tool of ['mcp', 'slack__nothing', 'board__create_ticket', '']) {
      const { error } = await agent.call('mcp', { action: 'call', tool, arguments: { action: 'help' } });
      assert.equal(error?.data.code, 'UNKNOWN_TOOL', tool);
    }
    const { result } = await agent.call('mcp', { action: 'call', tool: 'status' });
    assert.equal(dataOf(result).count, 20);
  });

  test('counts against the limits of the project once, whatever it does', async () => {
    const agent = await newAgent(castellan, 'few');
    for (let turn = 0; turn < 2; turn += 1)
      assert.ok(!errorIn(await agent.call('mcp', { action: 'call', tool: 'slack__list_users' })));
    assert.ok(!errorIn(await agent.call('mcp', { action: 'help' })));
    for (const action of ['help', 'call']) {
      const refused = await agent.call('mcp', { action, tool: 'slack__list_users' });
      assert.equal(errorIn(refused).code, 'RATE_LIMITED', action);
    }
  });
});

describe('rights, policies and the audit', () => {
  const rules = [
    { tools: ['stripe__*'], action: 'deny', reason: 'no money' },
    { tools: ['slack__post_message'], action: 'approve', selfApproval: 'cli', holdMs: 0 },
  ];

  before(async () => {
    const file = path.join(folder, 'policy.json');
    const spec = { projects: ['full', 'meta', 'gated'], rules };
    await writeFile(file, JSON.stringify({ kind: 'Policy', metadata: { name: 'careful' }, spec }));
    const { code, stderr } = await castellan.cli('apply', '-f', file);
    assert.equal(code, 0, stderr);
  });

  /** Rows about calls of a token, without what is of the moment. */
  const rowsOf = (token: string): Loose[] => {
    const database = new DatabaseSync(path.join(castellan.dataDir, 'castellan.db'), { readOnly: true });
    try {
      const rows = database
        .prepare("select * from audit_events where event like 'tool.%' order by seq")
        .all();
      return rows
        .filter((row) => JSON.stringify(row).includes(token))
        .map((row) => {
          const detail = JSON.parse(String(row.detail ?? '{}'));
          delete detail.approval;
          const { event, outcome, actor, server, tool, surface, digest } = row;
          assert.ok(digest, 'arguments are known by their digest');
          return {
            event,
            outcome,
            actor,
            server,
            tool,
            surface,
            digest,
            announced: row.intent !== null,
            detail,
          };
        });
    } finally {
      database.close();
    }
  };

  const CALLS: readonly (readonly [string, object])[] = [
    ['slack__list_channels', { is_private: true }],
    ['slack__create_channel', { name: 'x' }],
    ['stripe__refund_payment', { payment_id: 'p' }],
    ['slack__nothing', {}],
    ['slack__post_message', { channel: 'c', text: 'same for both' }],
  ];

  test('are those of the call itself: the same answers and the same rows, direct or through the mcp tool', async () => {
    const [direct, through] = await Promise.all([newAgent(castellan, 'meta'), newAgent(castellan, 'meta')]);
    const seen: Loose[][] = [[], []];
    for (const [name, args] of CALLS) {
      seen[0]!.push(await direct.call(name, args));
      seen[1]!.push(await through.call('mcp', { action: 'call', tool: name, arguments: args }));
    }
    const plain = (answers: Loose[]) =>
      JSON.parse(
        JSON.stringify(answers, (key, value) =>
          ['id', 'approvalId', 'url', 'expiresAt', 'text'].includes(key) ? undefined : value,
        ),
      );
    assert.deepEqual(plain(seen[1]!), plain(seen[0]!));
    assert.equal(errorIn(seen[1]![2]).code, 'POLICY_DENIED');
    assert.equal(seen[1]![3].error.data.code, 'UNKNOWN_TOOL');
    assert.equal(errorIn(seen[1]![4]).code, 'APPROVAL_REQUIRED');
    await eventually('both have their rows', () => {
      const [one, other] = [rowsOf(direct.tokenName), rowsOf(through.tokenName)];
      return one.length === 6 && other.length === 6;
    });
    const [one, other] = [rowsOf(direct.tokenName), rowsOf(through.tokenName)];
    assert.deepEqual(other, one);
    assert.deepEqual(
      one.map(({ event, tool }) => `${event} ${tool}`),
      [
        'tool.call slack__list_channels',
        'tool.intent slack__create_channel',
        'tool.call slack__create_channel',
        'tool.call stripe__refund_payment',
        'tool.call slack__nothing',
        'tool.call slack__post_message',
      ],
    );
  });

  test('a held call is the same call, whichever way it is asked for: approved once, made once', async () => {
    for (const exposure of ['meta', 'gated']) {
      const agent = await newAgent(castellan, exposure);
      const args = { channel: 'general', text: `from ${exposure}` };
      const wrapped = { action: 'call', tool: 'slack__post_message', arguments: args };
      const first = await agent.call('mcp', wrapped);
      const { approvalId } = errorIn(first);
      assert.equal(errorIn(await agent.call('slack__post_message', args)).approvalId, approvalId);
      assert.equal((await decide(castellan, approvalId, 'approve')).status, 200);
      assert.equal(await endOf(castellan, approvalId), 'succeeded');
      const made = () => upstream.calls.filter((call) => call.arguments?.text === args.text).length;
      const { result } = await agent.call('mcp', wrapped);
      assert.equal(textOf(result), 'slack did post_message');
      assert.equal(result?._meta['castellan/approval'].approvalId, approvalId);
      assert.equal(made(), 1);
    }
  });

  test('what the caller may not run is found, described, listed and called by nobody', async () => {
    const all = { project: 'gated', name: 'few-rights', rbac: 'empty', surfaces: ['consumer'] };
    const binds = ['slack__*', 'github__search_*'].map((name) => ({ role: 'run', resource: 'tools', name }));
    const { token } = await administrate(castellan, 'POST', '/mcptokens', { ...all, binds });
    const agent = new Agent(`${castellan.url}/projects/gated/mcp`, token);
    const data = async (name: string, args: object) => dataOf((await agent.call(name, args)).result);
    const listed = await data('mcp', { action: 'list_tools', limit: 100 });
    const mine = (name: string) => name.startsWith('slack__') || name.startsWith('github__search_');
    assert.equal(listed.total, 21);
    assert.ok(listed.tools.every((one: Loose) => mine(one.name)));
    const servers = await data('mcp', { action: 'list_servers' });
    assert.deepEqual(
      servers.servers.map((one: Loose) => one.name),
      ['github', 'slack'],
    );
    const found = await data('begin_session', { task: 'Merge the pull request and refund a payment' });
    assert.ok(found.tools.every((one: Loose) => mine(one.name)));
    for (const tool of ['github__merge_pull_request', 'stripe__refund_payment']) {
      assert.equal(errorIn(await agent.call('mcp', { action: 'describe_tool', tool })).code, 'NOT_FOUND');
      const { error } = await agent.call('mcp', { action: 'call', tool });
      assert.equal(error?.data.code, 'UNKNOWN_TOOL');
    }
    const { result } = await agent.call('mcp', { action: 'call', tool: 'slack__list_users' });
    assert.equal(textOf(result), 'slack did list_users');
  });

  test('a frozen project answers none of it', async () => {
    const agent = await newAgent(castellan, 'meta');
    assert.equal((await castellan.cli('freeze', '-p', 'meta')).code, 0);
    try {
      for (const args of [{ action: 'help' }, { action: 'call', tool: 'slack__list_users' }])
        assert.equal(errorIn(await agent.call('mcp', args)).code, 'FROZEN');
    } finally {
      assert.equal((await castellan.cli('unfreeze', '-p', 'meta')).code, 0);
    }
  });
});
