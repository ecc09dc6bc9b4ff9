import assert from 'node:assert/strict';
import { createServer, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { test } from 'node:test';
import { ServerClient } from '../server-client.ts';
import { AuditFeed } from './feed.ts';
import { type Arrival, MAX_ENTRIES } from './model.ts';

const PAGE = 500;

type Answer = (query: URLSearchParams) => { status?: number; body: object } | 'nothing';

/** A feed on a server that answers as the test says, and what arrived by it. */
async function feedOn(answer: Answer, filter = {}) {
  const stack = new AsyncDisposableStack();
  const server = createServer((request, response: ServerResponse) => {
    const given = answer(new URL(request.url ?? '', 'http://castellan').searchParams);
    if (given === 'nothing') return;
    response.writeHead(given.status ?? 200, { 'content-type': 'application/json' });
    response.end(JSON.stringify(given.body));
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  stack.defer(() => void server.close());
  const origin = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  const arrived: Arrival[] = [];
  let told = () => {};
  const feed = await AuditFeed.open({
    connect: () => ServerClient.connect({ server: origin }, { env: { CASTELLAN_TOKEN: 'any' } }, 5_000),
    project: undefined,
    arrive: (arrival) => {
      arrived.push(arrival);
      told();
    },
  });
  await feed.begin(filter);
  const over = new AbortController();
  const followed = feed.follow(over.signal);
  followed.catch(() => {});
  stack.defer(async () => {
    over.abort();
    server.closeAllConnections();
    await followed.catch(() => {});
  });
  const until = async (wanted: (arrival: Arrival) => boolean): Promise<Arrival> => {
    for (;;) {
      const found = arrived.find(wanted);
      if (found) return found;
      await Promise.race([new Promise<void>((resolve) => (told = resolve)), followed]);
    }
  };
  return { feed, arrived, followed, until, [Symbol.asyncDispose]: () => stack.disposeAsync() };
}

const END = { items: [], next: 'end' };

function page(from: number) {
  return Array.from({ length: PAGE }, (_, index) => ({
    id: `c.${from + index}`,
    at: new Date(from + index).toISOString(),
    event: 'tool.call',
    outcome: 'ok',
    actor: 'token',
  }));
}

test('a console that is 5,000 events behind gives up its place, and says so', {
  timeout: 20_000,
}, async () => {
  let given = 0;
  await using rig = await feedOn((query) => {
    if (!query.has('watch')) return { body: { items: [] } };
    const after = query.get('after');
    if (after === null) return { body: given === 0 ? END : { items: [], next: 'new end' } };
    if (after === 'new end') return 'nothing';
    given += PAGE;
    return { body: { items: page(given), next: `${given}` } };
  });
  const { gap } = (await rig.until(({ type }) => type === 'gap')) as Extract<Arrival, { type: 'gap' }>;
  assert.equal(gap.skipped, true);
  assert.match(gap.reason, /more than 5000 events/);
  assert.equal(given, MAX_ENTRIES);
});

test('a place that the server knows no more is given up, and said', { timeout: 20_000 }, async () => {
  let ends = 0;
  await using rig = await feedOn((query) => {
    if (!query.has('watch')) return { body: { items: [] } };
    const after = query.get('after');
    if (after === 'end') return { status: 400, body: { error: { message: 'after: is no place' } } };
    if (after !== null) return 'nothing';
    ends += 1;
    return { body: ends === 1 ? END : { items: [], next: 'new end' } };
  });
  await rig.until((arrival) => arrival.type === 'link' && arrival.link.state === 'live');
  const gaps = rig.arrived.flatMap((arrival) => (arrival.type === 'gap' ? [arrival.gap.skipped] : []));
  assert.deepEqual(gaps, [true, false]);
});

test('being refused ends it', { timeout: 20_000 }, async () => {
  await using rig = await feedOn((query) => {
    if (query.get('after') === null) return { body: END };
    return { status: 403, body: { error: { message: 'you lack view on audit' } } };
  });
  await assert.rejects(rig.followed, { exitCode: 77, message: 'you lack view on audit' });
});

test('what is no event is left out, and a refused filter is told', { timeout: 20_000 }, async () => {
  const odd = [null, 3, { id: 'x' }, { ...page(1)[0], token: { toString: 'x' } }];
  await using rig = await feedOn((query) => {
    if (query.get('after') !== null) return 'nothing';
    if (query.has('project')) return { status: 403, body: { error: { message: 'not yours' } } };
    return { body: { items: [...odd, page(7)[0]], next: 'end' } };
  });
  const first = (await rig.until(({ type }) => type === 'page')) as Extract<Arrival, { type: 'page' }>;
  assert.deepEqual(
    first.events.map(({ id }) => id),
    ['c.7'],
  );
  const filter = { project: 'other' };
  await rig.feed.load(filter);
  assert.deepEqual(rig.arrived.at(-1), { type: 'failed', filter, reason: 'not yours' });
});
