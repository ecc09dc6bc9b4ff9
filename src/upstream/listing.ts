import { type ParamHeader, paramHeadersOf } from '../protocol/headers.ts';
import { isObject, type JsonObject } from '../protocol/jsonrpc.ts';
import type { UpstreamReply } from './calls.ts';
import type { Peer } from './peer.ts';

export type UpstreamTool = {
  name: string;
  /** As the server wrote it, unknown keys included. */
  definition: JsonObject;
  paramHeaders: readonly ParamHeader[];
};

export type Dropped = { what: string; reason: string };

/** What one server offers, as one picture. */
export type Listing = {
  tools: readonly UpstreamTool[];
  resources: readonly JsonObject[];
  templates: readonly JsonObject[];
  prompts: readonly JsonObject[];
  /** Single entries that are left out, and lists that could not be had. */
  dropped: readonly Dropped[];
  peer: Peer;
  /** How long the server itself says that its lists stay true, ms. */
  ttlMs: number | undefined;
  /** The text of all lists: equal text, equal offer. */
  signature: string;
};

export type Ask = (method: string, params: JsonObject) => Promise<UpstreamReply>;

const MAX_PAGES = 200;
const MAX_ITEMS = 10_000;
/** Of all pages of one list together, in characters. */
const MAX_LENGTH = 32 * 1024 * 1024;
const MAX_NAME = 512;
const MAX_DROPPED = 50;

type Pages = { items: JsonObject[]; ttlMs: number | undefined };

/** Reads every list that the server has. A failed tools list fails all; another failed list is left out and named. */
export async function readListing(peer: Peer, overHttp: boolean, ask: Ask): Promise<Listing> {
  const dropped: Dropped[] = [];
  const has = (capability: string) => isObject(peer.capabilities[capability]);
  const optional = (method: string, key: string) =>
    readPages(method, key, ask, dropped).catch((error: unknown): Pages => {
      dropped.push({ what: method, reason: error instanceof Error ? error.message : String(error) });
      return { items: [], ttlMs: undefined };
    });
  const none: Pages = { items: [], ttlMs: undefined };
  const [tools, resources, templates, prompts] = await Promise.all([
    has('tools') ? readPages('tools/list', 'tools', ask, dropped) : none,
    has('resources') ? optional('resources/list', 'resources') : none,
    has('resources') ? optional('resources/templates/list', 'resourceTemplates') : none,
    has('prompts') ? optional('prompts/list', 'prompts') : none,
  ]);
  const kept = {
    tools: validTools(tools.items, peer.era === 'modern' && overHttp, dropped),
    resources: namedBy('uri', resources.items, dropped),
    templates: namedBy('uriTemplate', templates.items, dropped),
    prompts: namedBy('name', prompts.items, dropped),
  };
  return {
    ...kept,
    dropped: firstOf(dropped),
    peer,
    ttlMs: shorter(shorter(tools.ttlMs, resources.ttlMs), shorter(templates.ttlMs, prompts.ttlMs)),
    signature: JSON.stringify([
      kept.tools.map((tool) => tool.definition),
      kept.resources,
      kept.templates,
      kept.prompts,
    ]),
  };
}

async function readPages(method: string, key: string, ask: Ask, dropped: Dropped[]): Promise<Pages> {
  const items: JsonObject[] = [];
  const seen = new Set<string>();
  let ttlMs: number | undefined;
  let length = 0;
  const cutOff = (reason: string): Pages => {
    dropped.push({ what: method, reason: `${reason}; the rest is left out` });
    return { items: items.slice(0, MAX_ITEMS), ttlMs };
  };
  let cursor: string | undefined;
  for (let page = 0; page < MAX_PAGES; page += 1) {
    const reply = await ask(method, cursor === undefined ? {} : { cursor });
    if (reply.ok === 'suspended') throw new Error(`${method} asked its caller something`);
    if (!reply.ok) throw new Error(`${method} was refused: ${reply.error.message}`);
    const part = reply.result[key];
    if (!Array.isArray(part)) throw new Error(`${method} answered without a list of ${key}`);
    for (const item of part) if (isObject(item)) items.push(item);
    ttlMs = shorter(ttlMs, hintOf(reply.result.ttlMs));
    const next = reply.result.nextCursor;
    // An empty string is a cursor like any other (server/utilities/pagination).
    const more = typeof next === 'string';
    if (items.length > MAX_ITEMS || (more && items.length === MAX_ITEMS))
      return cutOff(`more than ${MAX_ITEMS} entries`);
    if (!more) return { items, ttlMs };
    if (seen.has(next)) return cutOff('the server repeats a cursor');
    length += reply.written?.text.length ?? JSON.stringify(reply.result).length;
    if (length > MAX_LENGTH) return cutOff(`more than ${MAX_LENGTH} characters`);
    seen.add(next);
    cursor = next;
  }
  return cutOff(`more than ${MAX_PAGES} pages`);
}

/** How long a server says that its answer stays true; what is no such time counts as none at all. */
function hintOf(value: unknown): number | undefined {
  if (typeof value !== 'number') return undefined;
  return Number.isInteger(value) && value >= 0 ? value : 0;
}

function shorter(one: number | undefined, other: number | undefined): number | undefined {
  return one === undefined || other === undefined ? (one ?? other) : Math.min(one, other);
}

/** A server with thousands of faults is named with some of them. */
function firstOf(dropped: readonly Dropped[]): readonly Dropped[] {
  if (dropped.length <= MAX_DROPPED) return dropped;
  const more = dropped.length - MAX_DROPPED;
  return [...dropped.slice(0, MAX_DROPPED), { what: `${more} more`, reason: 'for reasons like these' }];
}

function validTools(items: JsonObject[], checkHeaders: boolean, dropped: Dropped[]): UpstreamTool[] {
  const tools: UpstreamTool[] = [];
  const names = new Set<string>();
  for (const definition of items) {
    const reason = toolFault(definition, names);
    if (reason !== undefined) {
      dropped.push({ what: `tool ${label(definition.name)}`, reason });
      continue;
    }
    const name = definition.name as string;
    const headers = paramHeadersOf(definition.inputSchema as JsonObject);
    if (!headers.ok && checkHeaders) {
      dropped.push({ what: `tool ${name}`, reason: headers.reason });
      continue;
    }
    names.add(name);
    tools.push({ name, definition, paramHeaders: headers.ok ? headers.headers : [] });
  }
  return tools;
}

function toolFault(definition: JsonObject, names: ReadonlySet<string>): string | undefined {
  const { name, description, inputSchema, outputSchema } = definition;
  if (typeof name !== 'string' || name === '' || name.length > MAX_NAME) return 'it has no usable name';
  // No database keeps it as it is, and the audit has to name what is called.
  if (name.includes('\0') || !name.isWellFormed()) return 'its name holds what is no character';
  if (names.has(name)) return 'the server lists this name twice';
  if (description !== undefined && typeof description !== 'string') return 'its description is no text';
  if (!isObject(inputSchema)) return 'its inputSchema is no object';
  if (inputSchema.type !== 'object') return 'its inputSchema does not say type: object';
  if (outputSchema !== undefined && !isObject(outputSchema)) return 'its outputSchema is no object';
  return undefined;
}

/** Entries by the text that names them; of two with the same one the first counts. */
function namedBy(key: string, items: JsonObject[], dropped: Dropped[]): JsonObject[] {
  const names = new Set<unknown>();
  return items.filter((item) => {
    const name = item[key];
    const fault =
      typeof name !== 'string' || name === ''
        ? `it has no ${key}`
        : names.has(name)
          ? `the server lists this ${key} twice`
          : undefined;
    if (fault !== undefined) dropped.push({ what: label(name ?? item.name), reason: fault });
    names.add(name);
    return fault === undefined;
  });
}

function label(name: unknown): string {
  return typeof name === 'string' ? JSON.stringify(name.slice(0, 80)) : '(unnamed)';
}
