import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer, type IncomingMessage, request, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { after, before, describe, test } from 'node:test';
import { parseEventId, type ResumableStream } from './resumable-stream.ts';
import { ResumableStreams, type ResumeLimits } from './resumable-streams.ts';

const LIMITS: ResumeLimits = {
  perSession: { streams: 3, kept: 1_000 },
  overall: { streams: 5, kept: 1_500 },
  awayMs: 60_000,
  deliveredMs: 30_000,
  missedMs: 300_000,
};
const A = { session: 'session:a', tokenId: 'a' };
const B = { session: 'session:b', tokenId: 'b' };

/** One connection as both ends see it. */
class Connection {
  text = '';
  readonly res: ServerResponse;
  private readonly incoming: IncomingMessage;

  constructor(res: ServerResponse, incoming: IncomingMessage) {
    this.res = res;
    this.incoming = incoming;
    incoming.on('data', (chunk) => {
      this.text += chunk;
    });
    incoming.on('error', () => undefined);
  }

  /** Ids and data of the events so far; of one without data the data is empty. */
  get events(): [id: string, data: string][] {
    return [...this.text.matchAll(/^id: (\S+)\n(?:event: message\n|retry: \d+\n)data: (.*)\n\n/gm)].map(
      ([, id, data]) => [id!, data!],
    );
  }

  async says(...data: string[]): Promise<void> {
    while (this.events.length < data.length) {
      assert.ok(!this.incoming.readableEnded && !this.incoming.destroyed, `it ended after ${this.text}`);
      await once(this.incoming, 'data', { signal: AbortSignal.timeout(5_000) });
    }
    assert.deepEqual(
      this.events.map(([, text]) => text),
      data,
    );
  }

  async lose(): Promise<void> {
    const closed = once(this.res, 'close');
    this.incoming.destroy();
    await closed;
  }

  async end(): Promise<void> {
    if (!this.incoming.readableEnded)
      await once(this.incoming, 'end', { signal: AbortSignal.timeout(5_000) });
  }
}

describe('streams that outlive their connections', () => {
  const arrived: ((res: ServerResponse) => void)[] = [];
  const server = createServer((_, res) => arrived.shift()!(res));

  before(async () => {
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
  });
  after(() => {
    server.closeAllConnections();
    server.close();
  });

  /** A connection on which `begin` starts an event stream. */
  async function connect(begin: (res: ServerResponse) => void): Promise<Connection> {
    const { port } = server.address() as AddressInfo;
    const ours = new Promise<ServerResponse>((resolve) => arrived.push(resolve));
    const sent = request({ port, agent: false }).end();
    const response = once(sent, 'response');
    const res = await ours;
    begin(res);
    res.flushHeaders();
    return new Connection(res, (await response)[0]);
  }

  async function open(
    streams: ResumableStreams,
    owner = A,
    kind: 'call' | 'standing' = 'call',
    primed = true,
  ): Promise<{ stream: ResumableStream; connection: Connection }> {
    let stream: ResumableStream | undefined;
    const connection = await connect((res) => {
      stream = streams.open(kind, owner, res, primed);
    });
    return { stream: stream!, connection };
  }

  async function resume(streams: ResumableStreams, id: string, session = A.session) {
    let verdict: string | undefined;
    const connection = await connect((res) => {
      verdict = streams.resume(id, session, res);
    });
    if (verdict === 'unknown') connection.res.end();
    return { verdict, connection };
  }

  test('what was missed comes once, then the rest, then the end', async () => {
    const streams = new ResumableStreams(LIMITS);
    const { stream, connection } = await open(streams);
    stream.send('1');
    await connection.says('', '1');
    assert.match(connection.text, /^id: \S+\nretry: 1000\ndata: \n\n/);
    const [, [seen]] = connection.events as [unknown, [string, string]];
    await connection.lose();
    stream.send('2');
    const again = await resume(streams, seen);
    assert.equal(again.verdict, 'resumed');
    stream.send('3');
    await again.connection.says('2', '3');
    await again.connection.lose();
    stream.finish('4');
    const [, [last]] = again.connection.events as [unknown, [string, string]];
    const third = await resume(streams, last);
    await third.connection.says('4');
    await third.connection.end();
    const ids = [connection, again.connection, third.connection].flatMap((one) =>
      one.events.map(([id]) => id),
    );
    assert.equal(new Set(ids).size, 5);
  });

  test('a stream that is not primed has ids all the same', async () => {
    const streams = new ResumableStreams(LIMITS);
    const { stream, connection } = await open(streams, A, 'call', false);
    stream.send('1');
    await connection.says('1');
    assert.doesNotMatch(connection.text, /retry/);
    const again = await resume(streams, `${stream.id}-0`);
    await again.connection.says('1');
  });

  test('a new connection takes over from one that only the client knows to be lost', async () => {
    const streams = new ResumableStreams(LIMITS);
    const { stream, connection } = await open(streams);
    let lost = 0;
    stream.onLost(() => {
      lost += 1;
    });
    const closed = once(connection.res, 'close');
    const again = await resume(streams, `${stream.id}-1`);
    await closed;
    stream.send('1');
    await again.connection.says('1');
    streams.sweep(Date.now() + LIMITS.awayMs);
    assert.equal(lost, 0);
  });

  test('other sessions, other streams, made up and future events resume nothing', async () => {
    const streams = new ResumableStreams(LIMITS);
    const { stream, connection } = await open(streams);
    stream.send('secret');
    await connection.lose();
    const other = await open(streams, B);
    for (const [id, session] of [
      [`${stream.id}-1`, B.session],
      [`${other.stream.id}-1`, A.session],
      [`${stream.id}-3`, A.session],
      [`c${'x'.repeat(22)}-1`, A.session],
      [`${stream.id}--1`, A.session],
      ['', A.session],
      ['7', A.session],
    ] as const) {
      const { verdict, connection: refused } = await resume(streams, id, session);
      assert.equal(verdict, 'unknown', id);
      await refused.end();
      assert.equal(refused.text, '');
    }
    assert.equal((await resume(streams, `${stream.id}-1`)).verdict, 'resumed');
  });

  test('who is waited for is given up in time, and may still fetch the answer', async () => {
    const streams = new ResumableStreams(LIMITS);
    const { stream, connection } = await open(streams);
    let lost = 0;
    stream.onLost(() => {
      lost += 1;
    });
    await connection.lose();
    streams.sweep(stream.lostAt! + LIMITS.awayMs - 1);
    assert.equal(lost, 0);
    assert.ok(stream.reachable);
    streams.sweep(stream.lostAt! + LIMITS.awayMs);
    assert.equal(lost, 1);
    assert.ok(!stream.reachable);
    stream.finish('answer');
    streams.sweep(stream.endedAt! + LIMITS.missedMs - 1);
    const { connection: late } = await resume(streams, `${stream.id}-1`);
    await late.says('answer');
  });

  test('an ended stream goes after a time: sooner when all of it went out', async () => {
    const streams = new ResumableStreams(LIMITS);
    const { stream, connection } = await open(streams);
    const missed = await open(streams);
    await missed.connection.lose();
    const closed = once(connection.res, 'close');
    stream.finish('answer');
    missed.stream.finish('answer');
    await closed;
    const now = Date.now();
    streams.sweep(now + LIMITS.deliveredMs);
    assert.equal((await resume(streams, `${stream.id}-1`)).verdict, 'unknown');
    assert.equal(streams.size, 1);
    streams.sweep(now + LIMITS.missedMs);
    assert.equal(streams.size, 0);
  });

  test('a lost standing stream goes after a time, and with the next one of its session', async () => {
    const streams = new ResumableStreams(LIMITS);
    const late = await open(streams, A, 'standing');
    const replaced = await open(streams, B, 'standing');
    let over = 0;
    for (const { stream, connection } of [late, replaced]) {
      stream.onLost(() => {
        over += 1;
      });
      await connection.lose();
    }
    streams.dropLostStanding(B.session);
    assert.equal(over, 1);
    streams.sweep(late.stream.lostAt! + LIMITS.awayMs);
    assert.equal(over, 2);
    assert.equal(streams.size, 0);
  });

  test('session and token take their streams along; a connection goes on to its answer', async () => {
    const streams = new ResumableStreams(LIMITS);
    const { stream, connection } = await open(streams);
    const away = await open(streams);
    await away.connection.lose();
    const other = await open(streams, B);
    let lost = 0;
    away.stream.onLost(() => {
      lost += 1;
    });
    streams.drop({ session: A.session });
    assert.equal(lost, 1);
    assert.equal((await resume(streams, `${stream.id}-1`)).verdict, 'unknown');
    stream.finish('answer');
    await connection.says('', 'answer');
    await connection.end();
    assert.equal(streams.size, 1);
    streams.drop({ tokenId: 'b' });
    assert.equal(streams.size, 0);
    assert.equal((await resume(streams, `${other.stream.id}-1`, B.session)).verdict, 'unknown');
  });

  test('a session keeps so many streams and so much; what has ended goes first', async () => {
    const streams = new ResumableStreams(LIMITS);
    const first = await open(streams);
    const ended = await open(streams);
    ended.stream.finish('x');
    await ended.connection.end();
    const away = await open(streams);
    await away.connection.lose();
    await open(streams);
    assert.equal((await resume(streams, `${ended.stream.id}-1`)).verdict, 'unknown');
    assert.equal(streams.size, 3);
    first.stream.send('y'.repeat(900));
    first.stream.send('z'.repeat(200));
    assert.equal((await resume(streams, `${away.stream.id}-1`)).verdict, 'unknown');
    assert.equal((await resume(streams, `${first.stream.id}-1`)).verdict, 'unknown');
    first.stream.finish('answer');
    await first.connection.end();
    assert.deepEqual(
      first.connection.events.map(([, data]) => data.length),
      [0, 900, 200, 6],
    );
  });

  test('all sessions together keep so many streams', async () => {
    const streams = new ResumableStreams(LIMITS);
    for (let n = 0; n < 12; n += 1) {
      const { stream } = await open(streams, { session: `session:${n}`, tokenId: 't' });
      stream.send('x'.repeat(100));
    }
    assert.equal(streams.size, LIMITS.overall.streams);
  });

  test('of a long stream the last events are kept: who missed more cannot resume', async () => {
    const streams = new ResumableStreams({
      ...LIMITS,
      perSession: LIMITS.overall,
      overall: { streams: 5, kept: 1e9 },
    });
    const { stream, connection } = await open(streams, A);
    await connection.lose();
    for (let n = 2; n < 1_100; n += 1) stream.send('x');
    assert.equal((await resume(streams, `${stream.id}-1`)).verdict, 'unknown');
    const { connection: late } = await resume(streams, `${stream.id}-1098`);
    await late.says('x');
    const big = await open(streams, B);
    await big.connection.lose();
    big.stream.finish('x'.repeat(5_000_000));
    assert.equal((await resume(streams, `${big.stream.id}-1`, B.session)).verdict, 'unknown');
  });
});

test('an event id says what kind of stream it is from, whoever made it', () => {
  assert.equal(parseEventId(`s${'a'.repeat(22)}-12`)?.kind, 'standing');
  assert.equal(parseEventId(`c${'a'.repeat(22)}-12`)?.kind, 'call');
  for (const wrong of ['', '9', `x${'a'.repeat(22)}-1`, `c${'a'.repeat(22)}-1\n`, `c${'a'.repeat(21)}-1`])
    assert.equal(parseEventId(wrong), undefined);
});
