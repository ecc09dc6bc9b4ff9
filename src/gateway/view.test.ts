import assert from 'node:assert/strict';
import { test } from 'node:test';
import { EVERY_TOOL } from '../identity/tool-rights.ts';
import type { JsonObject } from '../protocol/jsonrpc.ts';
import type { PrefixMode, ProjectSpec, ServerSpec } from '../resources/spec.ts';
import type { Listing } from '../upstream/listing.ts';
import type { Scope } from './scope.ts';
import { buildView, itemsOf, type View, type ViewPart } from './view.ts';

type Offer = { tools?: string[]; prompts?: string[]; resources?: string[]; templates?: string[] };

const project = { name: 'p', uid: '1', spec: { results: { maxBytes: undefined } } as ProjectSpec };
const scope: Scope = { project, surface: 'consumer', rights: EVERY_TOOL };
const viewOf = (parts: ViewPart[]): View =>
  buildView(scope, parts, { tool: () => false, server: () => false }, []);

function part(
  server: string,
  prefix: PrefixMode,
  offer: Offer | undefined,
  type: 'http' | 'builtin' = 'http',
): ViewPart {
  const tools = { allow: ['*'], deny: [], readOnly: [], override: {}, results: [] };
  return {
    server,
    // Only what a view looks at.
    spec: { prefix, tools, target: { type } } as unknown as ServerSpec,
    listing: offer && listing(offer, server),
    unaccepted: new Map(),
    fault: undefined,
  };
}

function listing({ tools = [], prompts = [], resources = [], templates = [] }: Offer, by: string): Listing {
  const definition = (name: string): JsonObject => ({ name, title: by, inputSchema: { type: 'object' } });
  return {
    tools: tools.map((name) => ({ name, definition: definition(name), paramHeaders: [] })),
    prompts: prompts.map((name) => ({ name, title: by })),
    resources: resources.map((uri) => ({ uri, title: by })),
    templates: templates.map((uriTemplate) => ({ uriTemplate, title: by })),
    dropped: [],
    peer: {
      era: 'modern',
      revision: '2026-07-28',
      capabilities: {},
      stateful: false,
      serverInfo: undefined,
      instructions: undefined,
    },
    ttlMs: undefined,
    signature: '',
  };
}

const owners = (view: View) => [...view.tools.values()].map(({ exposed, server }) => `${exposed}: ${server}`);
const titles = (view: View, list: 'prompts' | 'resources' | 'templates') =>
  itemsOf(view, list).map(({ title }) => title);

test('a plain name of two servers is that of the first in the order of the project; the other is named', () => {
  const offer = { tools: ['same'], prompts: ['same'] };
  const view = viewOf([part('a', 'never', offer), part('b', 'never', { ...offer, tools: ['same', 'own'] })]);
  assert.deepEqual(owners(view), ['same: a', 'own: b']);
  assert.equal(view.prompts.get('same')?.server, 'a');
  assert.deepEqual(titles(view, 'prompts'), ['a']);
  assert.deepEqual(view.degraded, [
    { server: 'b', reason: 'tool same is left out: the name same is that of a tool of a' },
    { server: 'b', reason: 'prompt same is left out: the name same is that of a prompt of a' },
  ]);
});

test('conditional: names that clash get prefixes on both sides, others none', () => {
  const view = viewOf([
    part('a', 'conditional', { tools: ['same', 'left'], prompts: ['same'] }),
    part('b', 'conditional', { tools: ['same', 'right'], prompts: ['same'] }),
  ]);
  assert.deepEqual(owners(view), ['a__same: a', 'left: a', 'b__same: b', 'right: b']);
  assert.deepEqual([...view.prompts.keys()], ['a__same', 'b__same']);
  assert.deepEqual(view.degraded, []);
});

test('a resource and a template of two servers are listed once, and the second is still asked after the first', () => {
  const offer = { resources: ['x:1'], templates: ['x:{id}'] };
  const view = viewOf([part('a', 'always', offer), part('b', 'always', offer)]);
  assert.deepEqual([titles(view, 'resources'), titles(view, 'templates')], [['a'], ['a']]);
  assert.equal(view.resources.get('x:1'), 'a');
  assert.deepEqual(
    view.templates.map(({ server }) => server),
    ['a', 'b'],
  );
  assert.deepEqual(view.degraded, [
    { server: 'b', reason: 'resource x:1 is left out: it is read from a' },
    { server: 'b', reason: 'template x:{id} is left out: a has it too and is asked first' },
  ]);
});

test('a server whose every entry clashes is named with some of them', () => {
  const resources = Array.from({ length: 500 }, (_, at) => `x:${at}`);
  const view = viewOf([part('a', 'always', { resources }), part('b', 'always', { resources })]);
  assert.equal(view.degraded.length, 51);
  assert.equal(view.degraded.at(-1)?.reason, '450 more are left out for such reasons');
});

test('a plain name is provisional while a server that may have an older claim to it is unread', () => {
  const known = (prefix: PrefixMode) => part('known', prefix, { tools: ['same'] });
  const unread = (prefix: PrefixMode) => part('unread', prefix, undefined);
  const provisional = (...parts: ViewPart[]) => viewOf(parts).tools.values().next().value?.provisional;
  assert.equal(provisional(unread('never'), known('never')), true);
  assert.equal(provisional(unread('conditional'), known('conditional')), true);
  assert.equal(
    provisional(known('conditional'), unread('never')),
    true,
    'a later one may take the plain name',
  );
  assert.equal(provisional(known('never'), unread('never')), false, 'the first has it in any case');
  assert.equal(provisional(unread('always'), known('never')), false);
  assert.equal(provisional(unread('never'), known('always')), false);
});

test('the order is that of the project, whoever answered first', () => {
  const offer = { tools: ['one', 'two'] };
  const late = [part('a', 'always', undefined), part('b', 'always', offer)];
  assert.deepEqual(owners(viewOf(late)), ['b__one: b', 'b__two: b']);
  const all = [part('a', 'always', offer), part('b', 'always', offer)];
  assert.deepEqual(owners(viewOf(all)), ['a__one: a', 'a__two: a', 'b__one: b', 'b__two: b']);
});

test('no server may take the name of a built-in tool, wherever it stands', () => {
  const own = part('tickets', 'never', { tools: ['get_ticket'] }, 'builtin');
  const view = viewOf([part('a', 'never', { tools: ['get_ticket', 'other'] }), own]);
  assert.deepEqual(owners(view), ['other: a', 'get_ticket: tickets']);
  assert.deepEqual(view.degraded, [
    { server: 'a', reason: 'tool get_ticket is left out: the name get_ticket is that of a tool of tickets' },
  ]);
});

test("a tool with the name of one of Castellan's own is prefixed where that may be, and else left out", () => {
  const view = viewOf([
    part('a', 'always', { tools: ['mcp'] }),
    part('b', 'conditional', { tools: ['status', 'other'] }),
    part('c', 'never', { tools: ['begin_session', 'free'] }),
  ]);
  assert.deepEqual(owners(view), ['a__mcp: a', 'b__status: b', 'other: b', 'free: c']);
  assert.deepEqual(view.degraded, [
    {
      server: 'c',
      reason: 'tool begin_session is left out: the name begin_session is that of a tool of Castellan',
    },
  ]);
});

/** The part with tools whose definitions nobody has accepted. */
const unaccepted = (one: ViewPart, why: 'new' | 'changed', ...tools: string[]): ViewPart => ({
  ...one,
  unaccepted: new Map(tools.map((name) => [name, why])),
});
const heldIn = (view: View) => [...view.held.values()].map(({ exposed, server }) => `${exposed}: ${server}`);

test('a tool whose definition has changed keeps its name while it is held back', () => {
  const offer = { tools: ['pay', 'look'] };
  const view = viewOf([
    unaccepted(part('a', 'never', offer), 'changed', 'pay'),
    part('b', 'never', { tools: ['pay'] }),
  ]);
  assert.deepEqual([owners(view), heldIn(view)], [['look: a'], ['pay: a']]);
  const { _meta } = view.lists.tools as { _meta: Record<string, { server: string; reason: string }[]> };
  assert.deepEqual(
    _meta['castellan/degraded']?.map(({ server, reason }) => `${server}: ${reason}`),
    [
      'b: tool pay is left out: the name pay is that of a tool of a',
      'a: tool pay is left out: its definition is not the one that was accepted for this project, and waits for somebody to accept it',
    ],
  );
});

test('a new tool that is held back takes no name and changes none', () => {
  for (const prefix of ['never', 'conditional'] as const) {
    const [first, second] = [
      unaccepted(part('a', prefix, { tools: ['pay'] }), 'new', 'pay'),
      part('b', prefix, { tools: ['pay'] }),
    ];
    for (const parts of [
      [first, second],
      [second, first],
    ])
      assert.deepEqual(owners(viewOf(parts)), ['pay: b'], prefix);
  }
});

test('a surface whose every tool is held back says so', () => {
  const view = viewOf([unaccepted(part('a', 'always', { tools: ['pay'] }), 'new', 'pay')]);
  const { _meta } = view.lists.tools as { _meta: Record<string, unknown> };
  assert.match(String(_meta['castellan/notice']), /wait for somebody .* to accept/);
});

test('a project that only warns lists what has changed, and no new tool that waits', () => {
  const warning = { ...project, spec: { ...project.spec, changedTools: 'warn' } as ProjectSpec };
  const one = part('a', 'always', { tools: ['pay', 'look'] });
  const parts = [{ ...one, unaccepted: new Map([['pay', 'changed'] as const, ['look', 'new'] as const]) }];
  const view = buildView(
    { ...scope, project: warning },
    parts,
    { tool: () => false, server: () => false },
    [],
  );
  assert.deepEqual([owners(view), heldIn(view)], [['a__pay: a'], ['a__look: a']]);
  assert.equal(view.tools.get('a__pay')?.unaccepted, 'changed');
});
