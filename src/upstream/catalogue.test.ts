import assert from 'node:assert/strict';
import { mock, test } from 'node:test';
import { Catalogue } from './catalogue.ts';
import type { Listing } from './listing.ts';
import { UpstreamFault } from './transport.ts';

const FAR = Number.MAX_SAFE_INTEGER;

function listing(ttlMs: number | undefined, capabilities = {}, era: 'legacy' | 'modern' = 'modern'): Listing {
  const peer = {
    era,
    revision: 'any',
    capabilities,
    serverInfo: undefined,
    instructions: undefined,
    stateful: false,
  };
  return {
    tools: [],
    resources: [],
    templates: [],
    prompts: [],
    dropped: [],
    peer,
    ttlMs,
    signature: 'same',
  };
}

/** A catalogue on a clock that stands still until it is moved. */
async function withClock(
  load: () => Listing,
  work: (catalogue: Catalogue, pass: (ms: number) => Promise<void>) => Promise<void>,
) {
  mock.timers.enable({ apis: ['setTimeout', 'Date'], now: 1_000_000 });
  const catalogue = new Catalogue({ load: async () => load(), onChange: () => undefined });
  try {
    await work(catalogue, async (ms) => {
      mock.timers.tick(ms);
      // A load that a timer started has no other wait in it than these turns.
      for (let turn = 0; turn < 5; turn += 1) await Promise.resolve();
    });
  } finally {
    catalogue.close();
    mock.timers.reset();
  }
}

test('a list is fresh for what is left of the time that its server gave it, and is then read again', async () => {
  let loads = 0;
  await withClock(
    () => {
      loads += 1;
      return listing(20_000);
    },
    async (catalogue, pass) => {
      assert.equal(catalogue.freshFor(Date.now()), 0, 'nothing is known yet');
      await catalogue.settled(FAR);
      assert.equal(catalogue.freshFor(Date.now()), 20_000);
      await pass(15_000);
      catalogue.peek();
      assert.equal(catalogue.freshFor(Date.now()), 5_000);
      await pass(6_000);
      assert.equal(catalogue.freshFor(Date.now()), 0);
      assert.equal(loads, 1);
      catalogue.peek();
      await pass(0);
      assert.equal(loads, 2);
      assert.equal(catalogue.freshFor(Date.now()), 20_000);
    },
  );
});

test('a list that its server calls stale at once is called so, however seldom it is read', async () => {
  let loads = 0;
  await withClock(
    () => {
      loads += 1;
      return listing(0);
    },
    async (catalogue, pass) => {
      await catalogue.settled(FAR);
      assert.equal(catalogue.freshFor(Date.now()), 0);
      await pass(4_000);
      catalogue.peek();
      await pass(0);
      assert.equal(loads, 1, 'nobody is asked more often than every five seconds');
      await pass(1_000);
      catalogue.peek();
      await pass(0);
      assert.equal(loads, 2);
    },
  );
});

test('a server that promises to tell of every change is read more seldom than one that tells of some', async () => {
  const tells = { tools: { listChanged: true }, prompts: { listChanged: true } };
  await withClock(
    () => listing(undefined, tells, 'legacy'),
    async (catalogue) => {
      await catalogue.settled(FAR);
      assert.equal(catalogue.freshFor(Date.now()), 600_000);
      catalogue.invalidate();
      assert.equal(catalogue.freshFor(Date.now()), 0, 'a notice ends it');
    },
  );
  await withClock(
    () => listing(undefined, { ...tells, resources: {} }, 'legacy'),
    async (catalogue) => {
      await catalogue.settled(FAR);
      assert.equal(catalogue.freshFor(Date.now()), 60_000);
    },
  );
});

test('a server that cannot be had is missing for sure until it is tried again', async () => {
  await withClock(
    () => {
      throw new UpstreamFault('unreachable', 'gone');
    },
    async (catalogue, pass) => {
      await catalogue.settled(FAR);
      assert.equal(catalogue.freshFor(Date.now()), 5_000);
      await pass(4_000);
      assert.equal(catalogue.freshFor(Date.now()), 1_000);
    },
  );
});

test('a failure is told of again when its reason is another one, and not before', async () => {
  let reason = '';
  const told: string[] = [];
  const catalogue = new Catalogue({
    load: async () => {
      throw new UpstreamFault('needs_scope', reason);
    },
    onChange: () => told.push(reason),
  });
  for (const next of ['wants more', 'wants more', 'gives nobody more']) {
    reason = next;
    catalogue.retryNow();
    await catalogue.settled(Date.now() + 1_000);
  }
  catalogue.close();
  assert.deepEqual(told, ['wants more', 'gives nobody more']);
});
