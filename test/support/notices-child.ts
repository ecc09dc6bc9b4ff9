/**
 * A stdio server that logs and tells of its resources. `node notices-child.ts legacy|modern`. Its tool `watched` says
 * what it is asked to watch, `touch` changes a resource, `log` logs once, `log-together` logs once two of its calls are
 * under way.
 */
import { createInterface } from 'node:readline';

type Json = { [key: string]: unknown };
type Request = { id?: number | string; method: string; params?: Json };

const META = 'io.modelcontextprotocol/';
const modern = process.argv[2] === 'modern';
const subscribed = new Set<string>();
const listens = new Map<unknown, string[]>();
let level = 'none';
const waiting: (() => void)[] = [];

const LEGACY_ONLY = ['initialize', 'resources/subscribe', 'resources/unsubscribe', 'logging/setLevel'];
const MODERN_ONLY = ['server/discover', 'subscriptions/listen'];
const CAPABILITIES = { tools: {}, resources: { subscribe: true }, logging: {} };
const TOOLS = ['watched', 'touch', 'log', 'log-together'].map((name) => ({
  name,
  inputSchema: { type: 'object' },
}));

function send(message: Json): void {
  process.stdout.write(`${JSON.stringify({ jsonrpc: '2.0', ...message })}\n`);
}

function answer(id: unknown, result: Json): void {
  send({ id, result: modern ? { resultType: 'complete', ...result } : result });
}

function log(data: unknown): void {
  send({ method: 'notifications/message', params: { level: 'warning', data } });
}

function touch(uri: string): void {
  const method = 'notifications/resources/updated';
  if (subscribed.has(uri)) send({ method, params: { uri } });
  for (const [id, uris] of listens) {
    if (uris.includes(uri)) send({ method, params: { uri, _meta: { [`${META}subscriptionId`]: id } } });
  }
}

function call(id: unknown, params: Json): void {
  const args = (params.arguments ?? {}) as Json;
  const said = (text: string) => answer(id, { content: [{ type: 'text', text }] });
  const { name } = params;
  if (name === 'touch') {
    touch(String(args.uri));
    said('touched');
  } else if (name === 'log') {
    log('alone');
    said(level);
  } else if (name === 'log-together') {
    waiting.push(() => said('logged'));
    if (waiting.length < 2) return;
    log('whose?');
    for (const done of waiting.splice(0)) done();
  } else said(JSON.stringify({ uris: [...subscribed, ...[...listens.values()].flat()] }));
}

function handle({ id, method, params = {} }: Request): void {
  if (method === 'notifications/cancelled') listens.delete(params.requestId);
  if (id === undefined) return;
  const other = modern ? LEGACY_ONLY : MODERN_ONLY;
  if (other.includes(method)) {
    send({ id, error: { code: -32601, message: 'not in this era' } });
  } else if (method === 'initialize') {
    const serverInfo = { name: 'notices', version: '1' };
    answer(id, { protocolVersion: '2025-11-25', capabilities: CAPABILITIES, serverInfo });
  } else if (method === 'server/discover') {
    answer(id, { supportedVersions: ['2026-07-28'], capabilities: CAPABILITIES });
  } else if (method === 'subscriptions/listen') {
    const { resourceSubscriptions = [] } = params.notifications as { resourceSubscriptions?: string[] };
    listens.set(id, resourceSubscriptions);
    send({
      method: 'notifications/subscriptions/acknowledged',
      params: { notifications: { resourceSubscriptions }, _meta: { [`${META}subscriptionId`]: id } },
    });
  } else if (method === 'resources/subscribe') {
    subscribed.add(String(params.uri));
    answer(id, {});
  } else if (method === 'resources/unsubscribe') {
    subscribed.delete(String(params.uri));
    answer(id, {});
  } else if (method === 'logging/setLevel') {
    level = String(params.level);
    answer(id, {});
  } else if (method === 'tools/list') answer(id, { tools: TOOLS });
  else if (method === 'resources/list') answer(id, { resources: [{ uri: 'x://a', name: 'a' }] });
  else if (method === 'resources/templates/list') answer(id, { resourceTemplates: [] });
  else if (method === 'tools/call') call(id, params);
  else send({ id, error: { code: -32601, message: method } });
}

createInterface({ input: process.stdin }).on('line', (line) => handle(JSON.parse(line) as Request));
