import assert from 'node:assert/strict';
import path from 'node:path';
import { after, before, beforeEach, describe, test } from 'node:test';
import { type Agent, Events, type Loose, newAgent, writeConfig } from '../support/agent.ts';
import { AskingUpstream } from '../support/asking-upstream.ts';
import { temporaryFolder } from '../support/databases.ts';
import { startCastellan, type TestCastellan } from '../support/running-castellan.ts';

const META = 'io.modelcontextprotocol/';
const PAGES = { elicitation: { url: {}, form: {} } };

describe('what a legacy server wants of clients of either era', () => {
  let castellan: TestCastellan;
  let upstream: AskingUpstream;
  let agent: Agent;

  before(async () => {
    upstream = await AskingUpstream.start();
    const file = await writeConfig(
      path.join(await temporaryFolder(), 'castellan.json'),
      {
        own: { url: upstream.url, prefix: 'never', isolation: 'session' },
        common: { url: upstream.url, prefix: 'never', isolation: 'shared' },
      },
      { own: { servers: ['own'] }, common: { servers: ['common'] } },
    );
    castellan = await startCastellan(['--config', file]);
  });
  beforeEach(async () => {
    agent = await newAgent(castellan, 'own');
  });
  after(async () => {
    await castellan?.[Symbol.asyncDispose]();
    await upstream?.[Symbol.asyncDispose]();
  });

  async function session(of: Agent, revision: string, capabilities: object): Promise<object> {
    const clientInfo = { name: 'agent', version: '1' };
    const params = { protocolVersion: revision, capabilities, clientInfo };
    const opened = await of.send({ jsonrpc: '2.0', id: 0, method: 'initialize', params });
    await opened.text();
    return { 'mcp-session-id': opened.headers.get('mcp-session-id')! };
  }

  /** All messages of a modern call's answer, the last one being the answer, and its HTTP status. */
  async function modern(
    params: Record<string, unknown>,
    capabilities: object,
    meta: object = {},
  ): Promise<{ status: number; messages: Loose[] }> {
    const { body, headers } = agent.modern('tools/call', { arguments: {}, ...params });
    Object.assign(body.params._meta, { [`${META}clientCapabilities`]: capabilities, ...meta });
    const response = await agent.send(body, { headers });
    const text = await response.text();
    const lines = text.startsWith('{')
      ? [text]
      : [...text.matchAll(/^data: (\{.*)$/gm)].map((one) => one[1]!);
    return { status: response.status, messages: lines.map((line) => JSON.parse(line)) };
  }

  test('a page that has to be opened first: a modern client is asked and its retry runs', async () => {
    const asked = (await modern({ name: 'page' }, PAGES)).messages.at(-1).result;
    assert.equal(asked.resultType, 'input_required');
    assert.deepEqual(asked.inputRequests, {
      'page-1': {
        method: 'elicitation/create',
        params: { mode: 'url', url: 'https://pages.example/el-1', message: 'Open it' },
      },
    });
    const { requestState } = asked;
    const inputResponses = { 'page-1': { action: 'accept' } };
    const foreign = await modern({ name: 'plain', requestState, inputResponses }, PAGES);
    assert.equal(foreign.messages.at(-1).error.code, -32602);
    const again = await modern({ name: 'page', requestState, inputResponses }, PAGES);
    assert.equal(again.messages.at(-1).result.content[0].text, 'done');
  });

  test('a page that the user did not open is no reason to ask again', async () => {
    const { requestState } = (await modern({ name: 'page' }, PAGES)).messages.at(-1).result;
    const inputResponses = { 'page-1': { action: 'decline' } };
    const { error } = (await modern({ name: 'page', requestState, inputResponses }, PAGES)).messages.at(-1);
    assert.equal(error.code, -32603);
  });

  test('a page that has to be opened first: who cannot be sent there is told so', async () => {
    const { status, messages } = await modern({ name: 'page' }, { elicitation: { form: {} } });
    assert.equal(status, 400);
    assert.equal(messages.at(-1).error.code, -32021);
    assert.deepEqual(messages.at(-1).error.data.requiredCapabilities, { elicitation: { url: {} } });
  });

  for (const [revision, capabilities, code] of [
    ['2025-11-25', PAGES, -32042],
    ['2025-11-25', {}, -32603],
    ['2025-06-18', { elicitation: {} }, -32603],
  ] as const) {
    test(`a page that has to be opened first: ${revision} with ${JSON.stringify(capabilities)} gets ${code}`, async () => {
      const headers = await session(agent, revision, capabilities);
      const { error } = await agent.ask('tools/call', { name: 'page', arguments: {} }, headers);
      assert.equal(error?.code, code);
      const ids = error?.data?.elicitations?.map((one: Loose) => one.elicitationId);
      assert.deepEqual(ids, code === -32042 ? ['el-1'] : undefined);
    });
  }

  test('progress and log after an answer come on the stream of the request that brought it', async () => {
    const meta = (progressToken: string) => ({ progressToken, [`${META}logLevel`]: 'info' });
    const first = await modern({ name: 'steps' }, PAGES, meta('one'));
    const steps = (messages: Loose[]) =>
      messages.slice(0, -1).map(({ params }) => params.data ?? [params.progressToken, params.progress]);
    assert.deepEqual(steps(first.messages), [['one', 1], 'step 1']);
    const { requestState, inputRequests } = first.messages.at(-1).result;
    const [key] = Object.keys(inputRequests);
    const inputResponses = { [key!]: { action: 'accept', content: { name: 'ann' } } };
    const second = await modern({ name: 'steps', requestState, inputResponses }, PAGES, meta('two'));
    assert.deepEqual(steps(second.messages), ['step 1', ['two', 2], 'step 2']);
    assert.equal(second.messages.at(-1).result.content[0].text, 'done');
  });

  test('who comes back without a token and a level hears nothing', async () => {
    const first = await modern({ name: 'steps' }, PAGES, { progressToken: 1, [`${META}logLevel`]: 'info' });
    const { requestState, inputRequests } = first.messages.at(-1).result;
    const inputResponses = {
      [Object.keys(inputRequests)[0]!]: { action: 'accept', content: { name: 'ann' } },
    };
    const second = await modern({ name: 'steps', requestState, inputResponses }, PAGES);
    assert.equal(second.messages.length, 1, JSON.stringify(second.messages));
  });

  test('changed roots are told to the servers that serve this session alone', async () => {
    const roots = { roots: { listChanged: true } };
    const headers = await session(agent, '2025-11-25', roots);
    await agent.ask('tools/call', { name: 'plain', arguments: {} }, headers);
    assert.deepEqual(upstream.capabilities.at(-1), roots);
    const told = () => upstream.notifications.filter(({ method }) => method.endsWith('roots/list_changed'));
    await session(agent, '2025-11-25', roots);
    const changed = { jsonrpc: '2.0', method: 'notifications/roots/list_changed' };
    assert.equal((await agent.send(changed, { headers })).status, 202);
    const answer = await until(() => upstream.answers.find(({ id }) => String(id).startsWith('roots-')));
    // Outside of a call nobody says which roots they are.
    assert.equal((answer.error as Loose).code, -32601);
    assert.equal(told().length, 1);

    const common = await newAgent(castellan, 'common');
    const theirs = await session(common, '2025-11-25', roots);
    await common.ask('tools/call', { name: 'plain', arguments: {} }, theirs);
    assert.deepEqual(upstream.capabilities.at(-1), { roots: {} });
    assert.equal((await common.send(changed, { headers: theirs })).status, 202);
    await common.ask('tools/call', { name: 'plain', arguments: {} }, theirs);
    assert.equal(told().length, 1);
  });

  test('a server that asks as soon as it can is answered', async () => {
    await agent.ask('tools/call', { name: 'plain', arguments: {} }, await session(agent, '2025-11-25', {}));
    await until(() => (upstream.silent.length === 0 ? true : undefined));
  });

  test('the first message of a subscription is its acknowledgement, whatever happens before', async () => {
    const { body, headers } = agent.modern('subscriptions/listen', {
      notifications: { resourceSubscriptions: ['x://fast', 'x://slow'] },
    });
    await modern({ name: 'plain' }, {});
    const controller = new AbortController();
    const heard = new Events(await agent.send(body, { headers, signal: controller.signal }));
    await until(() => (heard.messages.length === 2 ? heard : undefined));
    assert.deepEqual(
      heard.messages.map(({ method }) => method),
      ['notifications/subscriptions/acknowledged', 'notifications/resources/updated'],
    );
    controller.abort();
  });

  test('a call that is cancelled while its client is asked is cancelled on the server too', async () => {
    const headers = await session(agent, '2025-11-25', { elicitation: {} });
    const params = { name: 'steps', arguments: {} };
    const call = { jsonrpc: '2.0', id: 'c', method: 'tools/call', params };
    const accept = { accept: 'text/event-stream, application/json' };
    const heard = new Events(await agent.send(call, { headers: { ...headers, ...accept } }));
    await until(() => heard.messages.find(({ method }) => method === 'elicitation/create'));
    const cancel = { method: 'notifications/cancelled', params: { requestId: 'c' } };
    await agent.send({ jsonrpc: '2.0', ...cancel }, { headers });
    await until(() => upstream.notifications.find(({ method }) => method === cancel.method));
    await heard.ended;
  });

  test('of two streams of one session only one is told', async () => {
    const headers = await session(agent, '2025-11-25', {});
    await agent.ask('tools/call', { name: 'plain', arguments: {} }, headers);
    const controller = new AbortController();
    const get = { method: 'GET', headers: { ...headers, accept: 'text/event-stream' } };
    const open = async () => new Events(await agent.send(undefined, { ...get, signal: controller.signal }));
    const streams = [await open(), await open()];
    await agent.ask('resources/subscribe', { uri: 'x://fast' }, headers);
    const updates = () => streams.flatMap(({ messages }) => messages).filter(({ params }) => params?.uri);
    for (const round of [1, 2, 3]) {
      await agent.ask('resources/subscribe', { uri: 'x://slow' }, headers);
      await until(() => (updates().length >= round ? true : undefined));
      assert.equal(updates().length, round);
      await agent.ask('resources/unsubscribe', { uri: 'x://slow' }, headers);
    }
    controller.abort();
  });
});

async function until<T>(look: () => T | undefined): Promise<T> {
  const deadline = Date.now() + 10_000;
  for (;;) {
    const found = look();
    if (found !== undefined) return found;
    assert.ok(Date.now() < deadline, 'it did not happen in time');
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}
