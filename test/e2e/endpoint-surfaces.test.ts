import assert from 'node:assert/strict';
import type { ServerResponse } from 'node:http';
import { after, before, describe, test } from 'node:test';
import { type Loose, type Message, newAgent } from '../support/agent.ts';
import { AWKWARD, EndpointRig, errorOf, LIST, TOOLS } from '../support/endpoint-rig.ts';
import { idOf, ScriptedUpstream, type Seen, sendJson, startSse } from '../support/scripted-upstream.ts';

let rig: EndpointRig;
let odd: ScriptedUpstream;

before(async () => {
  odd = await ScriptedUpstream.start(answerOddly);
  const servers = Object.fromEntries(
    ODD.map((_, at) => [`odd${at}`, { url: `${odd.origin}/${at}`, tools: TOOLS }]),
  );
  const dead = { url: 'http://127.0.0.1:1/mcp' };
  rig = await EndpointRig.start({
    servers: { ...servers, gone: dead, alone: dead },
    projects: {
      half: { servers: ['gone', 'modern'] },
      none: { servers: ['alone'] },
      odd: { servers: Object.keys(servers) },
    },
  });
});
after(async () => {
  await rig[Symbol.asyncDispose]();
  await odd[Symbol.asyncDispose]();
});

const namesIn = (list: Message['result']) => list?.tools.map((tool: Loose) => tool.name);

const listing = (id: unknown) => ({
  jsonrpc: '2.0',
  id,
  result: { resultType: 'complete', tools: [{ name: 'secret_plan', inputSchema: { type: 'object' } }] },
});

/** Ways to answer tools/list that a careless reader would hand on as they are. */
const ODD: ((id: unknown, response: ServerResponse) => void)[] = [
  (id, response) => sendJson(response, listing(id)),
  (id, response) => {
    startSse(response);
    response.write('data: {"jsonrpc":"2.0","method":"notifications/message","params":{"level":"info"}}\n\n');
    response.write('data: {secret_plan\n\n: secret_plan\nsecret_plan: x\n\n');
    response.end(`data: ${JSON.stringify(listing(id))}\n\n`);
  },
  (id, response) => sendJson(response, listing(id), 500),
  (id, response) => sendJson(response, listing(id), 404),
  (id, response) => sendJson(response, listing(id), 200, { 'content-type': 'text/html' }),
  (_, response) => sendJson(response, listing('nobody')),
  (id, response) => sendJson(response, { ...listing(id), error: { code: 1, message: 'both' } }),
  (id, response) => sendJson(response, [listing(id)]),
  (id, response) => sendJson(response, `${JSON.stringify(listing(id))}}`),
  (id, response) => {
    startSse(response);
    response.end(`data: ${JSON.stringify(listing(id))}`);
  },
  (_, response) => {
    response.writeHead(200, { 'content-type': 'application/json', 'content-length': 999 });
    response.write(JSON.stringify(listing('cut')), () => response.destroy());
  },
];

function answerOddly(seen: Seen, response: ServerResponse): void {
  const id = idOf(seen);
  const { method } = JSON.parse(seen.body) as { method: string };
  if (method === 'tools/list') {
    ODD[Number(seen.url.slice(1))]!(id, response);
    return;
  }
  const result = { resultType: 'complete', supportedVersions: ['2026-07-28'], capabilities: { tools: {} } };
  sendJson(response, { jsonrpc: '2.0', id, result });
}

describe('what a surface shows', () => {
  test('unknown, hidden, renamed and other-surface tools are answered alike', async () => {
    const names = [
      'legacy__nothing',
      'legacy__secret_one',
      'legacy__old_name',
      'workshop__echo',
      'echo',
      'absent__echo',
      'gone__echo',
      'legacy__echo ',
      'LEGACY__echo',
      'constructor',
      '__proto__',
      'modern__legacy__echo',
    ];
    const before = rig.forwarded();
    for (const name of names) {
      const asked = [
        rig.agent.send({ jsonrpc: '2.0', id: 3, method: 'tools/call', params: { name, arguments: {} } }),
        rig.agent.sendModern('tools/call', { name, arguments: {} }),
      ];
      for (const response of await Promise.all(asked)) {
        const { status, code, message, data } = await errorOf(response);
        assert.deepEqual(
          { status, code, data },
          { status: 200, code: -32602, data: { code: 'UNKNOWN_TOOL' } },
          name,
        );
        assert.equal(message, `Unknown tool: ${name}`);
      }
    }
    assert.equal(rig.forwarded(), before);
    const { result } = await rig.agent.ask('tools/list');
    const listed = result?.tools.map((tool: Loose) => tool.name);
    assert.ok(
      listed.includes('legacy__new_name') &&
        !listed.some((name: string) => /secret|old_name|workshop/.test(name)),
    );
    for (const name of AWKWARD) assert.ok(listed.includes(`legacy__${name}`), name);
    const operator = await newAgent(rig.castellan, 'p', { surface: 'operator' });
    const theirs = (await operator.ask('tools/list')).result?.tools.map((tool: Loose) => tool.name);
    assert.ok(
      theirs.includes('workshop__echo') && theirs.every((name: string) => name.startsWith('workshop__')),
    );
  });

  test('whatever an upstream answers to tools/list, a hidden tool never shows', async () => {
    const curious = await newAgent(rig.castellan, 'odd');
    for (const response of [await curious.send(LIST), await curious.sendModern('tools/list')]) {
      assert.equal(response.status, 200);
      assert.match(response.headers.get('content-type') ?? '', /^application\/json/);
      const text = await response.text();
      assert.doesNotMatch(text, /secret/);
      const { result } = JSON.parse(text) as Message;
      assert.deepEqual(namesIn(result), ['status']);
      const named = new Set(result?._meta['castellan/degraded'].map((one: Loose) => one.server));
      // The first two are proper answers, of which the filter leaves nothing.
      assert.deepEqual(
        [...named],
        ODD.slice(2).map((_, at) => `odd${at + 2}`),
      );
    }
    for (const at of ODD.keys()) {
      const { error, result } = await curious.call(`odd${at}__secret_plan`);
      assert.ok(error?.data.code === 'UNKNOWN_TOOL' || result?.isError === true);
    }
    assert.ok(odd.requests.every((one) => !one.body.includes('tools/call')));
  });

  test('one dead server: the rest is listed at once, and every list says what is missing and why', async () => {
    const half = await newAgent(rig.castellan, 'half');
    await half.ask('tools/list');
    for (const method of ['tools/list', 'prompts/list', 'resources/list', 'resources/templates/list']) {
      const started = performance.now();
      const { result } = await half.ask(method);
      assert.ok(performance.now() - started < 1_000, `${method} is prompt`);
      const [degraded, ...more] = result!._meta['castellan/degraded'];
      assert.deepEqual([degraded.server, more], ['gone', []]);
      assert.ok(degraded.reason.length > 10);
    }
    const answered = await half.call('modern__echo', { text: 'fine' });
    assert.notEqual(answered.result?.isError, true);
    const refused = await half.call('gone__echo');
    assert.equal(refused.result?._meta['castellan/error'].code, 'UPSTREAM_UNAVAILABLE');

    const none = await newAgent(rig.castellan, 'none');
    const empty = await none.ask('tools/list');
    assert.deepEqual(namesIn(empty.result), ['status']);
    assert.match(empty.result?._meta['castellan/notice'], /reached/);
  });
});
