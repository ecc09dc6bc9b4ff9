import assert from 'node:assert/strict';
import path from 'node:path';
import { after, before, describe, it } from 'node:test';
import { type Agent, administrate, Events, type Loose, newAgent, writeConfig } from '../support/agent.ts';
import { temporaryFolder } from '../support/databases.ts';
import { decide, endOf, errorIn, held, holdingPolicy } from '../support/held-calls.ts';
import { OracleUpstream } from '../support/oracle-upstream.ts';
import { eventually } from '../support/processes.ts';
import { startCastellan, type TestCastellan } from '../support/running-castellan.ts';

const ACCEPTS = { accept: 'application/json, text/event-stream' };
const PAGES = { elicitation: { url: {} } };
const PATIENT_MS = 20_000;

let castellan: TestCastellan;
let oracle: OracleUpstream;
let old: OracleUpstream;
let agent: Agent;

before(async () => {
  oracle = await OracleUpstream.start('modern', ['echo', 'slow', 'plain']);
  old = await OracleUpstream.start('legacy', ['slow']);
  const config = await writeConfig(
    path.join(await temporaryFolder(), 'castellan.json'),
    { x: { url: oracle.url }, old: { url: old.url } },
    { demo: { servers: ['x', 'old'] } },
  );
  castellan = await startCastellan(['--config', config]);
  agent = await newAgent(castellan, 'demo');
  const policy = holdingPolicy(['x__echo']);
  const patient = holdingPolicy(['x__slow', 'old__slow'], { holdMs: PATIENT_MS });
  await administrate(castellan, 'PUT', '/policies/humans-first', policy);
  await administrate(castellan, 'PUT', '/policies/patient', { ...patient, metadata: { name: 'patient' } });
});
after(async () => {
  await castellan?.[Symbol.asyncDispose]();
  await oracle?.[Symbol.asyncDispose]();
  await old?.[Symbol.asyncDispose]();
});

let serial = 0;
const unique = () => {
  serial += 1;
  return { text: `call ${serial}` };
};
const callsOf = (args: object) =>
  oracle.calls.filter((call) => JSON.stringify(call.arguments) === JSON.stringify(args)).length;

/** A call of 2026-07-28 by a client that opens pages. */
async function modernCall(name: string, args: object, more: object = {}): Promise<Loose> {
  const { body, headers } = agent.modern('tools/call', { name, arguments: args, ...more });
  const meta = body.params._meta as Loose;
  meta['io.modelcontextprotocol/clientCapabilities'] = PAGES;
  const response = await agent.send(body, { headers });
  if (!response.headers.get('content-type')?.includes('event-stream')) return response.json();
  const events = new Events(response);
  await events.ended;
  return events.messages.at(-1);
}

/** A session of 2025-11-25 with these capabilities. */
async function session(capabilities: object): Promise<Record<string, string>> {
  const clientInfo = { name: 'test', version: '1' };
  const params = { protocolVersion: '2025-11-25', capabilities, clientInfo };
  const opened = await agent.send({ jsonrpc: '2.0', id: 0, method: 'initialize', params });
  await opened.text();
  return { ...ACCEPTS, 'mcp-session-id': opened.headers.get('mcp-session-id') ?? '' };
}

const waiting = async (args: object): Promise<string> => {
  let id = '';
  await eventually('the call is held', async () => {
    const { items } = await administrate(castellan, 'GET', '/approvals?state=pending');
    id = items.find((one: Loose) => JSON.stringify(one.arguments) === JSON.stringify(args))?.id ?? '';
    return id !== '';
  });
  return id;
};

describe('a client of 2026-07-28 that opens pages', () => {
  it('is sent to the page, and gets the outcome when it comes back', async () => {
    const args = unique();
    const { result: asked } = await modernCall('x__slow', args);
    assert.equal(asked.resultType, 'input_required');
    const { method, params } = asked.inputRequests.approval;
    assert.deepEqual([method, params.mode], ['elicitation/create', 'url']);
    const id = new URL(params.url).pathname.replace('/approvals/', '');
    assert.equal(callsOf(args), 0);
    const { requestState } = asked;
    const back = modernCall('x__slow', args, {
      requestState,
      inputResponses: { approval: { action: 'accept' } },
    });
    assert.equal((await decide(castellan, id, 'approve')).answer.state, 'succeeded');
    const { result } = await back;
    assert.equal(result.content[0].text, JSON.stringify(args));
    assert.equal(result._meta['castellan/approval'].approvalId, id);
    assert.equal(callsOf(args), 1);
  });

  it('is not asked twice, and told where it is decided when its user does not want to look', async () => {
    const args = unique();
    for (const action of ['accept', 'decline', 'cancel']) {
      const { result: asked } = await modernCall('x__echo', args);
      const { requestState } = asked;
      const again = await modernCall('x__echo', args, {
        requestState,
        inputResponses: { approval: { action } },
      });
      assert.equal(errorIn(again)?.code, 'APPROVAL_REQUIRED', action);
    }
  });

  it('cannot carry what it was given over to another call', async () => {
    const [args, others] = [unique(), unique()];
    const { result: asked } = await modernCall('x__echo', args);
    const { requestState } = asked;
    const answer = { requestState, inputResponses: { approval: { action: 'accept' } } };
    for (const [name, given] of [
      ['x__echo', others],
      ['x__slow', args],
    ] as const) {
      const { error } = await modernCall(name, given, answer);
      assert.match(error.message, /requestState/);
    }
    const forged = await modernCall('x__echo', args, { ...answer, requestState: `${requestState}A` });
    assert.match(forged.error.message, /requestState/);
    assert.equal(callsOf(args) + callsOf(others), 0);
  });
});

describe('a client of 2025-11-25', () => {
  it('that opens pages is asked by a pushed request', async () => {
    const args = unique();
    const headers = await session(PAGES);
    const call = {
      jsonrpc: '2.0',
      id: 1,
      method: 'tools/call',
      params: { name: 'x__slow', arguments: args },
    };
    const events = new Events(await agent.send(call, { headers }));
    const pushed = () => events.messages.find((one) => one.method === 'elicitation/create');
    await eventually('a question', () => pushed() !== undefined);
    const url = new URL(pushed()?.params?.url);
    await agent.send({ jsonrpc: '2.0', id: pushed()?.id, result: { action: 'accept' } }, { headers });
    await decide(castellan, url.pathname.replace('/approvals/', ''), 'approve');
    await events.ended;
    assert.equal(events.messages.at(-1)?.result?.content[0].text, JSON.stringify(args));
    assert.equal(callsOf(args), 1);
  });

  it('that does not is kept waiting with progress, and gets the outcome', async () => {
    const args = unique();
    const headers = await session({});
    const params = { name: 'x__slow', arguments: args, _meta: { progressToken: 'p' } };
    const call = { jsonrpc: '2.0', id: 1, method: 'tools/call', params };
    const events = new Events(await agent.send(call, { headers }));
    await eventually('progress', () => events.messages.some((one) => one.params?.progressToken === 'p'));
    // Whoever waits is in nobody's way.
    const other = await agent.ask('tools/call', { name: 'x__plain', arguments: args }, headers);
    assert.equal(other.result?.isError, undefined);
    await decide(castellan, await waiting(args), 'approve');
    await events.ended;
    const { result } = events.messages.at(-1)!;
    assert.equal(result?.content[0].text, JSON.stringify(args));
    assert.equal(result?._meta['castellan/approval'].replayed, false);
  });

  it('makes the call of a server that keeps state for its session itself, as soon as it may', async () => {
    const args = unique();
    const headers = await session({});
    const call = {
      jsonrpc: '2.0',
      id: 1,
      method: 'tools/call',
      params: { name: 'old__slow', arguments: args },
    };
    const events = new Events(await agent.send(call, { headers }));
    const id = await waiting(args);
    assert.equal(old.calls.length, 0);
    assert.equal((await decide(castellan, id, 'approve')).status, 200);
    await events.ended;
    assert.equal(events.messages.at(-1)?.result?.content[0].text, JSON.stringify(args));
    const again = await agent.ask('tools/call', call.params, headers);
    assert.equal(again.result?._meta['castellan/approval'].approvalId, id);
    assert.equal(await endOf(castellan, id), 'succeeded');
    assert.equal(old.calls.length, 1);
  });

  it('that leaves loses nothing', async () => {
    const args = unique();
    const gone = new AbortController();
    const params = { name: 'x__slow', arguments: args };
    const call = agent.send({ jsonrpc: '2.0', id: 1, method: 'tools/call', params }, { signal: gone.signal });
    const id = await waiting(args);
    gone.abort();
    await call.catch(() => undefined);
    assert.equal((await decide(castellan, id, 'approve')).answer.state, 'succeeded');
    const again: Loose = await agent.call('x__slow', args);
    assert.equal(again.result._meta['castellan/approval'].approvalId, id);
    assert.equal(callsOf(args), 1);
  });

  it('that does not wait is answered at once', async () => {
    const id = await held(agent, 'x__echo', unique());
    await decide(castellan, id, 'reject');
    assert.equal(await endOf(castellan, id), 'rejected');
  });
});
