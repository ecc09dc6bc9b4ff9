import assert from 'node:assert/strict';
import type { ServerResponse } from 'node:http';
import { describe, test } from 'node:test';
import { failure, faultOf, MAX_BYTES, result } from '../../test/support/http-rig.ts';
import { eventually } from '../../test/support/processes.ts';
import { idOf, ScriptedUpstream, type Seen, startSse } from '../../test/support/scripted-upstream.ts';
import { ServerClient } from '../net/server-client.ts';
import type { JsonRpcMessage } from '../protocol/jsonrpc.ts';
import { SseTransport } from './sse-transport.ts';
import { UpstreamFault } from './transport.ts';

/** An HTTP+SSE server: `post` sees every POST together with the stream to answer on. */
class SseRig implements AsyncDisposable {
  readonly client = new ServerClient();
  readonly messages: JsonRpcMessage[] = [];
  readonly closed: UpstreamFault[] = [];
  readonly upstream: ScriptedUpstream;
  readonly transport: SseTransport;
  stream!: ServerResponse;

  private constructor(upstream: ScriptedUpstream) {
    this.upstream = upstream;
    this.transport = new SseTransport(
      { url: upstream.url, headers: { authorization: 'Bearer up' }, client: this.client, serverName: 'x' },
      {
        onMessage: (message) => void this.messages.push(message),
        onClosed: (fault) => void this.closed.push(fault),
      },
    );
  }

  static async start(
    post: (seen: Seen, response: ServerResponse, stream: ServerResponse) => void,
    endpoint: string | undefined = '/message?sessionId=1',
  ): Promise<SseRig> {
    const rig: SseRig = new SseRig(
      await ScriptedUpstream.start((seen, response) => {
        if (seen.method !== 'GET') return post(seen, response, rig.stream);
        rig.stream = response;
        startSse(response);
        if (endpoint) response.write(`event: endpoint\ndata: ${endpoint}\n\n`);
      }),
    );
    return rig;
  }

  exchange(id = 1, maxBytes = MAX_BYTES) {
    return this.transport.exchange({ jsonrpc: '2.0', id, method: 'tools/call' }, { maxBytes });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.transport.close();
    await this.client[Symbol.asyncDispose]();
    await this.upstream[Symbol.asyncDispose]();
  }
}

const accepted = (response: ServerResponse) => response.writeHead(202).end('Accepted');
const event = (message: unknown) => `event: message\ndata: ${JSON.stringify(message)}\n\n`;

describe('HTTP+SSE transport', () => {
  test('posts to the endpoint it was told and takes answers from the stream, in any order', async () => {
    await using it = await SseRig.start((seen, response, stream) => {
      accepted(response);
      if (idOf(seen) === 2)
        stream.write(event(result(7)) + event(result(2)) + event(result(1)) + event(result(2)));
    });
    await it.transport.open(5_000);
    await it.transport.open(5_000);
    const [first, second] = [it.exchange(1), it.exchange(2)];
    assert.equal((await second.answer).written?.text, JSON.stringify(result(2).result));
    assert.deepEqual((await first.answer).message, result(1));
    assert.equal(it.upstream.requests.filter(({ method }) => method === 'GET').length, 1);
    for (const { url, method, headers } of it.upstream.requests) {
      assert.equal(headers.authorization, 'Bearer up');
      assert.equal(url, method === 'GET' ? '/mcp?key=1' : '/message?sessionId=1');
    }
  });

  test('everything but answers goes to the transport', async () => {
    const question = { jsonrpc: '2.0', id: 1, method: 'ping' };
    await using it = await SseRig.start((seen, response, stream) => {
      accepted(response);
      if (idOf(seen) === 1)
        stream.write(`data: {"garbage"\n\nevent: x\n${event(question)}${event(result(1))}`);
    });
    await it.transport.open(5_000);
    await it.exchange().answer;
    assert.deepEqual(it.messages, [question]);
    await it.transport.send({ jsonrpc: '2.0', id: 9, result: {} });
    assert.deepEqual(JSON.parse(it.upstream.requests.at(-1)!.body), result(9));
  });

  for (const endpoint of ['http://example.com/message', '//example.com/message', 'http://']) {
    test(`an endpoint elsewhere (${endpoint}) is refused: our headers would go there`, async () => {
      await using it = await SseRig.start(() => {}, endpoint);
      await faultOf(it.transport.open(5_000), 'protocol');
      assert.equal(it.closed.length, 1);
      await faultOf(it.exchange().answer, 'protocol');
    });
  }

  test('an endpoint that never comes is waited for until the deadline', async () => {
    await using it = await SseRig.start(() => {}, '');
    await faultOf(it.exchange().answer, 'unreachable');
    await faultOf(it.transport.open(30), 'timeout');
    await eventually('the stream is closed', () => it.stream.closed);
  });

  test('a GET that is no stream says what it is', async () => {
    await using it = await SseRig.start(() => {});
    it.upstream.script = (_seen, response) => void response.writeHead(404).end();
    assert.equal((await faultOf(it.transport.open(5_000), 'http')).status, 404);
  });

  test('a refused POST fails its own call alone', async () => {
    await using it = await SseRig.start((seen, response, stream) => {
      if (idOf(seen) === 1) response.writeHead(500).end();
      else if (idOf(seen) === 2) response.writeHead(404).end();
      else {
        accepted(response);
        stream.write(event(failure(3, -32602)));
      }
    });
    await it.transport.open(5_000);
    assert.equal((await faultOf(it.exchange(1).answer, 'http')).status, 500);
    await faultOf(it.exchange(2).answer, 'session_lost');
    assert.deepEqual((await it.exchange(3).answer).message, failure(3, -32602));
  });

  test('an abandoned call leaves the stream and the others alone', async () => {
    await using it = await SseRig.start((seen, response, stream) => {
      if (idOf(seen) === 1) return;
      accepted(response);
      stream.write(event(result(1)) + event(result(2)));
    });
    await it.transport.open(5_000);
    const exchange = it.exchange(1);
    exchange.abandon(new UpstreamFault('timeout', 'late'));
    await faultOf(exchange.answer, 'timeout');
    assert.deepEqual((await it.exchange(2).answer).message, result(2));
  });

  test('the end of the stream ends every call, and the transport, once', async () => {
    await using it = await SseRig.start((_seen, response) => accepted(response));
    await it.transport.open(5_000);
    const calls = [it.exchange(1), it.exchange(2)];
    await eventually('both were posted', () => it.upstream.requests.length === 3);
    it.stream.end();
    for (const call of calls) await faultOf(call.answer, 'unreachable');
    await it.transport.close();
    assert.equal(it.closed.length, 1);
    await faultOf(it.transport.send({ jsonrpc: '2.0', method: 'notifications/x' }), 'unreachable');
  });

  test('an answer over its cap fails its call, one over every cap the transport', async () => {
    await using it = await SseRig.start((seen, response, stream) => {
      accepted(response);
      stream.write(event(result(idOf(seen), { text: 'x'.repeat(2_000) })));
      if (idOf(seen) === 2) stream.write(`data: ${'x'.repeat(20 * MAX_BYTES)}`);
    });
    await it.transport.open(5_000);
    await faultOf(it.exchange(1, 1_000).answer, 'too_large');
    assert.equal(it.closed.length, 0);
    it.exchange(2).answer.catch(() => {});
    await eventually('the transport is closed', () => it.closed.length === 1);
    assert.deepEqual(
      it.closed.map(({ kind }) => kind),
      ['too_large'],
    );
  });
});
