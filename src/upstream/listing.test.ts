import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { JsonObject } from '../protocol/jsonrpc.ts';
import { readListing } from './listing.ts';
import type { Peer } from './peer.ts';

type Page = { items: JsonObject[]; next?: unknown; ttlMs?: unknown };

const KEYS: Record<string, string> = {
  'tools/list': 'tools',
  'prompts/list': 'prompts',
  'resources/list': 'resources',
  'resources/templates/list': 'resourceTemplates',
};

const tool = (name: string): JsonObject => ({ name, inputSchema: { type: 'object' } });

/** Reads a server that answers each method by a function of the cursor; a method without one has an empty list. */
async function read(pages: Record<string, (cursor: unknown) => Page>) {
  const asked: [string, unknown][] = [];
  const peer: Peer = {
    era: 'modern',
    revision: '2026-07-28',
    capabilities: { tools: {}, prompts: {}, resources: {} },
    serverInfo: undefined,
    instructions: undefined,
    stateful: false,
  };
  const listing = await readListing(peer, true, async (method, params) => {
    asked.push([method, params.cursor]);
    const { items, next, ttlMs } = pages[method]?.(params.cursor) ?? { items: [] };
    return { ok: true, result: { [KEYS[method]!]: items, nextCursor: next, ttlMs } };
  });
  const cursors = (method: string) => asked.filter(([one]) => one === method).map(([, cursor]) => cursor);
  return { listing, cursors, reasons: listing.dropped.map(({ what, reason }) => `${what}: ${reason}`) };
}

test('pages are followed to the end, an empty string being a cursor like any other', async () => {
  const next: Record<string, string> = { start: '', '': 'b', b: 'c' };
  const { listing, cursors } = await read({
    'tools/list': (cursor) => {
      const at = (cursor as string | undefined) ?? 'start';
      return { items: [tool(`t_${at}`)], next: next[at] };
    },
  });
  assert.deepEqual(cursors('tools/list'), [undefined, '', 'b', 'c']);
  assert.deepEqual(
    listing.tools.map(({ name }) => name),
    ['t_start', 't_', 't_b', 't_c'],
  );
  assert.deepEqual(listing.dropped, []);
});

test('a tool whose name no database keeps is left out', async () => {
  const items = [tool('a\0b'), tool('half \ud800'), tool('whole')];
  const { listing, reasons } = await read({ 'tools/list': () => ({ items }) });
  assert.deepEqual(
    listing.tools.map(({ name }) => name),
    ['whole'],
  );
  assert.equal(reasons.length, 2);
  assert.match(String(reasons[0]), /its name holds what is no character/);
});

test('null ends a list as a missing cursor does', async () => {
  const { cursors } = await read({ 'tools/list': () => ({ items: [], next: null }) });
  assert.deepEqual(cursors('tools/list'), [undefined]);
});

test('a server that repeats a cursor is left, and said to be', async () => {
  const { cursors, reasons } = await read({ 'tools/list': () => ({ items: [], next: 'again' }) });
  assert.deepEqual(cursors('tools/list'), [undefined, 'again']);
  assert.deepEqual(reasons, ['tools/list: the server repeats a cursor; the rest is left out']);
});

test('a list without an end is cut by pages, by entries and by characters', async () => {
  let page = 0;
  const endless = await read({ 'tools/list': () => ({ items: [], next: `${page++}` }) });
  assert.equal(endless.cursors('tools/list').length, 200);
  assert.match(endless.reasons[0]!, /more than 200 pages/);

  const entries = (from: number) => Array.from({ length: 4_000 }, (_, at) => tool(`t${from + at}`));
  const many = await read({
    'tools/list': (cursor) => {
      const from = Number(cursor ?? 0);
      return { items: entries(from), next: `${from + 4_000}` };
    },
  });
  assert.equal(many.listing.tools.length, 10_000);
  assert.match(many.reasons[0]!, /more than 10000 entries/);

  const long = { ...tool('long'), description: 'x'.repeat(12 << 20) };
  const heavy = await read({
    'tools/list': (cursor) => ({ items: [{ ...long, name: `t${cursor}` }], next: `${cursor}.` }),
  });
  assert.equal(heavy.listing.tools.length, 3);
  assert.match(heavy.reasons[0]!, /more than \d+ characters/);
});

test('as many entries as are taken, and none more, are a whole list', async () => {
  const items = Array.from({ length: 10_000 }, (_, at) => tool(`t${at}`));
  const { listing, reasons } = await read({ 'tools/list': () => ({ items }) });
  assert.equal(listing.tools.length, 10_000);
  assert.deepEqual(reasons, []);
});

test('of two entries with one name the first counts, and the other is named', async () => {
  const twice = (key: string) => () => ({
    items: [
      { [key]: 'x:one', title: 'first' },
      { [key]: 'x:one', title: 'second' },
    ],
  });
  const { listing, reasons } = await read({
    'tools/list': () => ({ items: [tool('same'), { ...tool('same'), title: 'second' }] }),
    'prompts/list': twice('name'),
    'resources/list': twice('uri'),
    'resources/templates/list': twice('uriTemplate'),
  });
  assert.deepEqual(listing.tools[0]?.definition, tool('same'));
  for (const list of [listing.prompts, listing.resources, listing.templates]) {
    assert.deepEqual(
      list.map(({ title }) => title),
      ['first'],
    );
  }
  assert.deepEqual(reasons.sort(), [
    '"x:one": the server lists this name twice',
    '"x:one": the server lists this uri twice',
    '"x:one": the server lists this uriTemplate twice',
    'tool "same": the server lists this name twice',
  ]);
});

test('thousands of faults are named by some of them', async () => {
  const items = Array.from({ length: 5_000 }, () => ({ name: 'no schema' }));
  const { listing } = await read({ 'tools/list': () => ({ items }) });
  assert.equal(listing.dropped.length, 51);
  assert.equal(listing.dropped.at(-1)?.what, '4950 more');
});

test('the picture is as fresh as the part that is the first to age', async () => {
  const cursors = (cursor: unknown) =>
    cursor === undefined ? { items: [], next: 'b', ttlMs: 7_000 } : { items: [], ttlMs: 90_000 };
  const hinted = await read({
    'tools/list': () => ({ items: [], ttlMs: 60_000 }),
    'prompts/list': cursors,
    'resources/list': () => ({ items: [] }),
  });
  assert.equal(hinted.listing.ttlMs, 7_000);
  const silent = await read({});
  assert.equal(silent.listing.ttlMs, undefined);
  for (const ttlMs of [-1, 0.5, Number.NaN]) {
    const odd = await read({ 'tools/list': () => ({ items: [], ttlMs }) });
    assert.equal(odd.listing.ttlMs, 0, `${ttlMs} is no time to keep anything`);
  }
});
