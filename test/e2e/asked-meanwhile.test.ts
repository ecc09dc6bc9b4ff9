import assert from 'node:assert/strict';
import path from 'node:path';
import { after, before, describe, it } from 'node:test';
import { Agent, administrate, Events, type Loose, writeConfig } from '../support/agent.ts';
import { temporaryFolder } from '../support/databases.ts';
import { MenuUpstream } from '../support/menu-upstream.ts';
import { eventually } from '../support/processes.ts';
import { startCastellan, type TestCastellan } from '../support/running-castellan.ts';

const QUESTION = { method: 'elicitation/create', params: { message: 'Sure?', requestedSchema: {} } };
const asking = (answer: object) => (params: Loose) =>
  params.inputResponses ? answer : { resultType: 'input_required', inputRequests: { sure: QUESTION } };
const CALLS: [string, object][] = [
  ['prompts/get', { name: 'asker__ask' }],
  ['resources/read', { uri: 'asker://one' }],
  ['tools/call', { name: 'asker__ask' }],
];
const ACCEPTS = { accept: 'application/json, text/event-stream' };

let asker: MenuUpstream;
let castellan: TestCastellan;

before(async () => {
  asker = await MenuUpstream.start('modern', {
    capabilities: { tools: {}, prompts: {}, resources: {} },
    answers: {
      'tools/list': () => ({
        tools: ['ask', 'other'].map((name) => ({ name, inputSchema: { type: 'object' } })),
      }),
      'prompts/list': () => ({ prompts: [{ name: 'ask' }] }),
      'resources/list': () => ({ resources: [{ uri: 'asker://one', name: 'one' }] }),
      'resources/templates/list': () => ({ resourceTemplates: [] }),
      'prompts/get': asking({ messages: [] }),
      'resources/read': asking({ contents: [{ uri: 'asker://one', text: 'content' }] }),
      'tools/call': asking({ content: [{ type: 'text', text: 'done' }] }),
    },
  });
  const config = await writeConfig(
    path.join(await temporaryFolder(), 'castellan.json'),
    { asker: { url: asker.url } },
    { demo: { servers: ['asker'] } },
  );
  castellan = await startCastellan(['--config', config]);
});
after(async () => {
  await castellan[Symbol.asyncDispose]();
  await asker[Symbol.asyncDispose]();
});

/** A legacy client with a session, whose call has just come back with a question. */
async function asked(name: string, method: string, params: object) {
  const binds = [{ role: 'run', resource: 'tools', name: 'asker__*' }];
  const wish = { name, project: 'demo', binds };
  const { token } = await administrate(castellan, 'POST', '/mcptokens', wish);
  const agent = new Agent(`${castellan.url}/projects/demo/mcp`, token);
  const clientInfo = { name: 'test', version: '1' };
  const capabilities = { elicitation: {} };
  const hello = { protocolVersion: '2025-11-25', capabilities, clientInfo };
  const opened = await agent.send({ jsonrpc: '2.0', id: 0, method: 'initialize', params: hello });
  await opened.text();
  const headers = { ...ACCEPTS, 'mcp-session-id': opened.headers.get('mcp-session-id') };
  const before = asker.of(method).length;
  const events = new Events(await agent.send({ jsonrpc: '2.0', id: 1, method, params }, { headers }));
  const pushed = () => events.messages.find((one) => one.method === 'elicitation/create');
  await eventually('a question', () => pushed() !== undefined);
  const answer = () =>
    agent.send({ jsonrpc: '2.0', id: pushed()?.id, result: { action: 'accept', content: {} } }, { headers });
  return { events, answer, reached: () => asker.of(method).length - before };
}

describe('a client that is asked meanwhile', () => {
  for (const [method, params] of CALLS) {
    const short = method.replace('/', '-');

    it(`goes on with ${method} once it has answered`, async () => {
      const call = await asked(`whole-${short}`, method, params);
      assert.equal((await call.answer()).status, 202);
      await call.events.ended;
      assert.ok(call.events.messages.at(-1)?.result, JSON.stringify(call.events.messages));
      assert.equal(call.reached(), 2);
    });

    it(`loses ${method} with the right to it`, async () => {
      const name = `less-${short}`;
      const call = await asked(name, method, params);
      const { items } = await administrate(castellan, 'GET', '/rbac');
      const own = items.find(({ spec }: Loose) => spec.description?.includes(`token ${name} `));
      own.spec.roleBindings = [{ role: 'run', resource: 'tools', name: 'asker__other' }];
      await administrate(castellan, 'PUT', `/rbac/${own.metadata.name}`, own);
      assert.equal((await call.answer()).status, 202);
      await call.events.ended;
      assert.match(call.events.messages.at(-1)?.error?.message ?? '', /^Unknown|not found/);
      assert.equal(call.reached(), 1);
    });

    it(`loses ${method} with its token`, async () => {
      const name = `gone-${short}`;
      const call = await asked(name, method, params);
      await administrate(castellan, 'POST', `/mcptokens/${name}/revoke?project=demo`);
      assert.equal(await call.events.ended, false, 'its stream is closed');
      assert.equal((await call.answer()).status, 401);
      // What a lost question sets going is done before this is answered.
      const after = await asked(`after-${short}`, method, params);
      assert.equal(call.reached(), 2, 'the other call, and not this one again');
      await after.answer();
      await after.events.ended;
    });
  }
});
