import assert from 'node:assert/strict';
import { writeFile } from 'node:fs/promises';
import path from 'node:path';
import { after, before, describe, it } from 'node:test';
import { BUILTIN_TOOLSETS } from '../../src/resources/builtin-toolsets.ts';
import { Agent, administrate, Events, type Loose } from '../support/agent.ts';
import { temporaryFolder } from '../support/databases.ts';
import { MenuUpstream } from '../support/menu-upstream.ts';
import { eventually } from '../support/processes.ts';
import { startCastellan, type TestCastellan } from '../support/running-castellan.ts';

const TOOLS = BUILTIN_TOOLSETS.get('tickets')!.tools;
const BINDS = [{ role: 'run', resource: 'tools' }];

let castellan: TestCastellan;
let upstream: MenuUpstream;
let caller: Agent;
let handler: Agent;

async function tokenOf(name: string, owner: string, wish: object, project = 'demo'): Promise<string> {
  // Rights of a token end at those of its owner.
  await administrate(castellan, 'PUT', `/users/${owner}`, {
    kind: 'User',
    metadata: { name: owner },
    spec: {},
  });
  const roleBindings = [
    { role: 'admin', resource: 'tools' },
    { role: 'handle', resource: 'tickets' },
  ];
  await administrate(castellan, 'PUT', `/rbac/${name}`, {
    kind: 'Rbac',
    metadata: { name },
    spec: {
      subjects: [{ kind: 'User', name: owner }],
      roleBindings: [...roleBindings, { role: 'create', resource: 'mcptokens' }],
    },
  });
  const made = await castellan.cli(
    'create',
    'mcptoken',
    name,
    '-p',
    project,
    '--as',
    `User:${owner}`,
    '-o',
    'json',
    ...flags(wish),
  );
  assert.equal(made.code, 0, made.stderr);
  return JSON.parse(made.stdout).token;
}

function flags({ binds = BINDS, surfaces = ['operator'] }: Loose): string[] {
  return [
    ...binds.flatMap(({ role, resource, name }: Loose) => [
      '--bind',
      `role:${role},resource:${resource}${name ? `,name:${name}` : ''}`,
    ]),
    ...surfaces.flatMap((surface: string) => ['--surface', surface]),
  ];
}

const operator = (token: string) => new Agent(`${castellan.url}/projects/demo/operator-mcp`, token);

/** The structured result of a call that has to succeed. */
async function done(agent: Agent, tool: string, args: object): Promise<Loose> {
  const { result, error } = await agent.call(tool, args);
  assert.ok(result && result.isError !== true, JSON.stringify(result ?? error));
  assert.equal(typeof result.structuredContent.message, 'string');
  return result.structuredContent.ticket ?? result.structuredContent;
}

/** What a call that is refused says. */
async function refused(agent: Agent, tool: string, args: object): Promise<Loose> {
  const { result, error } = await agent.call(tool, args);
  assert.ok(result?.isError, JSON.stringify(result ?? error));
  assert.equal(result.structuredContent, undefined);
  return { ...result._meta['castellan/error'], text: result.content[0].text };
}

async function person(...args: string[]): Promise<Loose> {
  const { code, stdout, stderr } = await castellan.cli('tickets', ...args, '-o', 'json');
  assert.equal(code, 0, stderr);
  return JSON.parse(stdout);
}

/** The API with a token. */
async function api(token: string | undefined, method: string, to: string, body?: object): Promise<Loose> {
  const response = await fetch(`${castellan.url}/api/v1${to}`, {
    method,
    headers: { authorization: `Bearer ${token}`, 'content-type': 'application/json' },
    ...(body && { body: JSON.stringify(body) }),
  });
  return { status: response.status, ...((await response.json()) as object) };
}

before(async () => {
  upstream = await MenuUpstream.start('modern', {
    capabilities: { tools: {} },
    answers: {
      'tools/list': () => ({
        tools: ['get_ticket', 'other'].map((name) => ({ name, inputSchema: { type: 'object' } })),
      }),
    },
  });
  const config = path.join(await temporaryFolder(), 'castellan.yaml');
  await writeFile(
    config,
    `
kind: Server
metadata: { name: tickets }
spec: { builtin: tickets }
---
kind: Server
metadata: { name: plain }
spec: { url: "${upstream.url}", prefix: never }
---
kind: Project
metadata: { name: demo }
spec: { servers: [plain], operatorServers: [tickets] }
---
kind: Project
metadata: { name: both }
spec: { servers: [], operatorServers: [plain, tickets] }
`,
  );
  castellan = await startCastellan(['--config', config]);
  const handle = { role: 'handle', resource: 'tickets' };
  caller = operator(await tokenOf('caller', 'alice@example.com', {}));
  handler = operator(await tokenOf('handler', 'bob@example.com', { binds: [...BINDS, handle] }));
});
after(async () => {
  await castellan[Symbol.asyncDispose]();
  await upstream[Symbol.asyncDispose]();
});

describe('tickets', () => {
  it('go from two agents and a person through every status, over MCP, the command line and the API', async () => {
    const { id } = await done(caller, 'create_ticket', {
      title: 'Raise the timeout of the login',
      body: 'It takes **40 s**.',
      ticket_type: 'bug',
      priority: 'P1',
      labels: ['login'],
      hold: true,
    });
    const of = { ticket_id: id };
    const ack = { ...of, kind: 'ack', text: 'Seen.' };
    assert.deepEqual((await done(handler, 'add_ticket_comment', ack)).hold, {
      acknowledged: true,
      deferred_until: null,
    });
    const propose = { ...of, text: 'done' };
    for (const [agent, tool, args] of [
      [handler, 'add_ticket_comment', ack],
      [handler, 'handler_respond_ticket', propose],
      [caller, 'add_ticket_comment', { ...of, text: 'Hello?' }],
      [caller, 'user_cancel_ticket', of],
      [caller, 'user_change_ticket_status', { ...of, status: 'in_progress' }],
    ] as const) {
      const no = await refused(agent, tool, args);
      assert.deepEqual([no.code, no.retry], ['ON_HOLD', 'after_approval'], tool);
      assert.match(no.text, /on hold until a human authorizes; wait, do not retry/);
    }
    const agentTries = await api(handler.token, 'POST', `/tickets/${id}/acts`, { act: 'authorize' });
    assert.equal(agentTries.status, 409);
    assert.match(agentTries.error.message, /on hold until a human authorizes; wait, do not retry/);
    await eventually('the audit has it', async () => {
      const denied = await administrate(castellan, 'GET', '/audit?event=api.refused&limit=100');
      return denied.items.some(({ detail }: Loose) => detail.path === `/api/v1/tickets/${id}/acts`);
    });
    const impersonated = await castellan.cli('tickets', 'authorize', id, '--as', 'User:admin');
    assert.notEqual(impersonated.code, 0);

    assert.match(
      (await person('defer', id, '--until', '2027-01-31T08:00:00Z')).hold.deferred_until,
      /^2027-01-31/,
    );
    assert.equal((await person('edit', id, '--priority', 'P0')).priority, 'P0');
    assert.equal((await person('authorize', id, '--text', 'go ahead')).hold, null);

    const worked = await api(handler.token, 'POST', `/tickets/${id}/acts`, { act: 'status', text: 'On it.' });
    assert.deepEqual([worked.status, worked.history.at(-1).provenance], ['in_progress', 'token']);
    const block = { ...of, kind: 'block', text: 'Waiting for the certificate.' };
    assert.equal((await done(handler, 'add_ticket_comment', block)).blocked_reason, block.text);
    assert.equal((await refused(caller, 'handler_respond_ticket', propose)).code, 'NOT_PERMITTED');
    const first = await done(handler, 'handler_respond_ticket', propose);
    assert.deepEqual(first.proposed_resolution, { resolution: 'accepted', text: 'done' });
    assert.equal(
      (await refused(handler, 'user_confirm_resolution', { ...of, accept: true })).code,
      'NOT_PERMITTED',
    );
    const bare = await refused(caller, 'user_confirm_resolution', { ...of, accept: false });
    assert.deepEqual([bare.code, bare.field], ['INVALID_ARGUMENT', 'text']);
    const no = { ...of, accept: false, text: 'Still slow.' };
    assert.equal((await done(caller, 'user_confirm_resolution', no)).status, 'in_progress');
    assert.equal((await done(handler, 'handler_respond_ticket', propose)).status, 'resolution_proposed');
    const resolved = await person('accept', id);
    assert.deepEqual([resolved.status, resolved.resolution], ['resolved', 'accepted']);

    const { history } = await person('get', id);
    assert.deepEqual(
      history.map(({ act, acted_as, provenance, to }: Loose) => `${act} ${acted_as} ${provenance} ${to}`),
      [
        'create caller token on_hold',
        'ack handler token on_hold',
        'defer human session on_hold',
        'edit human session on_hold',
        'authorize human session pending',
        'status handler token in_progress',
        'block handler token blocked',
        'propose handler token resolution_proposed',
        'reject caller token in_progress',
        'propose handler token resolution_proposed',
        'accept human session resolved',
      ],
    );
    const conflict = await refused(caller, 'user_cancel_ticket', of);
    assert.equal(conflict.code, 'CONFLICT');
    assert.match(conflict.text, /you can do: move, followup \(user_change_ticket_status, file_followup\)/);
    const next = await done(caller, 'file_followup', { ...of, title: 'Measure it', body: 'Every hour.' });
    assert.deepEqual(next.links, [{ kind: 'follow_up_of', ticket_id: id }]);

    const audit = await administrate(castellan, 'GET', `/audit?target=Ticket/${id}&limit=100`);
    assert.equal(audit.items.length, history.length + 1, 'one row for each line, the follow-up among them');
    const calls = await administrate(castellan, 'GET', '/audit?event=tool.call&outcome=refused&limit=100');
    const codes = calls.items.map(({ detail }: Loose) => detail.code);
    for (const code of ['ON_HOLD', 'NOT_PERMITTED', 'CONFLICT', 'INVALID_ARGUMENT'])
      assert.ok(codes.includes(code), code);
  });

  it('are the operator surface alone, and share nothing with the other one', async () => {
    const both = await tokenOf('both', 'carol@example.com', { surfaces: ['consumer', 'operator'] });
    const consumer = new Agent(`${castellan.url}/projects/demo/mcp`, both);
    const names = async (agent: Agent) =>
      ((await agent.ask('tools/list')).result!.tools as Loose[]).map(({ name }) => name).sort();
    assert.deepEqual(await names(operator(both)), [...TOOLS].sort());
    assert.deepEqual(await names(consumer), ['get_ticket', 'other']);
    const unknown = await consumer.call('create_ticket', { title: 'x', body: 'x' });
    assert.equal(unknown.error?.data?.code, 'UNKNOWN_TOOL');
    assert.equal((await operator(both).call('other')).error?.data?.code, 'UNKNOWN_TOOL');
    const one = new Agent(`${castellan.url}/projects/demo/mcp`, caller.token);
    assert.equal((await one.send({ jsonrpc: '2.0', id: 1, method: 'tools/list' })).status, 403);
    const status = await castellan.cli('mcp', 'status', '-o', 'json');
    const shown = JSON.parse(status.stdout).items.find(({ name }: Loose) => name === 'tickets');
    assert.deepEqual([shown.transport, shown.state], ['builtin', 'connected']);
  });

  it('keep their names to themselves: a tool of a server beside them is left out, and said so', async () => {
    const token = await tokenOf('crowded', 'dave@example.com', {}, 'both');
    const { result } = await new Agent(`${castellan.url}/projects/both/operator-mcp`, token).ask(
      'tools/list',
    );
    const names = (result!.tools as Loose[]).map(({ name }) => name);
    assert.deepEqual(names.sort(), [...TOOLS, 'other'].sort());
    assert.deepEqual(result?._meta['castellan/degraded'], [
      {
        server: 'plain',
        reason: 'tool get_ticket is left out: the name get_ticket is that of a tool of tickets',
      },
    ]);
    const put = (spec: object) =>
      administrate(castellan, 'PUT', '/projects/new', { kind: 'Project', metadata: { name: 'new' }, spec });
    await assert.rejects(put({ servers: ['tickets'] }), /spec\.servers\[0\].*move it to operatorServers/);
    await assert.rejects(
      put({ operatorServers: ['tickets', 'plain'] }),
      /spec\.operatorServers\[1\]: plain has a tool get_ticket.*tools\.override/,
    );
    const override = { other: { name: 'get_ticket' } };
    const spec = { url: upstream.url, prefix: 'never', tools: { override } };
    await administrate(castellan, 'PUT', '/servers/renamed', {
      kind: 'Server',
      metadata: { name: 'renamed' },
      spec,
    });
    await assert.rejects(put({ operatorServers: ['tickets', 'renamed'] }), /has a tool get_ticket/);
  });

  it('say which argument is wrong, and how a call looks', async () => {
    const { code, field, text } = await refused(caller, 'create_ticket', { title: 'x', bodi: 'y' });
    assert.deepEqual([code, field], ['INVALID_ARGUMENT', 'body']);
    assert.match(
      text,
      /body is missing: add it; bodi unknown key: did you mean body\?.*A call looks like \{"title"/,
    );
    const large = await refused(caller, 'create_ticket', { title: 'x', body: 'x'.repeat(256 * 1024 + 1) });
    assert.match(large.text, /body is larger than 256 KiB: shorten it/);
    const claimed = { title: 'x', body: 'y', actor: 'human' };
    assert.equal((await refused(caller, 'create_ticket', claimed)).field, 'actor');
    const random = { ticket_id: `tkt_${'0'.repeat(22)}` };
    assert.equal((await refused(caller, 'get_ticket', random)).code, 'NOT_FOUND');
  });

  it('are watched by those who may see them, in both eras', async () => {
    const { id } = await done(caller, 'create_ticket', { title: 'Watched', body: 'x' });
    const uri = `ticket://${id}`;
    const read = await handler.ask('resources/read', { uri });
    assert.equal(JSON.parse(read.result?.contents[0].text).id, id);
    const templates = await handler.ask('resources/templates/list');
    assert.equal(templates.result?.resourceTemplates[0].uriTemplate, 'ticket://{id}');

    const listening = new AbortController();
    const wanted = { notifications: { resourceSubscriptions: [uri] } };
    const modern = new Events(await handler.sendModern('subscriptions/listen', wanted, listening.signal));
    const session = await caller.openSession();
    const headers = { ...session, accept: 'text/event-stream' };
    const legacy = new Events(
      await caller.send(undefined, { method: 'GET', headers, signal: listening.signal }),
    );
    await caller.ask('resources/subscribe', { uri }, session);
    const updates = (events: Events) =>
      events.messages.filter(({ method }) => method === 'notifications/resources/updated');
    await eventually('the subscription is acknowledged', () => modern.messages.length > 0);
    await person('note', id, '--text', 'Hello');
    await eventually('the modern client hears of it', () => updates(modern)[0]?.params?.uri === uri);
    await eventually('the legacy client hears of it', () => updates(legacy)[0]?.params?.uri === uri);
    listening.abort();

    const stranger = operator(await tokenOf('stranger', 'eve@example.com', {}));
    const hidden = await stranger.ask('resources/read', { uri });
    assert.match(String(hidden.error?.message), /Resource not found/);
    assert.equal((await refused(stranger, 'get_ticket', { ticket_id: id })).code, 'NOT_FOUND');
    assert.equal((await done(stranger, 'list_tickets', {})).count, 0);
    assert.equal((await api(stranger.token, 'GET', `/tickets/${id}`)).status, 404);
    assert.equal((await api(stranger.token, 'GET', '/tickets')).status, 403);
  });

  it('are a kind that get and describe know, and that nobody applies or deletes', async () => {
    const made = await person('create', 'Of a person', '-p', 'demo', '--body', 'text', '--label', 'a,b');
    const again = ['create', 'Of a person', '-p', 'demo', '--body', 'again', '--idempotency-key', 'k'];
    const links = ['--link', `blocks:${made.id}`, '--link', `related:${made.id}`];
    const linked = await person(...again, ...links);
    assert.deepEqual(linked.links, [
      { kind: 'blocks', ticket_id: made.id },
      { kind: 'related', ticket_id: made.id },
    ]);
    assert.equal((await person(...again, ...links)).id, linked.id, 'made once');
    assert.equal((await castellan.cli('tickets', ...again, '--link', 'blocks')).code, 64);
    const got = await castellan.cli('get', 'tickets', '-p', 'demo', '-o', 'name');
    assert.ok(got.stdout.split('\n').includes(`ticket/${made.id}`), got.stdout);
    const described = await castellan.cli('describe', 'ticket', made.id);
    assert.match(described.stdout, /labels:\n {2}- a\n {2}- b/);
    const table = await castellan.cli('tickets', 'list', '-p', 'demo', '--query', 'person');
    assert.match(table.stdout, /Of a person/);
    assert.equal((await castellan.cli('delete', 'ticket', made.id)).code, 64);
    const help = await castellan.cli('tickets', '--help');
    assert.equal(help.code, 0);
  });
});
