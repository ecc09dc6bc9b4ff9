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
const MAX_NAME = 512;

/** Reads every list that the server has. A failed tools list fails all; another failed list is left out and named. */
export async function readListing(peer: Peer, overHttp: boolean, ask: Ask): Promise<Listing> {
  const dropped: Dropped[] = [];
  const has = (capability: string) => isObject(peer.capabilities[capability]);
  const optional = (method: string, key: string) =>
    readPages(method, key, ask, dropped).catch((error: unknown) => {
      dropped.push({ what: method, reason: error instanceof Error ? error.message : String(error) });
      return { items: [], ttlMs: undefined };
    });
  const none = Promise.resolve({ items: [] as JsonObject[], ttlMs: undefined as number | undefined });
  const [tools, resources, templates, prompts] = await Promise.all([
    has('tools') ? readPages('tools/list', 'tools', ask, dropped) : none,
    has('resources') ? optional('resources/list', 'resources') : none,
    has('resources') ? optional('resources/templates/list', 'resourceTemplates') : none,
    has('prompts') ? optional('prompts/list', 'prompts') : none,
  ]);
  const kept = {
    tools: validTools(tools.items, peer.era === 'modern' && overHttp, dropped),
    resources: withString(resources.items, 'uri', dropped),
    templates: withString(templates.items, 'uriTemplate', dropped),
    prompts: withString(prompts.items, 'name', dropped),
  };
  return {
    ...kept,
    dropped,
    peer,
    ttlMs: tools.ttlMs,
    signature: JSON.stringify([
      kept.tools.map((tool) => tool.definition),
      kept.resources,
      kept.templates,
      kept.prompts,
    ]),
  };
}

async function readPages(
  method: string,
  key: string,
  ask: Ask,
  dropped: Dropped[],
): Promise<{ items: JsonObject[]; ttlMs: number | undefined }> {
  const items: JsonObject[] = [];
  const seen = new Set<string>();
  let cursor: string | undefined;
  for (let page = 0; page < MAX_PAGES; page += 1) {
    const reply = await ask(method, cursor === undefined ? {} : { cursor });
    if (reply.ok === 'suspended') throw new Error(`${method} asked its caller something`);
    if (!reply.ok) throw new Error(`${method} was refused: ${reply.error.message}`);
    const part = reply.result[key];
    if (!Array.isArray(part)) throw new Error(`${method} answered without a list of ${key}`);
    for (const item of part) if (isObject(item)) items.push(item);
    const ttlMs = typeof reply.result.ttlMs === 'number' ? reply.result.ttlMs : undefined;
    const next = reply.result.nextCursor;
    if (items.length >= MAX_ITEMS) {
      dropped.push({ what: method, reason: `more than ${MAX_ITEMS} entries; the rest is left out` });
      return { items: items.slice(0, MAX_ITEMS), ttlMs };
    }
    // An empty string is a cursor like any other (server/utilities/pagination).
    if (typeof next !== 'string') return { items, ttlMs };
    if (seen.has(next)) {
      dropped.push({ what: method, reason: 'the server repeats a cursor; the rest is left out' });
      return { items, ttlMs };
    }
    seen.add(next);
    cursor = next;
  }
  dropped.push({ what: method, reason: `more than ${MAX_PAGES} pages; the rest is left out` });
  return { items, ttlMs: undefined };
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
  if (names.has(name)) return 'the server lists this name twice';
  if (description !== undefined && typeof description !== 'string') return 'its description is no text';
  if (!isObject(inputSchema)) return 'its inputSchema is no object';
  if (inputSchema.type !== 'object') return 'its inputSchema does not say type: object';
  if (outputSchema !== undefined && !isObject(outputSchema)) return 'its outputSchema is no object';
  return undefined;
}

function withString(items: JsonObject[], key: string, dropped: Dropped[]): JsonObject[] {
  return items.filter((item) => {
    const valid = typeof item[key] === 'string' && item[key] !== '';
    if (!valid) dropped.push({ what: label(item.name), reason: `it has no ${key}` });
    return valid;
  });
}

function label(name: unknown): string {
  return typeof name === 'string' ? JSON.stringify(name.slice(0, 80)) : '(unnamed)';
}
